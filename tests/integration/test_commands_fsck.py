"""weir fsck: every kind of damage is found, named, and leaves the directory as it was."""
import fcntl
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import unittest

from test_commands import weir
from weirlib import BINARY, TestNode, main


def contents(folder):
    """Every file below with its bytes and times."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            stat = os.lstat(file)
            with open(file, "rb") as opened:
                found[file] = (stat.st_mtime_ns, stat.st_size, hashlib.sha256(opened.read()).hexdigest())
    return found


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))


class Fsck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = TestNode()
        cls.addClassCleanup(cls.node.destroy)
        cls.node.start()
        for stream in ("app", "web"):
            cls.node.post_json(stream, [{"n": i, "log": f"line {i}"} for i in range(1000)])
        cls.node.raw("POST", "/api/default/ingest/metrics/_json",
                     json.dumps([{"__name__": "cpu", "__type__": "gauge", "value": 1.5}]).encode())
        cls.node.flush()
        for i in range(20):
            cls.node.post_json("app", [{"n": 1000 + i, "log": "x" * 5000}])
        cls.node.stop()
        cls.pristine = os.path.join(cls.node.scratch, "pristine")
        subprocess.run(["cp", "-a", cls.node.data_dir, cls.pristine], check=True)

    def setUp(self):
        self.data = os.path.join(self.node.scratch, "checked")
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(["cp", "-a", self.pristine, self.data], check=True)
        self.tmp = os.path.join(self.node.scratch, "tmp")
        os.makedirs(self.tmp, exist_ok=True)

    def fsck(self, *args):
        """(exit code, findings, sums); the directory must be as it was."""
        before = contents(self.data)
        result = weir("fsck", "--data", self.data, "--json", *args, env={"TMPDIR": self.tmp})
        self.assertEqual(contents(self.data), before, "fsck changed the directory")
        self.assertEqual(os.listdir(self.tmp), [])
        *findings, sums = map(json.loads, result.stdout.splitlines())
        return result.returncode, findings, sums

    def one(self, pattern):
        return sorted(glob.glob(os.path.join(self.data, pattern)))[0]

    def assert_bad(self, text, mend, *args):
        code, findings, _ = self.fsck(*args)
        bad = [f for f in findings if f["level"] == "bad"]
        self.assertEqual((code, len(bad)), (1, 1), findings)
        self.assertIn(text, bad[0]["saw"])
        self.assertIn(mend, bad[0]["mend"])

    def test_a_sound_directory_is_counted(self):
        code, findings, sums = self.fsck()
        self.assertEqual((code, findings), (0, []))
        self.assertEqual((sums["parts"], sums["sealed_rows"], sums["active_rows"], sums["streams"]), (3, 2001, 20, 3))
        self.assertEqual(weir("fsck", "--data", self.data).stdout.splitlines()[-1], "sound")

    def test_what_a_killed_one_left_behind_goes_and_what_another_works_in_stays(self):
        dead, living = (os.path.join(self.tmp, f"weir-scratch-{name}") for name in ("dead00", "live00"))
        for folder in (dead, living):
            os.makedirs(f"{folder}/index")
            with open(f"{folder}/index/data.mdb", "w") as file:
                file.write("x")
        self.addCleanup(shutil.rmtree, living)
        owner = os.open(living, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, owner)
        fcntl.flock(owner, fcntl.LOCK_EX)
        self.assertEqual(weir("fsck", "--data", self.data, env={"TMPDIR": self.tmp}).returncode, 0)
        self.assertEqual(os.listdir(self.tmp), [os.path.basename(living)])
        self.assertTrue(os.path.exists(f"{living}/index/data.mdb"))
        result = weir("fsck", "--data", self.data, env={"TMPDIR": self.tmp + "/nothing"})
        self.assertEqual(result.returncode, 78)
        self.assertIn(f"in {self.tmp}/nothing", result.stderr)

    def test_a_flipped_bit_in_a_sealed_file_is_found(self):
        path = self.one("sealed/*/*.parquet")
        flip(path, os.path.getsize(path) // 2)
        self.assert_bad(path, "backup")
        self.assertEqual(self.fsck("--quick")[0], 0)

    def test_a_short_sealed_file_is_found_quickly(self):
        path = self.one("sealed/*/*.parquet")
        os.truncate(path, os.path.getsize(path) - 1)
        self.assert_bad(path, "backup", "--quick")

    def test_a_missing_sealed_file_is_named_with_its_stream(self):
        path = self.one("sealed/*/*.parquet")
        os.unlink(path)
        self.assert_bad("1000 rows of default/logs/app", "backup")

    def test_a_damaged_sum_loses_nothing(self):
        flip(self.one("sealed/*/*.sum"), 30)
        code, findings, _ = self.fsck()
        self.assertEqual((code, [f["level"] for f in findings]), (0, ["warn"]))

    def test_damage_in_the_journal_is_found_where_it_is(self):
        path = max(glob.glob(os.path.join(self.data, "journal/*.wal")), key=lambda p: open(p, "rb").read().rfind(b"xxxx"))
        with open(path, "rb") as file:
            at = file.read().find(b"xxxx")
        flip(path, at + 100)
        self.assert_bad(os.path.basename(path), "lost+found")

    def test_a_torn_end_is_a_note(self):
        path = max(glob.glob(os.path.join(self.data, "journal/*.wal")), key=lambda p: open(p, "rb").read().rfind(b"xxxx"))
        with open(path, "rb") as file:
            at = file.read().rfind(b"xxxx")
        flip(path, at)
        code, findings, sums = self.fsck()
        self.assertIn([f["level"] for f in findings], (["note"], ["bad"]))
        self.assertEqual(code, 0 if findings[0]["level"] == "note" else 1)
        self.assertLessEqual(sums["active_rows"], 20)

    def test_a_file_that_nobody_knows_is_found(self):
        path = self.one("sealed/*/*.parquet")
        name = os.path.basename(path)
        other = os.path.join(os.path.dirname(path), name[:-12] + "0000" + name[-8:])
        shutil.copy(path, other)
        self.assert_bad(other, "weir reindex")

    def test_a_damaged_index_is_found_and_the_files_are_checked_all_the_same(self):
        with open(os.path.join(self.data, "index/data.mdb"), "r+b") as file:
            file.write(bytes(8192))
        path = self.one("sealed/*/*.parquet")
        flip(path, 100)
        code, findings, sums = self.fsck()
        self.assertEqual((code, sums["damaged"], sums["parts"]), (1, 1, 3), findings)
        self.assertTrue(any("weir reindex" in f["mend"] for f in findings))

    def test_damaged_meta_is_found(self):
        with open(os.path.join(self.data, "meta/data.mdb"), "r+b") as file:
            file.write(bytes(8192))
        self.assert_bad("meta", "backup")

    def test_no_damage_of_a_store_ends_the_check(self):
        for seed in range(12):
            store = os.path.join(self.data, ("index", "meta")[seed % 2], "data.mdb")
            with open(store, "rb") as file:
                good = file.read()
            numbers = random.Random(seed)
            for _ in range(20):
                flip(store, numbers.randrange(len(good)))
            result = weir("fsck", "--data", self.data)
            self.assertIn(result.returncode, (0, 1), seed)
            with open(store, "wb") as file:
                file.write(good)

    def test_leftovers_are_named(self):
        os.makedirs(os.path.join(self.data, "staging"), exist_ok=True)
        open(os.path.join(self.data, "staging/half.parquet"), "w").close()
        open(os.path.join(self.data, "lost+found/old.parquet"), "w").close()
        code, findings, sums = self.fsck()
        self.assertEqual((code, sums["staged"], sums["set_aside"]), (0, 1, 1))
        self.assertEqual([f["level"] for f in findings], ["note", "warn"])

    def test_no_name_commands_the_terminal(self):
        open(os.path.join(self.data, "lost+found/old.parquet"), "w").close()
        os.symlink(self.data, self.data + "\x1b[2J")
        self.addCleanup(os.unlink, self.data + "\x1b[2J")
        self.assertIn("\\x1b[2J/lost+found", weir("fsck", "--data", self.data + "\x1b[2J").stdout)
        self.assertIn("\\x1b[2Jnosuch", weir("fsck", "--data", self.data + "\x1b[2Jnosuch").stderr)

    def test_a_directory_in_use_or_none_at_all_is_refused(self):
        for folder, text in ((self.node.scratch, "no data directory"), ("/nonexistent", "/nonexistent")):
            result = weir("fsck", "--data", folder)
            self.assertEqual(result.returncode, 78)
            self.assertIn(text, result.stderr)
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        result = weir("fsck", "--data", node.data_dir)
        self.assertEqual(result.returncode, 78)
        self.assertIn(f"process {node.process.pid}", result.stderr)
        os.killpg(node.process.pid, signal.SIGKILL)
        node.process.wait()
        self.assertEqual(weir("fsck", "--data", node.data_dir).returncode, 0)


if __name__ == "__main__":
    main()
