"""Bad input gets a clear answer that says what and where, and nothing is half-applied."""
import gzip
import json
import os
import threading
import unittest
import zlib

from weirlib import SANITIZED, NodeCase, main, now_us, read_parquet, text_of


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


class OddRecords(NodeCase):
    """What is odd but taken reads the same from the lines, from Parquet and from the text view."""

    def post(self, stream, body):
        status, reply = self.node.post_json(stream, body)
        self.assertEqual(status, 200, reply)
        [counts] = reply["status"]
        return counts

    def kept(self, stream, *rows):
        """The rows stand in the stream, before and after it is sealed."""
        want = sorted(rows, key=json.dumps)
        sql = f"SELECT * EXCLUDE (_timestamp) FROM {stream}"
        self.assertEqual(sorted(self.node.hits(sql), key=json.dumps), want)
        self.assertEqual(sorted(self.bare(self.node.lines(stream)), key=json.dumps), want)
        self.node.flush()
        self.assertEqual(sorted(self.node.hits(sql), key=json.dumps), want)
        text, parquet = [], []
        for path in self.node.sealed_files(stream):
            with open(text_of(path), "rb") as lines:
                text += [json.loads(line) for line in lines.read().split(b"\n")[:-1]]
            read = read_parquet(path)
            parquet += read[1] if read else []
        self.assertEqual(sorted(self.bare(text), key=json.dumps), want)
        self.assertIn(len(parquet), (0, len(want)))

    @staticmethod
    def bare(rows):
        return [{name: value for name, value in row.items() if name != "_timestamp"} for row in rows]

    def refused(self, stream, body, where):
        status, reply = self.node.post_json(stream, body)
        self.assertEqual((status, reply["code"]), (400, 400), reply)
        self.assertIn(where, reply["message"])
        self.assertEqual(self.node.search(f"SELECT * FROM {stream}")[1].get("code"), 20002, "nothing was stored")

    def test_nesting_past_512_refuses_the_body(self):
        self.refused("deep", b'[{"good":1},' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"]", "nested too deep")
        self.refused("deep", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deep")

    def test_nesting_of_500_is_text_below_the_third_level(self):
        self.assertEqual(self.post("nested", b'{"a":' * 500 + b"1" + b"}" * 500)["successful"], 1)
        self.kept("nested", {"a_a_a": '{"a":' * 497 + "1" + "}" * 497})

    def test_a_key_past_1024_bytes_fails_its_record(self):
        counts = self.post("keys", [{"a": 1}, {"b": 2, "k" * 1_000_000: 1}, {"k" * 1024: 3}, {"x": {"y" * 1023: 1}}])
        self.assertEqual((counts["successful"], counts["failed"]), (2, 2))
        self.assertEqual(counts["error"], "A name is longer than 1024 bytes")
        self.kept("keys", {"a": 1}, {"k" * 1024: 3})

    def test_a_key_past_a_megabyte_with_an_escape_harms_nobody_after_it(self):
        counts = self.post("escaped", b'[{"\\n' + b"k" * (1 << 20) + b'":1}]')
        self.assertEqual((counts["successful"], counts["failed"], counts["error"]), (0, 1, "A name is longer than 1024 bytes"))
        for i in range(40):  # whichever of the ingest states had it
            self.assertEqual(self.post("after", [{f"new_{i}": 1}])["failed"], 0)

    def test_nul_is_text_like_any_other_and_no_part_of_a_name(self):
        self.post("nul", b'[{"v":"a\\u0000b","w":"\\u0000","k\\u0000y":"z"}]')
        self.kept("nul", {"v": "a\0b", "w": "\0", "k_y": "z"})
        self.refused("rawnul", b'[{"v":"a\0b"}]', "byte 8: control byte in a string")

    def test_bytes_that_are_no_utf8_refuse_the_body(self):
        for bad, byte in ((b"\xff", 19), (b"\xc0\xaf", 19), (b"\xed\xa0\x80", 19), (b"ok\xe2\x82", 21)):
            self.refused("utf8", b'[{"good":1},{"v":"' + bad + b'"}]', f"byte {byte - 1}: invalid UTF-8")
        self.refused("utf8", b'[{"k\xff":1}]', "invalid UTF-8")

    def test_half_a_surrogate_pair_refuses_the_body(self):
        for bad in (b"\\ud800", b"\\udc00", b"\\ud800x", b"\\ud800\\u0041", b"\\udc00\\ud800"):
            self.refused("pairs", b'[{"v":"' + bad + b'"}]', "half a surrogate pair")
        self.post("pairs", b'[{"v":"\\ud83d\\ude00"}]')
        self.kept("pairs", {"v": "\U0001f600"})

    def test_numbers_past_their_types_keep_their_digits_as_text(self):
        self.post("numbers", b'[{"a":1e999,"b":18446744073709551616,"c":-1e999,"d":-9223372036854775809,"e":18446744073709551615,"f":1e-999}]')
        self.kept("numbers", {"a": "1e999", "b": "18446744073709551616", "c": "-1e999", "d": "-9223372036854775809",
                              "e": 18446744073709551615, "f": 0.0})

    def test_large_integers_among_decimals_are_doubles(self):
        self.post("mixed", b'[{"v":1.5},{"v":9007199254740993}]')
        self.assertEqual([row["v"] for row in self.node.lines("mixed")], [1.5, 9007199254740993])
        for _ in range(2):  # before and after it is sealed
            self.assertEqual(sorted(hit["v"] for hit in self.node.hits("SELECT v FROM mixed")), [1.5, 9007199254740992.0])
            self.node.flush()
        [part] = self.node.sealed_files("mixed")
        with open(text_of(part), encoding="utf-8") as text:
            self.assertEqual([line.split('"v":')[1] for line in text], ["1.5}\n", "9007199254740992.0}\n"])

    def test_of_the_same_key_the_last_one_counts(self):
        self.post("twice", b'[{"a":1,"b":"x","a":2,"c":{"d":1},"c":{"d":2}}]')
        self.kept("twice", {"a": 2, "b": "x", "c_d": 2})

    def test_a_line_past_its_limit_fails_its_record(self):
        counts = self.post("long", [{"v": "x" * 8_000_000}, {"v": "y"}, {"v": "\1" * 200_000}, {"v": "z" * 900_000}])
        self.assertEqual((counts["successful"], counts["failed"]), (2, 2))
        self.assertIn("longer than", counts["error"])
        self.kept("long", {"v": "y"}, {"v": "z" * 900_000})

    def test_a_stream_has_50000_fields_and_no_more(self):
        records = [{f"f{n}": n for n in range(i, i + 1000)} for i in range(0, 50_000, 1000)]
        counts = self.post("wide", records)
        self.assertEqual((counts["successful"], counts["failed"]), (49, 1), "one of the fields is _timestamp")
        counts = self.post("wide", [{f"f{n}": 1 for n in range(49_000, 49_999)}, {"f0": -1, "one_more": 1}, {"f1": -1}])
        self.assertEqual((counts["successful"], counts["failed"]), (2, 1))
        self.assertEqual(counts["error"], "Too many columns: a stream may have 50000, and 3145728 bytes of names")
        lines = self.node.lines("wide")
        self.node.flush()
        [sealed] = self.node.sealed_files("wide")
        with open(text_of(sealed), "rb") as text:
            self.assertEqual([json.loads(line) for line in text], lines)
        self.assertEqual(self.node.hits("SELECT count(*) AS n, sum(f0) AS f0, max(f49998) AS last FROM wide"), [{"n": 51, "f0": 0, "last": 1}])

    def test_the_largest_schema_is_a_file(self):
        fields = [{"name": f"{i:_>60}", "type": "Utf8"} for i in range(49_900)]
        status, _, reply = self.node.raw("POST", "/api/default/streams/largest?type=logs", json.dumps({"fields": fields}).encode(), {"Content-Type": "application/json"})
        self.assertEqual(status, 200, reply)
        self.post("largest", [{"_": 1}])
        with open(f"{self.node.mount}/default/logs/largest/schema.json", "rb") as file:
            text = file.read()
            self.assertEqual(os.fstat(file.fileno()).st_size, len(text))
        self.assertEqual([f["name"] for f in json.loads(text)["fields"]][1:-1], [f["name"] for f in fields])

    def test_long_names_fill_a_stream_earlier_and_it_is_sealed(self):
        for first in range(0, 4000, 500):
            counts = self.post("long_names", [{f"{i:_>1000}" if i != first else "few": 1 for i in range(first, first + 500)}])
        self.assertEqual((counts["successful"], counts["failed"]), (0, 1), counts)
        self.post("long_names", [{"few": 2}])
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT few FROM long_names WHERE few = 2"), [{"few": 2}])

    def test_names_of_refused_records_take_nothing_from_good_ones(self):
        old = now_us() - 6 * 3600 * 1_000_000
        body = [{"first": 1}] + [{"_timestamp": old, **{f"n{i}_{j}": 1 for j in range(950)}} for i in range(115)] + [{"fresh": 1, "first": 7}, {"fresh": 2}]
        counts = self.post("fresh", body)
        self.assertEqual((counts["successful"], counts["failed"]), (3, 115), counts)
        self.kept("fresh", {"first": 1}, {"first": 7, "fresh": 1}, {"fresh": 2})

    def test_a_refused_record_changes_nothing_of_its_stream(self):
        for first in range(0, 49_900, 998):
            self.post("nearly", [{f"f{i}": 1 for i in range(first, min(first + 998, 49_900))}])
        counts = self.post("nearly", [{"f100": "text", **{f"g{i}": 1 for i in range(500)}}, {"f5": 1}])
        self.assertEqual((counts["successful"], counts["failed"]), (1, 1))
        counts = self.post("nearly", [{**{f"f{i}": "text" for i in range(200)}, **{f"h{i}": 1 for i in range(99)}}])
        self.assertEqual((counts["successful"], counts["failed"]), (1, 0), "what is only widened takes no room")
        body = [{"over": 1}, {"f300": "text"}] + [{"f1": "x" * 300}] * 60_000  # more than a batch: it is read twice
        counts = self.post("nearly", body)
        self.assertEqual((counts["successful"], counts["failed"]), (60_001, 1))
        self.node.flush()
        self.assertEqual(self.node.search("SELECT over FROM nearly")[1]["code"], 20004)
        self.assertEqual(self.node.hits("SELECT count(*) AS n, count(f300) AS f300 FROM nearly"), [{"n": 60_053, "f300": 2}])

    def test_requests_that_race_for_the_last_fields_lose_records_not_bodies(self):
        self.post("race", [{f"f{n}": n for n in range(i, i + 1000)} for i in range(0, 49_000, 1000)])
        replies = []

        def send(k):
            replies.append(self.node.post_json("race", [{"f0": k}, {f"k{k}_{n}": n for n in range(600)}, {"f1": k}]))

        threads = [threading.Thread(target=send, args=(k,)) for k in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([status for status, _ in replies], [200] * 24, replies)
        counts = [reply["status"][0] for _, reply in replies]
        self.assertEqual(sorted(c["successful"] for c in counts), [2] * 23 + [3], "one of them had room")
        self.assertEqual(sum(c["failed"] for c in counts), 23)
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM race"), [{"n": 49 + 24 * 2 + 1}])


class Memory(NodeCase):
    def resident_mb(self):
        with open(f"/proc/{self.node.child('gateway')}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    @unittest.skipIf(SANITIZED, "a sanitizer keeps what was freed")
    def test_what_an_odd_body_needed_is_given_back(self):
        self.node.post_json("few", [{"k": 1}])
        before = self.resident_mb()
        same = b"[{" + b",".join(b'"k":%d' % i for i in range(400_000)) + b"}]"
        many = json.dumps([{f"k{i}_{j}": 1 for j in range(100)} for i in range(400)]).encode()
        for body in (same, many):
            threads = [threading.Thread(target=self.node.post_json, args=("odd", body)) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        self.assertLess(self.resident_mb() - before, 100, "1.2 GB were kept once")


class Multi(NodeCase):
    def post(self, stream, body):
        status, _, text = self.node.raw("POST", f"/api/default/{stream}/_multi", body)
        return status, json.loads(text)

    def test_a_bad_line_refuses_the_body_and_is_named(self):
        for bad, line in ((b'{"a":1}\n{"a":2\n{"a":3}\n', 2), (b'{"a":1}\n\n\nx\n', 4), (b'{"a":1}\r\n{"a":2} {"a":3}', 2), (b"[1]\n", 1),
                          (b'{"a":1}\n' * 30_000 + b'{"a":"\xff"}', 30_001), (b'{"a":"' + b"x" * 900_000 + b'"}\n', None),):
            status, reply = self.post("multibad", bad * (20 if line is None else 1) + (b"bad" if line is None else b""))
            self.assertEqual((status, reply["code"]), (400, 400), bad[:40])
            self.assertIn(f"line {line or 21}: ", reply["message"])
        self.assertEqual(self.node.search("SELECT * FROM multibad")[1].get("code"), 20002, "nothing was stored")

    def test_crlf_blank_lines_and_a_bom_are_fine(self):
        status, reply = self.post("multigood", b'\xef\xbb\xbf{"n":1}\r\n\r\n   \n{"n":2}\n\t\n\xef\xbb\xbf{"n":3}')
        self.assertEqual((status, reply["status"][0]["successful"]), (200, 3))
        self.node.flush()
        self.assertEqual(sorted(hit["n"] for hit in self.node.hits("SELECT n FROM multigood")), [1, 2, 3])


class Names(NodeCase):
    """No name leads out of the tree, and no two streams share a directory."""

    STREAMS = {"..": "_", "%2e%2e": "_", "..%2F..%2Fetc": "_etc", "%2Fetc%2Fpasswd": "_etc_passwd", "a%2Fb": "a_b", "a.b": "a_b", ".weir": "_weir",
               ".parts": "_parts", "A:b": "a:b", "%D0%B0pp": "_pp", "app": "app", "App": "app", "a%25b": "a_b", "a%2525b": "a_25b", "caf%C3%A9": "caf_",
               "%F0%9F%98%80": "_", "a%E2%80%AEb": "a_b", "a%0Ab": "a_b", "g" * 255: "g" * 255}
    REFUSED_STREAMS = ("", "%00", "a%00b", "%FF", "%ed%a0%80", "%", "100%", "%zz", "g" * 256, "g" * 300)
    ORGS = ("default", "My-Org_2", "new-org.x", "a..b", "-", "g" * 200)
    REFUSED_ORGS = ("", "..", ".", "%2e%2e", ".weir", "a%2Fb", "..%2Fx", "%00", "a%00", "a%20b", "a:b", "%D0%B0pp", "%25", "%", "%FF", "g" * 256, "g" * 300)

    def test_names_are_made_into_ours_or_refused(self):
        for name, stream in self.STREAMS.items():
            status, reply = self.node.post_json(name, [{"raw": name}])
            self.assertEqual((status, reply["status"][0]["name"]), (200, stream), name)
        for name in self.REFUSED_STREAMS:
            self.assertEqual(self.node.post_json(name, [{"a": 1}])[0], 400, name)
        for org in self.ORGS:
            self.assertEqual(self.node.post_json("s", [{"org": org}], org=org)[0], 200, org)
        for org in self.REFUSED_ORGS:
            self.assertEqual(self.node.post_json("s", [{"a": 1}], org=org)[0], 400, org)
            for path, body in (("streams/s?type=logs", {"fields": []}), ("streams/s?type=metrics", {"fields": []}), ("ingest/metrics/_json", [{"__name__": "s", "value": 1}])):
                status, _, text = self.node.raw("POST", f"/api/{org}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
                self.assertEqual(status, 400, (org, path, text))
        for _ in ("lines", "sealed"):
            self.check_tree()
            self.node.flush()

    def test_names_that_are_too_long_together_are_400(self):
        org, stream = "o" * 255, "s" * 201
        body = json.dumps([{"a": 1}]).encode()
        search = json.dumps({"query": {"sql": f"SELECT * FROM {stream}", "start_time": 1, "end_time": 2}}).encode()
        sample = json.dumps([{"__name__": stream, "value": 1}]).encode()
        for method, path, data in (("POST", f"{stream}/_json", body), ("POST", f"{stream}/_multi", b'{"a":1}'), ("POST", "_search", search),
                                   ("GET", f"{stream}/_values?fields=a&start_time=1&end_time=2", b""), ("DELETE", f"streams/{stream}?type=logs", b""),
                                   ("POST", "ingest/metrics/_json", sample), ("POST", f"streams/{stream}?type=logs", b'{"fields":[]}')):
            self.assertEqual(self.node.post_json("short", [{"a": 1}], org=org)[0], 200)
            status, _, text = self.node.raw(method, f"/api/{org}/{path}", data, {"Content-Type": "application/json"})
            self.assertEqual(status, 400, (path[-60:], text))

    def check_tree(self):
        self.assertEqual(sorted(set(os.listdir(self.node.mount)) - {".weir"}), sorted(self.ORGS))
        logs = f"{self.node.mount}/default/logs"
        self.assertEqual(sorted(os.listdir(logs)), sorted({*self.STREAMS.values(), "s"}))
        for stream in set(self.STREAMS.values()):
            names = sorted(name for name, normal in self.STREAMS.items() if normal == stream)
            self.assertEqual(sorted(hit["raw"] for hit in self.node.hits(f'SELECT raw FROM "{stream}"')), names)
        for org in self.ORGS:
            self.assertEqual([hit["org"] for hit in self.node.hits("SELECT org FROM s", path=f"/api/{org}/_search")], [org])
        self.assertEqual(sorted(os.listdir(self.node.scratch)), ["weir", "weir.log"])


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

    def refused(self, sql, *codes, says=""):
        status, reply = self.node.search(sql)
        self.assertEqual(status, 400, (sql[:200], reply))
        if codes:
            self.assertIn(reply["code"], codes, (sql[:200], reply))
        self.assertTrue(reply["message"])
        self.assertIn(says, reply["message"])

    def test_mistakes_have_their_codes(self):
        self.refused("SELEC * FROM app", 20001)
        self.refused("SELECT * FROM", 20001)
        self.refused("SELECT * FROM nosuch", 20002)
        self.refused("SELECT nosuch FROM app", 20004)
        self.refused("SELECT nosuch(n) FROM app", 20005)
        self.refused("SELECT 'hello' + 5 FROM app")
        self.refused("SELECT round(level) FROM app")
        self.refused("", 20001, 20011)

    def test_what_cannot_be_planned_says_why(self):
        self.refused("SELECT * FROM app WHERE n < 1e400", 20001, says="beyond the largest double")
        self.refused("SELECT * FROM app WHERE n > -1e400", 20001, says="beyond the largest double")
        self.refused("SELECT * FROM app WHERE n = 1" + " + 1" * 600, 20001, says="nested too deeply")
        self.refused(f"SELECT * FROM app WHERE n IN ({','.join(map(str, range(100_000)))})", 20001, says="SQL of 588920 bytes needs more than 64 MiB")
        self.refused("SELECT * FROM app WHERE level = '\0'", 20001, says="holds a NUL")
        literal = '"value":Infinity'
        status, reply = self.node.search(f"SELECT '{literal}' AS x, 1e308 AS y FROM app")
        self.assertEqual((status, reply["hits"]), (200, [{"x": literal, "y": 1e308}]))

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
        for name in ("nosuch", "logs%00", "logs%00x", "logs%", "logs%f", "%ff"):
            self.assertEqual(self.node.search("SELECT * FROM app", path=f"/api/default/_search?type={name}")[0], 400, name)

    def test_search_needs_the_json_content_type(self):
        self.assertEqual(self.node.raw("POST", "/api/default/_search", b"{}")[0], 415)


if __name__ == "__main__":
    main()
