"""Replies of real OpenObserve servers, case by case: equal, different on purpose, or wrong.

Each row of golden_differences.json describes a difference that is wanted, with its reason. A row says in which topics
it holds, what `difference` golden_compare.py finds and, where that is not enough, by regular expressions which `case`
or request `body`, and exactly which recorded `status`, which `code` of ours or which `hits` of ours. What is missing yet
has a reason that begins with "not built yet" and is counted by itself.
"""
import collections
import json
import os
import re
import sys
import unittest

from golden import GOLDEN, replay, settings
from golden_compare import essence, unordered
from weirlib import ROOT, SKIP, TestNode, main

TOPICS = [
    "ingest_json", "ingest_multi", "ingest_schema_evolution", "search_basic", "search_errors", "search_functions", "search_limits",
    "search_request_fields", "search_around_values_partition", "after_flush_to_parquet", "store_original_and_ids", "streams", "system",
    "auth_orgs_users",
]
SHOWN_MAX = 20
VERDICTS = ("equal", "on purpose", "not built yet", "wrong")

with open(os.path.join(ROOT, "tests/integration/golden_differences.json"), encoding="utf-8") as file:
    DIFFERENCES = json.load(file)


def fits(row, topic, case, difference, reply):
    """Does the row describe this difference?"""
    status, body = reply
    body = body if isinstance(body, dict) else {}
    request = case["request"]
    return (("*" in row["topics"] or topic in row["topics"])
            and re.search(row["difference"], difference) is not None
            and re.search(row.get("case", ""), case["name"]) is not None
            and re.search(row.get("body", ""), str(request.get("body"))) is not None
            and row.get("status", case["response"]["status"]) == case["response"]["status"]
            and row.get("code", body.get("code")) == body.get("code")
            and ("hits" not in row or unordered(essence(row["hits"])) == unordered(essence(body.get("hits")))))


class Golden(unittest.TestCase):
    table = {}
    rows_seen = set()

    @classmethod
    def tearDownClass(cls):
        print("\n" + "topic".ljust(34) + "".join(f"{verdict:>15}" for verdict in VERDICTS))
        for topic, counts in cls.table.items():
            print(topic.ljust(34) + "".join(f"{counts[verdict]:15}" for verdict in VERDICTS))

    def verdict(self, topic, case, difference, reply):
        if difference is None:
            return "equal"
        for i, row in enumerate(DIFFERENCES):
            if fits(row, topic, case, difference, reply):
                self.rows_seen.add(i)
                return "not built yet" if row["reason"].startswith("not built yet") else "on purpose"
        return "wrong"

    def replay_topic(self, topic):
        node = TestNode(**settings(topic))
        self.addCleanup(node.destroy)
        node.start()
        counts = self.table[topic] = collections.Counter()
        wrong = []
        for case, difference, reply in replay(node, topic):
            verdict = self.verdict(topic, case, difference, reply)
            counts[verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{case['name']}: {difference}\n    {case['request']['path']} {str(case['request'].get('body'))[:200]}\n    -> {str(reply)[:200]}")
        self.assertEqual(node.stop(), 0)
        with open(node.log_path, errors="replace") as log:
            self.assertNotRegex(log.read(), "ERROR: AddressSanitizer|runtime error:")
        self.assertEqual(wrong, [], f"{topic}: {len(wrong)} wrong\n" + "\n".join(wrong[:SHOWN_MAX]))

    def test_z_each_row_of_differences_was_seen(self):
        if set(self.table) != set(TOPICS):
            self.skipTest("needs all topics")
        unseen = [row for i, row in enumerate(DIFFERENCES) if i not in self.rows_seen]
        self.assertEqual(unseen, [], "rows that describe no difference any more")


def add_topics():
    for topic in TOPICS:
        setattr(Golden, f"test_{topic}", lambda self, topic=topic: self.replay_topic(topic))


if __name__ == "__main__":
    if not os.path.isdir(GOLDEN):
        print(f"skipped: the recorded replies are not at {GOLDEN}")
        sys.exit(SKIP)
    add_topics()
    main()
