"""Bad input gets a clear answer that says what and where, and nothing is half-applied."""
import gzip
import json
import zlib

from weirlib import NodeCase, main, now_us


class BadBodies(NodeCase):
    settings = {"ZO_PAYLOAD_LIMIT": "1000000", "ZO_COLS_PER_RECORD_LIMIT": "200"}

    def refused(self, body, headers=None):
        status, reply = self.node.post_json("bad", body, headers)
        self.assertEqual(status, 400, reply)
        self.assertEqual(reply["code"], 400)
        self.assertEqual(self.node.search("SELECT * FROM bad")[1].get("code"), 20002, "nothing was stored")
        return reply["message"]

    def test_a_body_that_is_no_json_names_the_byte(self):
        for body, offset in ((b"hello", 0), (b'[{"a":1},}', 9), (b'[{"a":1}', 8), (b'[{"a":tru}]', None), (b"", 0), (b"   ", None)):
            message = self.refused(body)
            self.assertIn("byte", message)
            if offset is not None:
                self.assertIn(f"byte {offset}", message, body)

    def test_two_documents_are_refused(self):
        self.refused(b'[{"a":1}] [{"a":2}]')
        self.refused(b'{"a":1}{"a":2}')

    def test_invalid_utf8_is_refused(self):
        self.refused(b'[{"a":"\xff\xfe"}]')

    def test_an_empty_array_is_zero_records(self):
        status, reply = self.node.post_json("empty", b"[]")
        self.assertEqual(status, 200)
        self.assertEqual(sum(s["successful"] + s["failed"] for s in reply["status"]), 0)

    def test_crlf_is_white_space_and_a_bom_is_skipped(self):
        status, reply = self.node.post_json("crlf", b'\xef\xbb\xbf[\r\n{"a":1}\r\n,\r\n{"a":2}\r\n]\r\n')
        self.assertEqual((status, reply["status"][0]["successful"]), (200, 2))

    def test_bad_records_are_counted_and_the_others_stored(self):
        now = now_us()
        cases = [
            (7, "object"),
            ({"_timestamp": now - 6 * 3_600_000_000}, "Too old data, only last 5 hours"),
            ({"_timestamp": now + 25 * 3_600_000_000}, "Too far data, only future 24 hours"),
            ({"_timestamp": "yesterday"}, "timestamp"),
            ({f"c{i}": i for i in range(201)}, "column"),
        ]
        for i, (record, reason) in enumerate(cases):
            status, reply = self.node.post_json(f"mixed{i}", [{"n": 1}, record, {"n": 2}])
            self.assertEqual(status, 200)
            [counts] = reply["status"]
            self.assertEqual((counts["successful"], counts["failed"]), (2, 1), counts)
            self.assertIn(reason, counts["error"])
            self.assertEqual(self.node.hits(f"SELECT sum(n) AS n FROM mixed{i}"), [{"n": 3}])

    def test_a_body_over_the_limit_is_413(self):
        body = b'[{"log":"' + b"x" * 1_000_001 + b'"}]'
        self.assertEqual(self.node.raw("POST", "/api/default/big/_json", body)[0], 413)

    def test_a_zip_bomb_is_413(self):
        bomb = gzip.compress(b'[{"log":"' + b"x" * 300_000_000 + b'"}]')
        self.assertLess(len(bomb), 1_000_000)
        self.assertEqual(self.node.raw("POST", "/api/default/big/_json", bomb, {"Content-Encoding": "gzip"})[0], 413)

    def test_broken_gzip_is_400(self):
        good = gzip.compress(b'[{"a":1}]' * 100)
        for body in (good[:-10], b"not gzip", good[:20] + b"\0" * 10 + good[30:]):
            self.assertEqual(self.node.raw("POST", "/api/default/bad/_json", body, {"Content-Encoding": "gzip"})[0], 400)

    def test_an_unknown_encoding_is_415(self):
        self.assertEqual(self.node.raw("POST", "/api/default/bad/_json", b"[]", {"Content-Encoding": "compress"})[0], 415)

    def test_deflate_is_taken(self):
        status, reply = self.node.post_json("deflated", zlib.compress(b'[{"a":1}]'), {"Content-Encoding": "deflate"})
        self.assertEqual((status, reply["status"][0]["successful"]), (200, 1))


class Credentials(NodeCase):
    def test_none_and_wrong_ones_are_401(self):
        for auth in (None, ("root@example.com", "wrong"), ("nobody@example.com", "Complexpass#123"), ("", "")):
            for method, path in (("POST", "/api/default/x/_json"), ("POST", "/api/default/_search")):
                status, headers, body = self.node.raw(method, path, b"[]", {"Content-Type": "application/json"}, auth=auth)
                self.assertEqual((status, body.decode()), (401, "Unauthorized Access"))
                self.assertTrue(headers["www-authenticate"].startswith("Basic"))

    def test_broken_headers_are_401(self):
        for value in ("Basic", "Basic !!!", "Bearer abc", "Basic " + "A" * 5000):
            status, _, _ = self.node.raw("POST", "/api/default/x/_json", b"[]", {"Authorization": value}, auth=None)
            self.assertEqual(status, 401)

    def test_the_email_is_case_insensitive(self):
        status, _, _ = self.node.raw("POST", "/api/default/x/_json", b'[{"a":1}]', auth=("Root@Example.COM", "Complexpass#123"))
        self.assertEqual(status, 200)


class BadSql(NodeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node.post_json("app", [{"level": "info", "n": 1, "log": "a b"}])
        cls.node.post_json("hidden", [{"secret": "x"}], org="other")

    def refused(self, sql, *codes):
        status, reply = self.node.search(sql)
        self.assertEqual(status, 400, (sql, reply))
        if codes:
            self.assertIn(reply["code"], codes, (sql, reply))
        self.assertTrue(reply["message"])

    def test_mistakes_have_their_codes(self):
        self.refused("SELEC * FROM app", 20001)
        self.refused("SELECT * FROM", 20001)
        self.refused("SELECT * FROM nosuch", 20002)
        self.refused("SELECT nosuch FROM app", 20004)
        self.refused("SELECT nosuch(n) FROM app", 20005)
        self.refused("SELECT 'hello' + 5 FROM app")
        self.refused("SELECT round(level) FROM app")
        self.refused("", 20001, 20011)

    def test_ranges_must_be_there_and_the_right_way_round(self):
        for query in ({"sql": "SELECT * FROM app"}, {"sql": "SELECT * FROM app", "start_time": 2_000_000_000, "end_time": 1_000_000_000}):
            status, _, text = self.node.raw(
                "POST", "/api/default/_search", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
            )
            self.assertEqual(status, 400, text)

    def test_nothing_but_the_own_streams_can_be_read_or_changed(self):
        for sql in (
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM glob('/etc/*')",
            "SELECT content FROM read_blob('/etc/shadow')",
            "SELECT getenv('ZO_ROOT_USER_PASSWORD')",
            "SELECT * FROM query('SELECT 1')",
            "SELECT * FROM query_table('app')",
            "COPY app TO '/tmp/weir-stolen'",
            "ATTACH '/tmp/weir-x.db'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET memory_limit='100GB'",
            "PRAGMA database_list",
            "CALL pragma_version()",
            "CREATE TABLE t(a int)",
            "DROP TABLE app",
            "INSERT INTO app VALUES (1)",
            "SELECT 1; SELECT 2",
            "SHOW TABLES",
            "DESCRIBE app",
            "SELECT * FROM duckdb_settings()",
            "SELECT * FROM information_schema.tables",
            "SELECT current_setting('memory_limit')",
            "SELECT * FROM hidden",
            "SELECT * FROM other.hidden",
            'SELECT * FROM "other"."logs"."hidden"',
            "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
            "SELECT (SELECT content FROM read_text('/etc/passwd'))",
            "EXPLAIN COPY app TO '/tmp/weir-stolen'",
        ):
            self.refused(sql)

    def test_an_unknown_organisation_is_404(self):
        status, _, text = self.node.raw("POST", "/api/nosuchorg/_search", b"{}", {"Content-Type": "application/json"})
        self.assertEqual((status, text), (404, b"Organization not found"))

    def test_an_unknown_type_is_400(self):
        self.assertEqual(self.node.search("SELECT * FROM app", path="/api/default/_search?type=nosuch")[0], 400)

    def test_search_needs_the_json_content_type(self):
        self.assertEqual(self.node.raw("POST", "/api/default/_search", b"{}")[0], 415)


if __name__ == "__main__":
    main()
