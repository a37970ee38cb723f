"""tools/run, from the built binary on: what a new user sees of it on a terminal of 80 columns."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from weirlib import BINARY, ROOT, free_port, main, wait_for

COLUMNS = 80


class FirstRun(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="weir-test-")
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.port = free_port()

    def run_here(self, **env):
        """The process of a first run in the scratch folder, and the path of what it prints."""
        path = os.path.join(self.scratch, f"shown{len(os.listdir(self.scratch))}")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ZO_", "WEIR_"))}
        with open(path, "wb") as shown:
            process = subprocess.Popen([sys.executable, os.path.join(ROOT, "tools/first_run.py"), "--binary", BINARY],
                                       cwd=self.scratch, stdout=shown, stderr=shown, env=clean | {"ZO_HTTP_PORT": str(self.port)} | env)
        self.addCleanup(self.end, process)
        return process, path

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)

    @staticmethod
    def text(path):
        with open(path, encoding="utf-8") as shown:
            return shown.read()

    def started(self, **env):
        process, path = self.run_here(**env)
        wait_for(lambda: "Ctrl-C stops" in self.text(path) or process.poll() is not None, seconds=120, what="the welcome")
        self.assertIsNone(process.poll(), self.text(path))
        return process, path

    def refused(self, *words, **env):
        process, path = self.run_here(**env)
        process.wait(timeout=120)
        shown = self.text(path)
        self.assertEqual(process.returncode, 1, shown)
        for word in words:
            self.assertIn(word, shown)
        self.assertNotIn("INFO", shown)
        return shown

    def test_it_starts_says_what_to_try_and_stops(self):
        process, path = self.started()
        self.assertTrue(os.path.isdir(os.path.join(self.scratch, "data/weir/mnt/default/logs/processes")))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=120), 0)
        shown = self.text(path)
        short = [line for line in shown.splitlines() if BINARY not in line and self.scratch not in line]
        self.assertEqual([line for line in short if len(line) > COLUMNS], [])
        self.assertIn("The data stays in data/weir", shown)
        self.assertEqual(os.listdir(os.path.join(self.scratch, "data/weir/mnt")), [])

    def test_a_second_one_is_told_of_the_first(self):
        first, _ = self.started()
        shown = self.refused("is running here already", "stops it")
        owner = int(re.search(r"process (\d+)", shown).group(1))
        os.kill(owner, 0)
        self.refused("is running here already", ZO_HTTP_PORT=str(free_port()))
        self.refused(f"port {self.port}", "ss -ltnp", ZO_DATA_DIR="other")
        self.assertIsNone(first.poll())

    def test_it_goes_on_after_a_node_that_was_killed(self):
        first, path = self.started()
        with open(os.path.join(self.scratch, "data/weir/lock"), encoding="ascii") as lock:
            os.kill(int(lock.read()), signal.SIGKILL)
        self.assertEqual(first.wait(timeout=120), 1)
        self.assertIn("weir serve ended (signal 9)", self.text(path))
        self.started()

    def test_a_mount_of_ones_own_is_found_and_a_full_folder_refused(self):
        mount = os.path.join(self.scratch, "look")
        first, path = self.started(WEIR_MOUNT_DIR=mount)
        self.assertIn("mount  look", self.text(path))
        self.assertIn("processes", os.listdir(f"{mount}/default/logs"))
        self.end(first)
        os.makedirs(f"{mount}/precious")
        shown = self.refused("is not empty", WEIR_MOUNT_DIR=mount)
        self.assertEqual(shown.count("is not empty"), 1)

    def test_a_data_directory_that_cannot_be_is_named(self):
        self.refused("/proc/nosuch", "ZO_DATA_DIR names another", ZO_DATA_DIR="/proc/nosuch")
        self.refused("/dev/null", "ZO_DATA_DIR names another", ZO_DATA_DIR="/dev/null")


if __name__ == "__main__":
    main()
