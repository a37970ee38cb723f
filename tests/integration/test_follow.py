"""The filesystem's process dies and another goes on with the same mount: who uses it sees a pause."""
import errno
import os
import signal
import subprocess
import threading
import unittest

from weirlib import NodeCase, TestNode, children, kernel_resends, main, stop_process, wait_for


def wait_until_held(node, count, waiting=()):
    """Until the kernel holds so many requests that nobody has answered.  The mount may not be asked."""
    with open("/proc/self/mountinfo") as mounts:
        number = next(line.split()[2].split(":")[1] for line in mounts if f" {node.mount} " in line)
    path = f"/sys/fs/fuse/connections/{number}/waiting"
    if not os.path.exists(path):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", "/sys/fs/fuse/connections"], check=True)
    try:
        wait_for(lambda: int(cat(path)) >= count)
    except AssertionError:
        raise AssertionError(f"{count} requests in flight: {int(cat(path))} are, still called: {[w for w in waiting if w.is_alive()]}") from None


class InThread(threading.Thread):
    """Runs a call and keeps what came of it."""

    def __init__(self, call, *args):
        super().__init__(daemon=True, name=f"{getattr(call, '__name__', call)}{args}")
        self.call, self.args, self.result, self.error = call, args, None, None
        self.start()

    def run(self):
        try:
            self.result = self.call(*self.args)
        except OSError as error:
            self.error = error

    def finish(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "still waiting"
        if self.error:
            raise self.error
        return self.result


def cat(path):
    with open(path, "rb") as file:
        return file.read()


@unittest.skipUnless(kernel_resends(), "this kernel (before 6.9) does not resend: the mount is made anew")
class Follow(NodeCase):
    settings = {"ZO_MAX_FILE_RETENTION_TIME": "3600"}

    def post(self, stream, texts):
        status, reply = self.node.post_json(stream, [{"log": text} for text in texts])
        self.assertEqual((status, reply["status"][0]["failed"]), (200, 0))

    def stop_fs(self):
        """The process is there, takes requests no more, and is never to come back."""
        pid = self.node.child("fs")
        stop_process(pid)
        self.addCleanup(self.end_stopped, pid)
        return pid

    def end_stopped(self, pid):
        if children(self.node).get("fs") == pid:
            self.kill_fs(pid)

    def kill_fs(self, pid=None):
        pid = pid or self.node.child("fs")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: children(self.node).get("fs") not in (None, pid), what="another fs")

    def sealed(self, stream):
        self.post(stream, [f"line {i}" for i in range(1000)])
        self.node.flush()
        return self.node.sealed_files(stream)[0]

    def test_an_open_handle_reads_on(self):
        self.post("open", ["one"])
        with open(self.node.files("open")[0], "rb", buffering=0) as file:
            self.assertIn(b'"one"', file.read())
            self.kill_fs()
            self.post("open", ["two"])
            self.assertIn(b'"two"', file.read())
            file.seek(0)
            self.assertIn(b'"one"', file.read())

    def test_who_waits_gets_an_answer_and_no_error(self):
        self.post("wait", ["one"])
        path = self.node.files("wait")[0]
        pid = self.stop_fs()
        waiting = [InThread(call, *args) for call, *args in (
            (cat, path), (os.stat, path), (os.listdir, self.node.mount), (cat, f"{self.node.mount}/.weir/version"),
            (self.node.post_json, "wait", [{"log": "two"}]), (self.node.search, "SELECT count(*) AS n FROM wait"))]
        wait_until_held(self.node, 3, waiting)
        self.kill_fs(pid)
        text, _, names, _, (status, _), (found, _) = [w.finish() for w in waiting]
        self.assertIn(b'"one"', text)
        self.assertIn("default", names)
        self.assertEqual((status, found), (200, 200))
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM wait"), [{"n": 2}])

    def test_a_sealed_file_stays_open_and_can_be_opened_again(self):
        path = self.sealed("sealed")
        whole = cat(path)
        with open(path, "rb", buffering=0) as file:
            self.assertEqual(file.read(100), whole[:100])
            self.kill_fs()
            self.assertEqual(file.read(), whole[100:])
            for _ in range(3):
                self.assertEqual(cat(path), whole)
            self.kill_fs()
            self.assertEqual(cat(path), whole)
        self.assertEqual(cat(path), whole)

    def test_the_text_of_a_sealed_file_is_read_on(self):
        path = self.sealed("texts")
        text = "/".join(path.split("/")[:-5] + ["text"] + path.split("/")[-5:]).replace(".parquet", ".ndjson")
        with open(text, "rb", buffering=0) as file:
            self.assertEqual(len(file.readline()), len(cat(text).split(b"\n")[0]) + 1)
            self.kill_fs()
            self.assertEqual(len(file.read().split(b"\n")), 1000)

    def test_who_stands_in_a_directory_goes_on_standing_there(self):
        self.post("stand", ["one"])
        hour = os.path.dirname(self.node.files("stand")[0])
        for folder in (hour, f"{self.node.mount}/default/logs", self.node.mount):
            shell = subprocess.Popen(["sh", "-c", "read line; ls -a && cat ./*.ndjson ./*/schema.json; true"], cwd=folder,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            listed = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self.addCleanup(os.close, listed)
            before = os.listdir(listed)
            self.kill_fs()
            out, err = shell.communicate(b"go\n", timeout=60)
            self.assertNotIn(b"Stale", err)
            self.assertEqual(sorted(out.decode().split("\n")[2:2 + len(before)]), sorted(before))
            self.assertEqual(os.listdir(listed), before)

    def test_a_walk_over_the_tree_meets_no_error(self):
        for i in range(20):
            self.post(f"walk{i}", ["one"])
        self.node.flush()
        for i in range(20):
            self.post(f"walk{i}", ["two"])
        stop, failed, rounds = threading.Event(), [], [0]

        def walk():
            while not stop.is_set():
                found = subprocess.run(["grep", "-rc", "one", f"{self.node.mount}/default/logs"], capture_output=True, text=True)
                if found.returncode > 1:
                    failed.append(found.stderr)
                rounds[0] += 1

        walker = threading.Thread(target=walk)
        walker.start()
        for _ in range(5):
            before = rounds[0]
            self.kill_fs()
            wait_for(lambda: rounds[0] > before + 1, what="two more walks", seconds=60)
        stop.set()
        walker.join()
        self.assertEqual(failed, [])

    def test_inode_numbers_and_links_stay(self):
        path = self.sealed("inodes")
        before = os.stat(path)
        self.kill_fs()
        after = os.stat(path)
        self.assertEqual((before.st_ino, before.st_size, before.st_mtime), (after.st_ino, after.st_size, after.st_mtime))

    def test_a_request_that_kills_is_given_up_with_its_mount(self):
        self.post("crash", ["one"])
        with open(self.node.files("crash")[0], "rb", buffering=0) as file:
            self.assertTrue(file.read())
            for _ in range(3):  # as if by themselves
                pid = self.node.child("fs")
                os.kill(pid, signal.SIGABRT)
                wait_for(lambda: children(self.node).get("fs") not in (None, pid), what="another fs", seconds=60)
                self.node.wait_ready()
            with self.assertRaises(OSError) as raised:
                file.seek(0)
                file.read()
            self.assertEqual(raised.exception.errno, errno.ENOTCONN)
        self.assertIn(b'"one"', cat(self.node.files("crash")[0]))


class Stop(unittest.TestCase):
    def test_a_node_whose_fs_is_dead_stops(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        self.assertEqual(node.post_json("stop", [{"log": "one"}])[0], 200)
        pid = node.child("fs")
        stop_process(pid)
        waiting = InThread(node.post_json, "stop", [{"log": "two"}])
        wait_until_held(node, 1)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(node.stop(), 0, node.log_tail())
        waiting.join(10)

    def test_without_resend_the_mount_is_made_anew(self):
        node = TestNode(WEIR_FUSE_FEATURES="passthrough")
        self.addCleanup(node.destroy)
        node.start()
        self.assertEqual(node.post_json("anew", [{"log": "one"}])[0], 200)
        with open(node.files("anew")[0], "rb", buffering=0) as file:
            node.kill_child("fs")
            with self.assertRaises(OSError) as raised:
                file.read()
            self.assertEqual(raised.exception.errno, errno.ENOTCONN)
        self.assertEqual(node.post_json("anew", [{"log": "two"}])[0], 200)
        self.assertEqual(node.hits("SELECT count(*) AS n FROM anew"), [{"n": 2}])
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    main()
