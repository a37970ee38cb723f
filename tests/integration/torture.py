"""Kills processes under load and counts: no acknowledged record missing, none doubled."""
import collections
import os
import random
import signal
import threading
import time

from weirlib import TestNode, children, wait_for

WRITERS = 4
LARGE_BATCHES_UNTIL = 500_000  # records of one writer; after that single ones, so that they can be counted


class Writer(threading.Thread):
    """Posts batches with unique ids, each request once; remembers what was acknowledged."""

    def __init__(self, node, number, stop):
        super().__init__(daemon=True)
        self.node, self.number, self.stop_event = node, number, stop
        self.acknowledged, self.sent = [], 0
        self.rng = random.Random(number)

    def run(self):
        while not self.stop_event.is_set():
            count = self.rng.choice((1, 1, 1, 10, 200, 3000)) if self.sent < LARGE_BATCHES_UNTIL else 1
            ids = [f"{self.number}-{self.sent + i}" for i in range(count)]
            self.sent += count
            stream = f"torture{self.rng.randrange(3)}"
            pad = "x" * self.rng.choice((10, 100, 1000 if count < 1000 else 500))
            try:
                status, reply = self.node.post_json(stream, [{"id": i, "pad": pad} for i in ids])
            except Exception:  # whatever broke, it was not acknowledged
                time.sleep(0.01)
                continue
            if status == 200 and reply["status"][0]["failed"] == 0:
                self.acknowledged += ids
            else:
                time.sleep(0.01)


def kill_one(node, rng, victims):
    name = rng.choice(victims)
    if name == "everything":
        node.kill_everything()
        node.start()
        return name
    pid = children(node).get(name)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    wait_for(lambda: children(node).get(name) not in (None, pid), what=f"another {name}")
    return name


def count_ids(node):
    seen = collections.Counter()
    for i in range(3):
        for line in node.lines(f"torture{i}"):
            seen[line["id"]] += 1
    return seen


def torture(case, kills, victims, seed=1, **settings):
    """Run `kills` kills of processes chosen from `victims` under load, then check the sums."""
    rng = random.Random(seed)
    is_sealing = "ZO_MAX_FILE_SIZE_ON_DISK" in settings
    node = TestNode(ZO_HTTP_SHUTDOWN_TIMEOUT="2", **settings)
    case.addCleanup(node.destroy)
    node.start()
    stop = threading.Event()
    writers = [Writer(node, i, stop) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    done = collections.Counter()
    while sum(done.values()) < kills:
        time.sleep(rng.uniform(0.05, 0.5))
        name = kill_one(node, rng, victims)
        if name:
            done[name] += 1
    stop.set()
    for writer in writers:
        writer.join(60)
    node.wait_ready()
    acknowledged = [i for writer in writers for i in writer.acknowledged]
    case.assertGreater(len(acknowledged), 0)
    check(case, node, acknowledged, "before the restart", is_sealing)
    node.stop()
    node.start()
    check(case, node, acknowledged, "after the restart", is_sealing)
    print(f"{dict(done)} kills, {len(acknowledged)} records acknowledged of {sum(w.sent for w in writers)} sent: none missing, none doubled")
    case.assertEqual(node.stop(), 0)


def check(case, node, acknowledged, when, is_sealing):
    if is_sealing:  # a walk over files that are sealed meanwhile would meet some twice, some never
        node.flush()
        case.assertGreater(len([p for i in range(3) for p in node.sealed_files(f"torture{i}")]), 0)
    seen = count_ids(node)
    missing = [i for i in acknowledged if seen[i] == 0]
    doubled = [i for i, n in seen.items() if n > 1]
    case.assertEqual((missing[:5], doubled[:5]), ([], []), f"{when}: {len(missing)} missing, {len(doubled)} doubled\n{node.log_tail()}")
    rows = sum(node.hits(f"SELECT count(*) AS n FROM torture{i}")[0]["n"] for i in range(3))
    case.assertEqual(rows, sum(seen.values()), f"{when}: rows by SQL and lines on the mount")


__all__ = ["torture"]
