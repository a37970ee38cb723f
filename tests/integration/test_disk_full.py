"""A data disk without a free byte: the node starts, answers, refuses with 503, and recovers."""
import errno
import json
import os
import shutil
import subprocess
import threading
import unittest

from weirlib import TestNode, main, wait_for

DISK_MB = 400
SMALL_DISK_MB = 200
INDEX_DISK_MB = 4
FILLER = "filler"


def mount_disk(path, size_mb=DISK_MB):
    """None, or why a small disk of its own cannot be had here."""
    os.makedirs(path, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "weir-test", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


class FullDisk(unittest.TestCase):
    # Bodies stay in memory, so that it is the journal that says no, but for the test of the others.
    settings = {"WEIR_DISK_RESERVE": "32MiB", "WEIR_JOURNAL_MAX": "192MiB", "WEIR_BODY_MEMORY_MAX": "32MiB"}

    def setUp(self):
        self.node = TestNode(**self.settings)
        self.addCleanup(self.node.destroy)
        why = mount_disk(self.node.data_dir)
        if why:
            self.skipTest(f"no tmpfs can be mounted: {why}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.node.data_dir], check=False)
        self.addCleanup(self.stop)
        self.stored = 0

    def stop(self):
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.stop()

    def fill(self, folder=None):
        """Not a byte is left; the last pages one by one."""
        folder = folder or self.node.data_dir
        with open(f"{folder}/{FILLER}", "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"f" * size)
                except OSError:
                    pass
        disk = os.statvfs(folder)
        self.assertEqual(disk.f_bavail, 0)

    def free(self):
        os.unlink(f"{self.node.data_dir}/{FILLER}")

    def store(self, count, pad=100):
        """The status of one request; what it acknowledges is counted."""
        status, reply = self.node.post_json("kept", [{"i": self.stored + i, "pad": "x" * pad} for i in range(count)])
        if status == 200:
            self.stored += reply["status"][0]["successful"]
        return status

    def check_all_there(self):
        self.assertEqual(self.node.hits("SELECT count(*) AS n, count(DISTINCT i) AS d FROM kept"), [{"n": self.stored, "d": self.stored}])

    def check_recovery(self):
        self.free()
        wait_for(lambda: self.store(10) == 200, 60, "a record that is taken again")
        self.check_all_there()
        self.node.flush()
        self.check_all_there()
        self.assertEqual([p for p in self.node.files("kept") if "/text/" not in p], [])
        self.assertEqual(os.listdir(f"{self.node.data_dir}/staging"), [])

    def test_a_large_body_that_finds_no_room_is_503_and_small_ones_go_on(self):
        self.node.env["WEIR_BODY_MEMORY_MAX"] = "1MiB"
        self.node.start()
        self.assertEqual(self.store(1000), 200)
        disk = os.statvfs(self.node.data_dir)
        with open(f"{self.node.data_dir}/{FILLER}", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - (100 << 20))
        body = b"[" + b" " * 150_000_000 + b'{"a":1}]'
        answers = []
        large = threading.Thread(target=lambda: answers.append(self.node.raw("POST", "/api/default/large/_json", body)))
        large.start()
        while large.is_alive():
            self.assertEqual(self.store(10), 200)
        large.join()
        status, headers, reply = answers[0]
        self.assertEqual((status, headers["retry-after"]), (503, "1"), reply)
        self.assertIn("WEIR_DISK_RESERVE", json.loads(reply)["message"])
        self.assertGreater(os.statvfs(self.node.data_dir).f_bavail * disk.f_frsize, 60 << 20, "its room is given back")
        self.check_all_there()
        self.free()
        self.assertEqual(self.node.post_json("large", body)[0], 200)

    def test_a_stream_is_deleted_or_not_and_the_reply_says_so(self):
        self.node.start()
        self.assertEqual(self.store(1000), 200)
        names = [f"s{i}" for i in range(40)]
        for name in names:
            self.assertEqual(self.node.post_json(name, [{"i": 1}])[0], 200)
        self.fill()
        left, statuses = set(), set()
        for name in names:
            status, _, reply = self.node.raw("DELETE", f"/api/default/streams/{name}?type=logs")
            self.assertIn(status, (200, 503), reply)
            statuses.add(status)
            if status == 503 and b"is deleted" not in reply:
                left.add(name)
        self.assertIn(503, statuses)
        self.assertEqual({s["name"] for s in json.loads(self.node.raw("GET", "/api/default/streams?type=logs")[2])["list"]}, left | {"kept"})
        self.check_recovery()

    def test_a_small_disk_has_a_journal_that_stores(self):
        subprocess.run(["umount", self.node.data_dir], check=True)
        self.assertIsNone(mount_disk(self.node.data_dir, SMALL_DISK_MB))
        del self.node.env["WEIR_JOURNAL_MAX"]
        self.node.start()
        for _ in range(3):
            self.assertEqual(self.store(1000), 200)
            self.node.flush()
        self.check_all_there()

    def test_it_starts_without_a_free_byte_answers_and_takes_records_when_there_is_room(self):
        self.node.start()
        self.assertEqual(self.store(1000), 200)
        self.node.flush()
        self.assertEqual(self.store(1000), 200)
        for stop in (self.node.stop, self.node.kill_everything):
            stop()
            self.fill()
            self.node.start()
            self.check_all_there()
            wait_for(lambda: self.store(30_000, 150) != 200, 60, "a refusal by the journal")
            status, headers, _ = self.node.raw("POST", "/api/default/kept/_json", json.dumps([{"i": 0, "pad": "x" * 100_000}] * 80).encode())
            self.assertEqual(status, 503)
            self.assertIn("retry-after", headers)
            self.check_all_there()
            self.check_recovery()

    def test_a_disk_that_fills_while_files_are_sealed_loses_nothing(self):
        self.node.env["WEIR_JOURNAL_MAX"] = "320MiB"  # two segments are not half of it, so nothing is sealed before the flush
        self.node.start()
        for _ in range(10):
            self.assertEqual(self.store(10_000), 200)
        self.fill()
        outcome = []
        flush = threading.Thread(target=lambda: outcome.append(self.node.raw("PUT", "/node/flush", timeout=120)[0]))
        flush.start()
        flush.join()
        self.assertEqual(outcome, [503])
        self.check_all_there()
        self.check_recovery()
        self.node.kill_everything()
        self.node.start()
        self.check_all_there()

    def give_the_index_a_disk(self):
        """Of its own, so that it alone can be full; the node runs then."""
        folder = f"{self.node.data_dir}/index"
        self.node.start()
        self.node.stop()
        shutil.copytree(folder, f"{self.node.scratch}/index")
        self.assertIsNone(mount_disk(folder, INDEX_DISK_MB))
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        self.addCleanup(self.stop)
        shutil.copytree(f"{self.node.scratch}/index", folder, dirs_exist_ok=True)
        self.node.start()
        return folder

    def seal_until_the_index_is_full(self):
        for i in range(100):  # columns that no other part has take pages that were never used
            self.assertEqual(self.node.post_json(f"wide{i}", [{f"f{i}_{k}": 1 for k in range(300)}])[0], 200)
            self.assertEqual(self.store(100), 200)
            if self.node.raw("PUT", "/node/flush")[0] != 200:
                return
        self.fail("the index still has room")

    def test_it_starts_with_a_published_part_that_the_index_has_no_room_for(self):
        index = self.give_the_index_a_disk()
        self.assertEqual(self.store(1000), 200)
        self.node.flush()
        self.fill(index)
        self.seal_until_the_index_is_full()
        self.check_all_there()
        self.node.kill_everything()
        self.fill()
        for _ in range(2):
            self.node.start()
            self.assertIn("wait for room in the index", self.node.log_tail())
            self.check_all_there()
            wait_for(lambda: self.store(30_000, 150) == 503, 60, "a refusal by the journal")
            self.check_all_there()
            self.node.kill_everything()
        self.node.start()
        self.free()
        os.unlink(f"{index}/{FILLER}")
        wait_for(lambda: self.store(10) == 200, 60, "a record that is taken again")
        self.check_all_there()
        wait_for(lambda: self.node.raw("PUT", "/node/flush")[0] == 200, 60, "the last seal")
        wait_for(lambda: not [p for p in self.node.files("kept") if "/text/" not in p], 60, "parts alone")
        for _ in range(2):
            self.check_all_there()
            self.node.kill_everything()
            self.node.start()
            self.assertNotIn("wait for room in the index", self.node.log_tail())

    def test_a_stream_made_in_the_index_without_room_is_503(self):
        self.node.start()
        self.assertEqual(self.store(1000), 200)
        self.fill()
        statuses = set()
        filler = f"{self.node.data_dir}/{FILLER}"
        for i in range(120):  # some find a few pages of those that they need, so that their write is cut short
            os.truncate(filler, os.stat(filler).st_size - i % 4 * 4096)
            fields = [{"name": f"f{i}_{k}" + "x" * 100, "type": "Utf8"} for k in range(200)]
            status, _, reply = self.node.raw("POST", f"/api/default/streams/s{i}?type=logs", json.dumps({"fields": fields, "settings": {}}).encode(),
                                             {"Content-Type": "application/json"})
            self.assertIn(status, (200, 503), reply)
            statuses.add(status)
            for path in ("_json", "_multi"):
                status, headers, reply = self.node.raw("POST", f"/api/o{path}{i}/x/{path}", b'{"a":1}')
                self.assertIn((status, headers.get("retry-after")), ((200, None), (503, "1")), reply)  # the journal may have room
            try:
                os.mkdir(f"{self.node.mount}/od{i}")
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                statuses.add("ENOSPC")
        self.assertLessEqual({503, "ENOSPC"}, statuses)
        self.check_all_there()
        self.check_recovery()


if __name__ == "__main__":
    main()
