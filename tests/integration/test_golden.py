"""Replies of real OpenObserve servers, case by case: equal, different on purpose, or wrong."""
import collections
import json
import os
import re
import sys
import unittest

from golden import GOLDEN, replay
from weirlib import ROOT, SKIP, TestNode, main

TOPICS = ["ingest_json", "ingest_multi", "ingest_schema_evolution", "store_original_and_ids", "streams", "system"]

with open(os.path.join(ROOT, "tests/integration/golden_differences.json"), encoding="utf-8") as rows:
    DIFFERENCES = json.load(rows)


def is_wanted(topic, case, difference):
    """The reason of the first row that describes the difference, or None."""
    for row in DIFFERENCES:
        if ("*" in row["topics"] or topic in row["topics"]) and re.search(row["difference"], difference) \
                and re.search(row.get("case", ""), case["name"]) and re.search(row.get("body", ""), str(case["request"].get("body"))) \
                and row.get("status", case["response"]["status"]) == case["response"]["status"]:
            return row["reason"]
    return None


class Golden(unittest.TestCase):
    table = {}

    @classmethod
    def tearDownClass(cls):
        print(f"\n{'topic':34}{'equal':>7}{'on purpose':>12}{'wrong':>7}")
        for topic, counts in cls.table.items():
            print(f"{topic:34}{counts['equal']:7}{counts['on purpose']:12}{counts['wrong']:7}")

    def replay_topic(self, topic):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        counts = self.table[topic] = collections.Counter()
        wrong = []
        for case, difference, reply in replay(node, topic):
            verdict = "equal" if difference is None else "on purpose" if is_wanted(topic, case, difference) else "wrong"
            counts[verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{case['name']}: {difference}\n    {case['request']['path']} {str(case['request'].get('body'))[:200]}\n    -> {str(reply)[:200]}")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(wrong, [], f"{topic}: {len(wrong)} wrong\n" + "\n".join(wrong[:20]))


def add_topics():
    for topic in TOPICS:
        setattr(Golden, f"test_{topic}", lambda self, topic=topic: self.replay_topic(topic))


if __name__ == "__main__":
    if not os.path.isdir(GOLDEN):
        print(f"skipped: the recorded replies are not at {GOLDEN}")
        sys.exit(SKIP)
    add_topics()
    main()
