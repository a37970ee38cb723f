"""The comparison of replies that test_golden.py relies on finds what differs."""
import copy
import unittest

from golden_compare import compare

SQL = '{"query": {"sql": "SELECT i, level FROM \\"x\\" ORDER BY i"}}'
REPLY = {"took": 3, "hits": [{"i": 1, "f": 2.0, "level": "a"}, {"i": 2, "level": "b"}], "total": 2, "from": 0, "size": 10,
         "is_partial": False, "order_by": "asc", "order_by_metadata": [["i", "asc"]], "is_histogram_eligible": True}


def case(sql=SQL, path="/api/default/_search"):
    return {"name": "a case", "request": {"method": "POST", "path": path, "body": sql}}


def changed(change):
    reply = copy.deepcopy(REPLY)
    change(reply)
    return reply


def swap_hits(reply):
    reply["hits"].reverse()


class Compare(unittest.TestCase):
    def difference(self, got, want=None, status=200, got_status=None, of=None):
        return compare(of or case(), status, REPLY if want is None else want, got_status or status, got)

    def test_a_reply_equals_itself_and_one_that_took_longer(self):
        self.assertIsNone(self.difference(REPLY))
        self.assertIsNone(self.difference(changed(lambda r: r.update(took=99))))

    def test_each_change_of_a_reply_is_found(self):
        changes = {
            "a value": lambda r: r["hits"][0].update(i=7),
            "an integer for a double": lambda r: r["hits"][0].update(f=2),
            "a text for a number": lambda r: r["hits"][0].update(i="1"),
            "a missing field": lambda r: r["hits"][1].pop("level"),
            "a null field": lambda r: r["hits"][1].update(f=None),
            "a further field": lambda r: r["hits"][1].update(more=1),
            "a missing hit": lambda r: r["hits"].pop(),
            "a double hit": lambda r: r["hits"].append(r["hits"][0]),
            "another order": swap_hits,
            "the total": lambda r: r.update(total=3),
            "partial": lambda r: r.update(is_partial=True),
            "what it is ordered by": lambda r: r.update(order_by="desc"),
            "a missing member": lambda r: r.pop("size"),
            "an interval": lambda r: r.update(histogram_interval=60),
        }
        for name, change in changes.items():
            self.assertIsNotNone(self.difference(changed(change)), name)

    def test_status_code_and_kind_of_body_are_compared(self):
        error = {"code": 20008, "message": "Search SQL execute error", "error_detail": "why"}
        ours = {"code": 20008, "message": "Search SQL execute error: in other words", "error_detail": "in other words"}
        self.assertIsNone(self.difference(ours, error, 400))
        for change in ({"code": 20005}, {"message": "in other words"}, {"error_detail": ""}):
            self.assertIsNotNone(self.difference({**ours, **change}, error, 400), change)
        self.assertIsNotNone(self.difference(error, error, 400, 500))
        self.assertIsNotNone(self.difference("a text", error, 400))

    def test_an_added_time_is_told_from_one_that_was_asked_for(self):
        want = changed(lambda r: [hit.update(_timestamp=5) for hit in r["hits"]])
        self.assertEqual(self.difference(REPLY, want), "an added _timestamp")
        for named in ("*", "x.*", "i, _timestamp", "i, *"):
            of = case(SQL.replace("i, level", named))
            self.assertEqual(self.difference(REPLY, want, of=of), "other hits", named)
        of = case(SQL.replace("i, level", "i*2 AS i, to_timestamp AS level"))
        self.assertEqual(self.difference(REPLY, want, of=of), "an added _timestamp")

    def test_hits_that_are_alike_where_they_are_ordered_may_change_places(self):
        want = changed(lambda r: [hit.update(i=1) for hit in r["hits"]])
        got = copy.deepcopy(want)
        swap_hits(got)
        self.assertIsNone(self.difference(got, want))

    def test_what_is_gathered_has_the_order_that_the_statement_gives_it_or_none(self):
        want = changed(lambda r: r.update(hits=[{"x": [False, True]}], total=1))
        got = changed(lambda r: r.update(hits=[{"x": [True, False]}], total=1))
        lost = changed(lambda r: r.update(hits=[{"x": [True, True]}], total=1))
        free = case('{"query": {"sql": "SELECT array_agg(distinct ok) AS x FROM t"}}')
        given = case('{"query": {"sql": "SELECT array_agg(distinct ok ORDER BY ok) AS x FROM t"}}')
        self.assertIsNone(self.difference(got, want, of=free))
        self.assertEqual(self.difference(lost, want, of=free), "other hits")
        self.assertEqual(self.difference(got, want, of=given), "other hits")
        self.assertEqual(self.difference(got, want), "other hits")

    def test_hits_that_the_recording_leaves_out_are_counted(self):
        want = changed(lambda r: r.update(hits=[{"i": 1}, "... 2 hits left out ...", {"i": 4}], total=4))
        got = changed(lambda r: r.update(hits=[{"i": i} for i in (1, 2, 3, 4)], total=4))
        self.assertIsNone(self.difference(got, want))
        got["hits"][3] = {"i": 5}
        self.assertIsNotNone(self.difference(got, want))
        self.assertIsNotNone(self.difference(changed(lambda r: r.update(hits=[{"i": 1}, {"i": 4}], total=4)), want))

    def test_ranges_have_an_order_and_lists_of_streams_have_none(self):
        ranges, streams = {"partitions": [[1, 2], [2, 3]]}, {"list": [{"name": "a"}, {"name": "b"}]}
        self.assertIsNotNone(self.difference({"partitions": [[2, 3], [1, 2]]}, ranges))
        self.assertIsNone(self.difference({"list": [{"name": "b"}, {"name": "a"}]}, streams))
        self.assertIsNotNone(self.difference({"list": [{"name": "a"}]}, streams))


if __name__ == "__main__":
    unittest.main()
