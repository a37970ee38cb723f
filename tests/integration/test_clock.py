"""The wall clock jumps, as after a correction or on a machine with a dead battery: nothing is lost and ids stay in order."""
import json
import os
import struct
import sys
import unittest

from weirlib import BINARY, SANITIZED, SKIP, TestNode, main, now_us, text_of

HOUR_US = 3_600_000_000
LIBRARY = os.environ.get("WEIR_JUMP_CLOCK", os.path.join(os.path.dirname(BINARY), "tests/libweir_jump_clock.so"))


class JumpingClock(unittest.TestCase):
    def setUp(self):
        self.node = TestNode()
        self.addCleanup(self.node.destroy)
        path = os.path.join(self.node.scratch, "clock")
        self.clock = open(path, "wb", buffering=0)
        self.addCleanup(self.clock.close)
        self.jump(0)
        self.node.env.update(LD_PRELOAD=LIBRARY, WEIR_TEST_CLOCK=path)
        self.node.start()
        self.sent = []

    def jump(self, offset_us):
        self.clock.seek(0)
        self.clock.write(struct.pack("=q", offset_us))
        self.offset_us = offset_us

    def send(self, count=20):
        """Records without a time get the time of arrival."""
        numbers = range(len(self.sent), len(self.sent) + count)
        status, reply = self.node.post_json("jump", [{"n": n} for n in numbers])
        self.assertEqual((status, reply["status"][0]["successful"]), (200, count), reply)
        self.sent += numbers
        self.check_rows()

    def check_rows(self):
        rows = self.node.hits("SELECT n, _timestamp FROM jump", end=now_us() + 100 * HOUR_US)
        self.assertEqual(sorted(row["n"] for row in rows), self.sent)
        newest = max(rows, key=lambda row: row["n"])["_timestamp"]
        self.assertLess(abs(newest - now_us() - self.offset_us), 60_000_000, "it arrived at the time that the clock showed")

    def data_ids(self):
        found = []
        for folder, _, names in os.walk(f"{self.node.mount}/default/logs/jump"):
            if "/text/" not in folder + "/":
                found += [name.split(".")[0] for name in names if name.endswith((".ndjson", ".parquet")) and name != "current.ndjson"]
        return found

    def check_ids(self, known):
        """What came since is after everything known, and no two are the same."""
        now = self.data_ids()
        self.assertEqual(len(now), len(set(now)))
        self.assertTrue(known <= set(now))
        fresh = set(now) - known
        self.assertTrue(fresh)
        if known:
            self.assertGreater(min(fresh), max(known))
        return set(now)

    def check_text(self):
        numbers = []
        for parquet in self.node.sealed_files("jump"):
            with open(text_of(parquet), encoding="utf-8") as lines:
                numbers += [json.loads(line)["n"] for line in lines]
        self.assertEqual(sorted(numbers), self.sent)

    def test_back_an_hour_and_forward_a_day(self):
        known = set()
        for offset in (0, -HOUR_US, 24 * HOUR_US, -HOUR_US, 2 * HOUR_US):
            self.jump(offset)
            self.send()
            self.node.flush()
            self.check_rows()
            known = self.check_ids(known)
        self.check_text()
        self.assertEqual(self.node.stop(), 0)

    def test_back_while_a_file_is_open(self):
        self.send()
        self.jump(-HOUR_US)
        self.send()
        self.jump(24 * HOUR_US)
        self.send()
        self.node.flush()
        self.check_rows()
        self.check_text()
        self.assertEqual(self.node.stop(), 0)

    def test_ids_of_records_stay_in_order_over_kills(self):
        wish = json.dumps({"fields": [], "settings": {"store_original_data": True}}).encode()
        status, _, text = self.node.raw("POST", "/api/default/streams/jump?type=logs", wish, {"Content-Type": "application/json"})
        self.assertEqual(status, 200, text)
        for offset, killed in ((0, "gateway"), (-HOUR_US, "all"), (23 * HOUR_US, "gateway"), (-2 * HOUR_US, None), (-3 * HOUR_US, "fs")):
            self.jump(offset)
            self.send()
            if killed == "all":
                self.node.kill_everything()
                self.node.start()
            elif killed:
                self.node.kill_child(killed)
            else:
                self.assertEqual(self.node.stop(), 0)
                self.node.start()
        self.jump(-4 * HOUR_US)
        self.send()
        rows = self.node.hits("SELECT n, _o2_id FROM jump ORDER BY n", end=now_us() + 100 * HOUR_US)
        self.assertEqual([row["n"] for row in rows], self.sent)
        ids = [int(row["_o2_id"]) for row in rows]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(self.node.stop(), 0)

    def test_a_start_before_the_time_of_what_is_there(self):
        self.jump(24 * HOUR_US)
        self.send()
        self.node.flush()
        self.send()
        known = self.check_ids(set())
        self.assertEqual(self.node.stop(), 0)
        self.jump(-HOUR_US)
        self.node.start()
        self.send()
        known = self.check_ids(known)
        self.node.kill_child("fs")
        self.jump(-3 * HOUR_US)
        self.send()
        self.node.flush()
        self.check_rows()
        self.check_ids(known)
        self.check_text()
        self.assertEqual(self.node.stop(), 0)


if __name__ == "__main__":
    if SANITIZED or not os.path.exists(LIBRARY):
        print("skipped: a preloaded clock and a sanitizer do not go together" if SANITIZED else f"skipped: no {LIBRARY}")
        sys.exit(SKIP)
    main()
