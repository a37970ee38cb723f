"""Samples as JSON: POST /api/{org}/ingest/metrics/_json."""
import json
import re

from weirlib import NodeCase, main, now_us

DOOR = "/api/default/ingest/metrics/_json"


class MetricsJson(NodeCase):
    def send(self, body):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, reply = self.node.raw("POST", DOOR, text)
        return status, json.loads(reply)

    def rows(self, name, order="_timestamp, value"):
        status, reply = self.node.search(f'SELECT * FROM "{name}" ORDER BY {order}', path="/api/default/_search?type=metrics")
        self.assertEqual(status, 200, reply)
        return reply["hits"]

    def test_samples_become_rows_of_their_metric(self):
        t = now_us()
        status, reply = self.send([{"__name__": "gmx_g", "__type__": "gauge", "host": h, "_timestamp": t, "value": v} for h, v in (("a", 1.5), ("b", 2))])
        self.assertEqual((status, reply), (200, {"code": 200, "status": [{"name": "gmx_g", "successful": 2, "failed": 0}]}))
        self.assertEqual(self.rows("gmx_g"), [{"__name__": "gmx_g", "_timestamp": t, "host": "a", "value": 1.5},
                                              {"__name__": "gmx_g", "_timestamp": t, "host": "b", "value": 2.0}])

    def test_a_time_that_has_no_place_is_refused_before_anything_is_stored(self):
        for t in (-62167219201, -10**13, -10**18, -2**63):
            status, reply = self.send([{"__name__": "placed", "value": 1}, {"__name__": "nowhere", "value": 1, "_timestamp": t}])
            self.assertEqual(status, 400, (t, reply))
            self.assertIn("record 2: nowhere: the time is before year 0", reply["message"])
        self.assertEqual(self.node.search("SELECT * FROM placed", path="/api/default/_search?type=metrics")[0], 400)

    def test_labels_of_odd_names_keep_their_values(self):
        status, reply = self.send([{"__name__": "odd_names", "a": "1", "a\0b": "2", "": "3", "o": {"": "4", "x\0": "5"}, "value": 1, "_timestamp": now_us()}])
        self.assertEqual(status, 200, reply)
        [row] = self.rows("odd_names")
        self.assertEqual({k: v for k, v in row.items() if k not in ("_timestamp", "value", "__name__")}, {"a": "1", "a_b": "2", "_": "3", "o_": "4", "o_x_": "5"})

    def test_a_label_that_is_too_long_is_told(self):
        status, reply = self.send([{"__name__": "placed", "value": 1}, {"__name__": "placed", "value": 1, "l" * 256: "x"}])
        self.assertEqual((status, "record 2: label llll" in reply["message"], "longer than 255 bytes" in reply["message"]), (400, True, True), reply)
        self.assertEqual(self.send([{"__name__": "longest", "value": 1, "l" * 255: "x"}])[0], 200)

    def test_a_record_that_needs_too_much_memory_is_refused_for_good(self):
        for odd in ([0] * 900_000, {f"l{i}": 1 for i in range(600_000)}):
            status, reply = self.send([{"__name__": "placed", "value": 1}, {"__name__": "heavy", "value": 1, "odd": odd}])
            self.assertEqual(status, 400, reply)
            self.assertIn("record 2: ", reply["message"])

    def test_names_keep_their_case_and_labels_are_text(self):
        t = now_us()
        labels = {"i": 1, "b": True, "f": 1.5, "n": None, "o": {"x": 1}, "Up-Case": "x", "empty": ""}
        status, _ = self.send([{"__name__": "Gmx-odd.name:rate", **labels, "_timestamp": t, "value": 1}])
        self.assertEqual(status, 200)
        self.assertEqual(self.rows("Gmx_odd_name:rate"), [{"__name__": "Gmx_odd_name:rate", "_timestamp": t, "Up_Case": "x", "b": "true",
                                                           "f": "1.5", "i": "1", "o_x": "1", "value": 1.0}])

    def test_labels_that_differ_only_in_case_are_two(self):
        row = {"Host": "a", "host": "b", "HOST_1": "c", "Value": "d"}
        self.send([{"__name__": "gmx_case", "value": 1, **row}])
        search = {"path": "/api/default/_search?type=metrics"}
        for _ in ("lines", "sealed"):
            [hit] = self.rows("gmx_case")
            self.assertEqual({**row, "value": 1}, {name: hit[name] for name in (*row, "value")})
            for sql, want in (
                ('SELECT "host", "Host" FROM gmx_case', {"host": "b", "Host": "a"}),
                ("SELECT host AS h, g.Host AS g, HOST AS first FROM gmx_case g WHERE g.host = 'b' AND Host = 'a'", {"h": "b", "g": "a", "first": "a"}),
                ("SELECT Value, value FROM gmx_case", {"Value": "d", "value": 1}),
                ("SELECT host, count(*) AS n FROM gmx_case GROUP BY host ORDER BY host", {"host": "b", "n": 1}),
                ("SELECT x.h FROM (SELECT host AS h FROM gmx_case) x", {"h": "b"}),
            ):
                self.assertEqual(self.node.hits(sql, **search), [want], sql)
            _, reply = self.node.search("SELECT * FROM gmx_case", track_total_hits=True, **search)
            self.assertEqual(reply["total"], 1)
            self.node.flush()

    def test_sql_over_labels_that_differ_only_in_case_is_like_sql_over_others(self):
        """The same statements over a metric whose labels differ in more give the same rows."""
        names = {"Host": "big", "host": "small", "HOST": "huge", "Value": "text"}
        rows = [{"value": i, "Host": f"h{i % 3}", "host": f"h{(i + 1) % 4}", "HOST": "x", "Value": str(9 - i)} for i in range(8)]
        t = now_us()
        self.send([{"__name__": "gmx_twin", "_timestamp": t + i, **row} for i, row in enumerate(rows)])
        self.send([{"__name__": "gmx_plain", "_timestamp": t + i, **{names.get(k, k): v for k, v in row.items()}} for i, row in enumerate(rows)])
        self.send([{"__name__": "gmx_other", "_timestamp": t, "value": 1, "HOST": "h1"}])
        self.send([{"__name__": "gmx_side", "_timestamp": t, "value": 1, "host": "h1", "note": "n"}])
        statements = (
            "SELECT * FROM {t} ORDER BY value LIMIT 3",
            "SELECT * FROM {t} ORDER BY Value LIMIT 3",
            "SELECT * FROM {t} ORDER BY Host, host DESC, value",
            "SELECT t.host FROM (SELECT * FROM {t}) t WHERE t.host = 'h1' ORDER BY t.value",
            "SELECT t.Host, t.host FROM (SELECT Host, host, value FROM {t}) t ORDER BY t.value",
            "SELECT Host, host, count(*) AS n FROM {t} GROUP BY Host, host ORDER BY Host, host",
            "SELECT count(*) AS n FROM {t} GROUP BY CAST(Host AS VARCHAR), host::VARCHAR ORDER BY n",
            "SELECT host || 'x', host IS NULL, CASE WHEN Host = 'h1' THEN host END FROM {t} ORDER BY value",
            "SELECT * FROM (SELECT a.Host, b.host FROM {t} a JOIN {t} b ON a.value = b.value) ORDER BY Host, host",
            "SELECT * FROM (SELECT max(Host), max(host) FROM {t})",
            "SELECT host FROM {t} WHERE Host <> '" + "~" * 70_000 + "' ORDER BY value",
            "WITH {t} AS (SELECT 1 AS Host) SELECT Host FROM {t}",
            "SELECT host FROM {t} WHERE Host IN (SELECT o.hOst FROM gmx_other o) ORDER BY value",
            "SELECT o.hOst AS a, o.hosT AS b, t.host FROM {t} t JOIN gmx_other o ON o.hOst = t.Host ORDER BY t.value",
            "SELECT p.hOst AS a FROM (SELECT * FROM gmx_other) p JOIN {t} USING (value)",
            "WITH p AS (SELECT * FROM gmx_other) SELECT hOst AS a FROM p WHERE value IN (SELECT value FROM {t})",
            "SELECT (SELECT hOst FROM (SELECT * FROM gmx_other)) AS a FROM {t} ORDER BY value",
            "SELECT (SELECT hOst FROM (SELECT 1 AS one, o.* FROM gmx_other o) WHERE one = 1) AS a FROM {t} ORDER BY value",
            "SELECT COUNT(DISTINCT Host) AS a, COUNT(DISTINCT host) AS b FROM {t}",
            "SELECT host, max(Value) AS m FROM {t} GROUP BY host HAVING max(Value) > '5' ORDER BY host",
            "WITH c AS (SELECT Host AS host, host AS Host, value FROM {t}) SELECT host, Host FROM c ORDER BY value",
            "WITH c (Host, host) AS (SELECT host, Host FROM {t}) SELECT DISTINCT host, Host FROM c ORDER BY Host, host",
            "SELECT a.host, b.Host, b.value FROM {t} a JOIN {t} b ON a.host = b.Host ORDER BY a.value, b.value",
            "SELECT a.value, b.value AS other FROM {t} a JOIN {t} b USING (Host, host) ORDER BY a.value, b.value",
            "SELECT * EXCLUDE (Host, Value) FROM {t} ORDER BY value",
            "SELECT * REPLACE (upper(host) AS host) FROM {t} ORDER BY value",
            "SELECT t.* FROM (SELECT host, Host FROM {t} UNION SELECT Host, HOST FROM {t}) t ORDER BY Host, host",
            "SELECT Host AS host FROM {t} ORDER BY host, value",
            "SELECT avg(value), max(Value), min(host) FROM {t}",
            "SELECT host FROM {t} WHERE Host = 'h1' AND EXISTS (SELECT 1 FROM {t} i WHERE i.host = {t}.Host) ORDER BY value",
            "SELECT value, row_number() OVER (PARTITION BY Host ORDER BY Value) AS n, lag(host) OVER (ORDER BY value) AS l FROM {t} ORDER BY value",
            "SELECT CASE WHEN Value = 3 THEN host ELSE Host END AS x FROM {t} ORDER BY value",
            "SELECT host FROM {t} WHERE Value > 3 ORDER BY value",
            "SELECT s.note, t.Host FROM {t} t JOIN gmx_side s ON s.host = t.host ORDER BY t.value",
            "SELECT histogram(_timestamp, '1 hour') AS h, Host, count(*) AS n FROM {t} GROUP BY h, Host ORDER BY Host",
            "SELECT list_transform([1, 2], Host -> Host + 1) AS l FROM {t} LIMIT 1",
            "SELECT HOST FROM {t} LIMIT 1",
            'SELECT max("Host") FILTER (WHERE host = \'h1\') AS "Value", count(DISTINCT host) AS host FROM {t}',
        )
        word = re.compile(r"\b(Host|host|HOST|Value)\b")

        def translate(text):
            return word.sub(lambda m: names[m[0]], text)

        for state in ("lines", "sealed"):
            for sql in statements:
                plain = translate(sql).replace("s.small", "s.host")
                got, want = (self.node.search(q.format(t=table), path="/api/default/_search?type=metrics") for q, table in ((sql, "gmx_twin"), (plain, "gmx_plain")))
                self.assertEqual((got[0], want[0]), (200, 200), (state, sql, got, want))
                renamed = [{translate(k).replace("gmx_twin", "gmx_plain"): v for k, v in hit.items() if k != "__name__"} for hit in got[1]["hits"]]
                self.assertEqual(renamed, [{k: v for k, v in hit.items() if k != "__name__"} for hit in want[1]["hits"]], (state, sql))
            self.node.flush()
        status, reply = self.node.search("SELECT nothing.host FROM gmx_twin", path="/api/default/_search?type=metrics")
        self.assertEqual(status, 400)
        self.assertNotIn("~", str(reply))

    def test_times_are_told_apart_by_their_size_and_may_be_missing_or_old(self):
        t = now_us() // 1_000_000
        for i, stamp in enumerate((t, t * 1000, t * 1_000_000, t * 1_000_000_000)):
            self.assertEqual(self.send([{"__name__": "gmx_t", "_timestamp": stamp, "value": i}])[0], 200)
        self.assertEqual({row["_timestamp"] for row in self.rows("gmx_t")}, {t * 1_000_000})
        before = now_us()
        self.send([{"__name__": "gmx_now", "value": 1}])
        self.assertTrue(before <= self.rows("gmx_now")[0]["_timestamp"] <= now_us())
        self.assertEqual(self.send([{"__name__": "gmx_old", "_timestamp": t - 86400 * 30, "value": 1}])[0], 200)
        self.assertEqual(len(self.rows("gmx_old")), 1)

    def test_a_bad_sample_fails_the_request_and_nothing_is_stored(self):
        good = {"__name__": "gmx_bad", "value": 1}
        for bad, text in (({"value": 1}, "missing __name__"), ({"__name__": "gmx_bad"}, "missing value"),
                          ({"__name__": "gmx_bad", "value": "1.5"}, "invalid value, need to be number"),
                          ({"__name__": "gmx_bad", "__type__": "foo", "value": 1}, "invalid metrics type"),
                          ({"__name__": "gmx_bad", "value": 1, "_timestamp": "soon"}, "invalid timestamp"), (5, "must be an object")):
            status, reply = self.send([good, bad])
            self.assertEqual((status, reply["code"]), (400, 400), bad)
            self.assertIn(text, reply["message"])
            self.assertIn("record 2", reply["message"])
        status, reply = self.node.search("SELECT * FROM gmx_bad", path="/api/default/_search?type=metrics")
        self.assertEqual((status, reply["code"]), (400, 20002))

    def test_bodies_that_are_no_array_of_samples(self):
        self.assertEqual(self.send([]), (200, {"code": 200}))
        for body in (b"", b"xx", b"{}", b'[{"__name__":"a","value":1}', b"[] []", b"5"):
            self.assertEqual(self.send(body)[0], 400, body)

    def test_many_metrics_in_one_request(self):
        body = [{"__name__": f"gmx_many_{m}", "s": str(s), "value": s} for m in range(50) for s in range(40)]
        status, reply = self.send(body)
        self.assertEqual((status, len(reply["status"]), sum(s["successful"] for s in reply["status"])), (200, 50, 2000))
        self.assertEqual(len(self.rows("gmx_many_49")), 40)

    def streams(self):
        _, _, text = self.node.raw("GET", "/api/default/streams?type=metrics")
        return {s["name"]: s["stats"]["doc_num"] for s in json.loads(text)["list"]}

    def test_what_is_wrong_late_in_a_large_body_leaves_nothing_behind(self):
        labels = {f"l{i}": "x" * 100 for i in range(30)}
        body = [{"__name__": "gmx_large", "n": str(i), "value": i, **labels} for i in range(6000)]
        status, reply = self.send([*body, {"__name__": "gmx_large"}])
        self.assertEqual((status, reply["message"]), (400, "record 6001: missing value"))
        status, reply = self.send([*body, *({"__name__": f"gmx_large_{i}", "value": 1} for i in range(100_000))])
        self.assertEqual((status, reply["message"]), (400, "record 106000: a request has more than 100000 metrics"))
        status, reply = self.node.search("SELECT * FROM gmx_large", path="/api/default/_search?type=metrics")
        self.assertEqual((status, reply["code"]), (400, 20002))

    def test_a_sample_past_a_limit_is_refused_alone_and_makes_no_stream(self):
        labels = {f"l{i}": "x" * 100 for i in range(30)}
        body = [{"__name__": "gmx_past", "n": str(i), "value": i, **labels} for i in range(6000)]
        late = [{"__name__": name, "value": 1, **odd} for name in ("gmx_past", "gmx_never") for odd in ({f"c{i}": "v" for i in range(1001)}, {"big": "x" * 2_000_000})]
        reason = "The record's line is longer than 1000000 bytes"
        self.assertEqual(self.send([*body, *late]), (200, {"code": 200, "status": [{"name": "gmx_past", "successful": 6000, "failed": 2, "error": reason},
                                                                                   {"name": "gmx_never", "successful": 0, "failed": 2, "error": reason}]}))
        streams = self.streams()
        self.assertEqual(streams["gmx_past"], 6000)
        self.assertNotIn("gmx_never", streams)
        self.assertNotIn("big", self.rows("gmx_past", "_timestamp LIMIT 1")[0])
        _, _, counters = self.node.raw("GET", "/metrics")
        self.assertIn(b'stream="gmx_never",stream_type="metrics",error_type="record"} 2', counters)

    def test_a_sample_that_its_full_stream_lacks_columns_for_is_refused_alone(self):
        fields = [{"name": f"f{i}", "type": "Utf8"} for i in range(49_990)]
        status, _, text = self.node.raw("POST", "/api/default/streams/gmx_full?type=metrics", json.dumps({"fields": fields}).encode(), {"Content-Type": "application/json"})
        self.assertEqual(status, 200, text)
        many = {f"n{i}": "x" for i in range(20)}
        status, reply = self.send([{"__name__": "gmx_full", "f1": "a", "new": "b", "value": 1}, {"__name__": "gmx_full", "value": 2, **many},
                                   {"__name__": "gmx_beside", "value": 3, **many}, {"__name__": "gmx_full", "f2": "c", "value": 4}])
        self.assertEqual((status, reply), (200, {"code": 200, "status": [
            {"name": "gmx_full", "successful": 2, "failed": 1, "error": "Too many columns: a stream may have 50000, and 3145728 bytes of names"},
            {"name": "gmx_beside", "successful": 1, "failed": 0}]}))
        hits = self.node.hits("SELECT value, new FROM metrics.gmx_full ORDER BY value")
        self.assertEqual([row["value"] for row in hits], [1, 4])
        self.assertEqual(len(self.rows("gmx_beside")), 1)


class LongLines(NodeCase):
    settings = {"WEIR_LINE_MAX": "2000"}

    def test_the_longest_line_is_that_of_logs(self):
        t = now_us()
        line = len(json.dumps({"_timestamp": t, "__name__": "sized", "l": "", "value": 1.5}, separators=(",", ":"))) + 1
        body = [{"__name__": "sized", "_timestamp": t, "l": "x" * (2000 - line + more), "value": 1.5} for more in (0, 1)]
        status, _, text = self.node.raw("POST", DOOR, json.dumps(body).encode())
        self.assertEqual((status, json.loads(text)["status"]), (200, [{"name": "sized", "successful": 1, "failed": 1,
                                                                       "error": "The record's line is longer than 2000 bytes"}]))
        [row] = self.node.hits("SELECT l FROM metrics.sized")
        self.assertEqual(len(row["l"]), 2000 - line)


if __name__ == "__main__":
    main()
