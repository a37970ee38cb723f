"""The values of a field, and the records around one: what a page asks while somebody looks around."""
import base64
import json
import unittest
import urllib.parse

from weirlib import NodeCase, main, now_us


class Explore(NodeCase):
    settings = {}

    def setUp(self):
        self.now = now_us()
        name = self.id().rsplit(".", 1)[1].replace("test_", "")[:40]
        self.stream = name
        self.node.post_json(name, [{"_timestamp": self.now - i * 1_000_000, "i": i, "level": ["info", "warn", "it's"][i % 3], "ratio": i / 2,
                                    **({"hostname": f"h{i % 2}"} if i < 10 else {})} for i in range(12)])

    def ask(self, path, body=None, **arguments):
        query = urllib.parse.urlencode(arguments)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        status, _, text = self.node.raw("POST" if body is not None else "GET", f"/api/default/{path}?{query}",
                                        json.dumps(body).encode() if body is not None else b"", headers)
        return status, json.loads(text)

    def values(self, fields, **arguments):
        status, reply = self.ask(f"{self.stream}/_values", fields=fields, start_time=self.now - 10**9, end_time=self.now + 1, **arguments)
        self.assertEqual(status, 200, reply)
        return {hit["field"]: [(v["zo_sql_key"], v["zo_sql_num"]) for v in hit["values"]] for hit in reply["hits"]}

    def test_values_are_counted_whether_sealed_or_not(self):
        for flushed in (False, True):
            if flushed:
                self.node.flush()
            self.assertEqual(self.values("level"), {"level": [("info", 4), ("it's", 4), ("warn", 4)]})
            self.assertEqual(self.values("hostname,nosuch,level", size=2), {"hostname": [("h0", 5), ("h1", 5)], "level": [("info", 4), ("it's", 4)]})
            self.assertEqual(self.values("hostname")["hostname"][-1], ("", 2))
            self.assertEqual(self.values("ratio", size=3), {"ratio": [("0", 1), ("0.5", 1), ("1", 1)]})
            self.assertEqual(self.values("level", keyword="IT'S"), {"level": [("it's", 4)]})
            self.assertEqual(self.values("i", filter="level=it's,nosuch", size=2), {"i": [("2", 1), ("5", 1)]})
            self.assertEqual(self.values("level", no_count="true"), {"level": [("info", 0), ("it's", 0), ("warn", 0)]})
            sql = base64.b64encode(f'SELECT * FROM "{self.stream}" WHERE i < 2 -- two'.encode()).decode()
            self.assertEqual(self.values("level", sql=sql), {"level": [("info", 1), ("warn", 1)]})

    def test_names_and_texts_of_callers_stay_names_and_texts(self):
        self.assertEqual(self.values('level" FROM x --'), {})
        self.assertEqual(self.values("level", keyword="') OR true --"), {"level": []})
        self.assertEqual(self.ask(f"{self.stream}/_values", fields="level", start_time=1)[0], 400)
        self.assertEqual(self.ask(f"{self.stream}/_values", fields="level", start_time=1, end_time="x")[1]["message"], "end_time is no number of microseconds")
        self.assertEqual(self.ask(f"{self.stream}/_values", start_time=1, end_time=2)[0], 400)
        self.assertEqual(self.ask(f"{self.stream}/_values", fields="level", start_time=1, end_time=2, size=-1)[0], 400)

    def test_what_the_page_asks_has_the_limits_of_a_search(self):
        times = {"fields": "level", "start_time": self.now - 10**9, "end_time": self.now}
        status, reply = self.ask(f"{self.stream}/_values", size=10**9, **times)
        self.assertEqual((status, reply["code"]), (400, 20011), reply)
        self.assertIn("size is at most", reply["message"])
        sql = {"query": {"sql": f'SELECT * FROM "{self.stream}"', "start_time": 1, "end_time": self.now, "size": 10**9}}
        self.assertIn("size is at most", self.ask("_search", body=sql)[1]["message"])
        for argument in ("keyword", "filter", "sql"):
            value = {"keyword": b"a\xff", "filter": b"level=\xc3", "sql": base64.b64encode(b"SELECT '\xed\xa0\x80'")}[argument]
            status, reply = self.ask(f"{self.stream}/_values", **times, **{argument: value})
            self.assertEqual(status, 400, (argument, reply))
            self.assertIn("invalid UTF-8 at byte", reply["message"])

    def test_the_records_around_one_come_newest_first(self):
        key = self.now - 5_000_000
        around = lambda **a: [h["i"] for h in self.ask(f"{self.stream}/_around", key=key, **a)[1]["hits"]]
        self.assertEqual(around(size=4), [4, 5, 6, 7])
        self.assertEqual(around(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        self.assertEqual(around(size=0), list(range(12)))
        status, reply = self.ask(f"{self.stream}/_around", body={"_timestamp": key, "hostname": "h1"}, size=4)
        self.assertEqual((status, [h["i"] for h in reply["hits"]], reply["total"]), (200, [3, 5, 7, 9], 4))
        self.assertEqual(self.ask(f"{self.stream}/_around", size=4)[0], 400)
        status, reply = self.ask("nosuch/_around", key=key)
        self.assertEqual((status, reply["code"]), (400, 20002))

    def search(self, sql, path="_search", **query):
        request = {"sql": sql, "start_time": self.now - 3600 * 10**6, "end_time": self.now + 1, **query}
        return self.ask(path, body=request if "partition" in path else {"query": request})

    def test_a_reply_says_by_what_its_hits_are_ordered(self):
        reply = self.search(f"SELECT i FROM {self.stream} ORDER BY level, i DESC")[1]
        self.assertEqual((reply["order_by"], reply["order_by_metadata"], reply["is_histogram_eligible"]),
                         ("asc", [["level", "asc"], ["i", "desc"]], True))
        self.assertEqual(self.search(f"SELECT i FROM {self.stream}")[1]["order_by_metadata"], [["_timestamp", "desc"]])
        self.assertNotIn("order_by", self.search(f"SELECT count(*) FROM {self.stream}")[1])

    def test_the_counts_over_time_of_a_search_come_instead_of_its_hits(self):
        status, reply = self.ask("_search", is_ui_histogram="true", body={"query": {
            "sql": f"SELECT * FROM {self.stream} WHERE i < 6", "start_time": self.now - 3600 * 10**6, "end_time": self.now + 1}})
        self.assertEqual((status, sum(hit["zo_sql_num"] for hit in reply["hits"])), (200, 6))
        self.assertEqual(reply["histogram_interval"], 30)
        status, reply = self.ask("_search", is_ui_histogram="true", body={"query": {
            "sql": f"SELECT * FROM {self.stream} LIMIT 3", "start_time": self.now - 10**9, "end_time": self.now}})
        self.assertEqual((status, reply["code"]), (400, 20013))

    def test_hits_that_end_at_the_default_limit_say_so(self):
        many = f"SELECT a.i FROM {self.stream} a, {self.stream} b, {self.stream} c, {self.stream} d"
        for size, partial in ((-1, True), (0, True), (1000, False)):
            reply = self.search(many, size=size)[1]
            self.assertEqual((len(reply["hits"]), reply["is_partial"], "function_error" in reply), (1000, partial, partial), size)
        self.assertFalse(self.search(f"SELECT i FROM {self.stream}", size=-1)[1]["is_partial"])
        self.assertEqual(self.search(f"SELECT i FROM {self.stream} LIMIT 3", size=-1)[1]["size"], 3)

    def test_a_search_can_be_asked_in_pieces(self):
        status, whole = self.search(f"SELECT * FROM {self.stream}", "_search_partition")
        self.assertEqual((status, whole["records"], whole["order_by"], len(whole["partitions"])), (200, 12, "desc", 2))
        hits = []
        for start, end in whole["partitions"]:
            hits += self.search(f"SELECT i FROM {self.stream}", start_time=start, end_time=end)[1]["hits"]
        self.assertEqual([hit["i"] for hit in hits], list(range(12)))
        self.assertEqual(len(self.search(f"SELECT count(*) FROM {self.stream}", "_search_partition")[1]["partitions"]), 1)
        self.assertEqual(self.search("SELECT * FROM nosuch", "_search_partition")[1]["code"], 20002)

    def test_numbers_near_the_limits_are_answered(self):
        top = 2**63 - 1
        counts = f"SELECT histogram(_timestamp) AS k, count(*) AS c FROM {self.stream} GROUP BY k"
        status, reply = self.search(counts, "_search_partition", histogram_interval=9223372036854)
        self.assertEqual((status, len(reply["partitions"])), (200, 1), reply)
        days = counts.replace("_timestamp)", "_timestamp, '106751990 days')")
        for sql in (counts, days, f"SELECT * FROM {self.stream}"):
            status, reply = self.search(sql, "_search_partition", start_time=-top, end_time=top)
            self.assertEqual((status, reply["partitions"]), (200, [[-top, top]]), reply)
            status, reply = self.search(sql, start_time=-top, end_time=top)
            self.assertEqual(status, 200, reply)
        self.assertEqual(sum(h["c"] for h in self.search(counts, start_time=-top, end_time=top)[1]["hits"]), 12)
        status, reply = self.search(f"SELECT * FROM {self.stream}", **{"from": top, "size": 10})
        self.assertEqual((status, reply["hits"]), (200, []), reply)
        status, reply = self.ask(f"{self.stream}/_values", fields="level", start_time=-top, end_time=top, **{"from": top})
        self.assertEqual((status, reply["hits"][0]["values"]), (200, []), reply)
        status, reply = self.ask(f"{self.stream}/_around", key=top)
        self.assertEqual((status, reply["hits"]), (200, []), reply)


if __name__ == "__main__":
    main()
