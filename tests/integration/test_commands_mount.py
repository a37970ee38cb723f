"""weir mount: a data directory as files without a node, and not a byte of it changed when read-only."""
import errno
import glob
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from test_commands import weir
from weirlib import BINARY, EMAIL, PASSWORD, TestNode, main, text_of, wait_for


def everything(folder):
    """Every entry below with its kind, mode, times and bytes."""
    found = {}
    for path, folders, names in os.walk(folder):
        for name in [".", *folders, *names]:
            entry = os.path.join(path, name)
            st = os.lstat(entry)
            content = b""
            if name in names and os.path.isfile(entry):
                with open(entry, "rb") as file:
                    content = file.read()
            found[entry] = (st.st_mode, st.st_uid, st.st_nlink, st.st_ino, st.st_mtime_ns, st.st_ctime_ns, hash(content))
    return found


def is_mounted(path):
    with open("/proc/self/mountinfo") as mounts:
        return f" {path} " in mounts.read()


class Mount:
    """One `weir mount` in a session of its own."""

    def __init__(self, test, *args, point=None, user=None, env=None, binary=BINARY):
        self.point = point or os.path.join(test.scratch, "look")
        self.log = os.path.join(test.scratch, "mount.log")
        full = {k: v for k, v in os.environ.items() if not k.startswith(("ZO_", "WEIR_"))}
        full.update({"TMPDIR": test.tmp}, **(env or {}))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "mount", *args, self.point], env=full, stdout=log, stderr=log,
                                            start_new_session=True, user=user)
        test.addCleanup(self.destroy)

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def wait_ready(self):
        wait_for(lambda: " ready " in self.text() or self.process.poll() is not None, what="ready")
        if self.process.poll() is not None:
            raise AssertionError(self.text())
        return self

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def destroy(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        subprocess.run(["fusermount3", "-uzq", self.point], check=False, stderr=subprocess.DEVNULL)
        text = self.text() if os.path.exists(self.log) else ""
        assert "ERROR: AddressSanitizer" not in text and "runtime error:" not in text, text[-8000:]


class MountCase(unittest.TestCase):
    """A data directory whose node was killed: sealed parts, lines in the journal, a deleted stream."""

    @classmethod
    def setUpClass(cls):
        cls.node = TestNode(ZO_MAX_FILE_RETENTION_TIME="3600")
        cls.addClassCleanup(cls.node.destroy)
        cls.node.start()
        cls.node.post_json("app", [{"n": i, "level": "info", "log": f"sealed {i}"} for i in range(1000)])
        cls.node.flush()
        cls.node.post_json("app", [{"n": 1000 + i, "level": "error", "log": f"active {i}"} for i in range(20)])
        cls.node.kill_everything()
        subprocess.run(["fusermount3", "-uzq", cls.node.mount], check=False)
        cls.data = cls.node.data_dir

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="weir-test-")
        self.tmp = os.path.join(self.scratch, "tmp")
        os.mkdir(self.tmp)
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def mount(self, *args, **more):
        return Mount(self, "--data", self.data, *args, **more)

    def copy(self):
        self.data = os.path.join(self.scratch, "copy")
        subprocess.run(["cp", "-a", self.node.data_dir, self.data], check=True)
        return self.data

    def read_it_all(self, point):
        """ls, cat, grep, text/, attributes and status, as a person would."""
        stream = f"{point}/default/logs/app"
        self.assertEqual(sorted(os.listdir(point + "/default/logs")), ["app"])
        sealed, = glob.glob(f"{stream}/2*/*/*/*/*.parquet")
        active, = glob.glob(f"{stream}/2*/*/*/*/*.ndjson")
        with open(sealed, "rb") as file:
            self.assertEqual(file.read(4), b"PAR1")
        with open(active) as file:
            self.assertEqual([json.loads(line)["n"] for line in file], list(range(1000, 1020)))
        with open(text_of(sealed)) as file:
            self.assertEqual([json.loads(line)["n"] for line in file], list(range(1000)))
        grep = subprocess.run(["grep", "-rh", "d 7\"", stream], capture_output=True, text=True).stdout
        self.assertIn("sealed 7", grep)
        self.assertEqual(os.getxattr(sealed, "user.weir.rows"), b"1000")
        self.assertEqual(os.getxattr(active, "user.weir.state"), b"active")
        with open(f"{point}/.weir/health.json") as file:
            json.load(file)
        with open(f"{stream}/schema.json") as file:
            self.assertIn('"level"', file.read())
        self.assertEqual(len(json.loads(weir("ls", "--mount", point, "--json").stdout.splitlines()[0])), 8)
        last = weir("tail", "--mount", point, "-n", "1", "--json", "app").stdout
        self.assertEqual(json.loads(last)["n"], 1019)


    def refuses_writers(self, point):
        """Without a gateway nobody takes lines or makes streams: that is said at once."""
        began = time.monotonic()
        self.assertFalse(os.path.exists(f"{point}/default/logs/app/ingest"))
        self.assertFalse(os.path.exists(f"{point}/.weir/commit"))
        for change in (lambda: open(f"{point}/default/logs/app/ingest", "a"), lambda: open(f"{point}/default/logs/new", "w"),
                       lambda: os.mkdir(f"{point}/default/logs/new"), lambda: os.mkdir(f"{point}/new")):
            with self.assertRaises(OSError) as refused:
                change().close()
            self.assertEqual(refused.exception.errno, errno.EROFS)
        self.assertLess(time.monotonic() - began, 2)


class ReadOnly(MountCase):
    def test_everything_is_readable_and_not_a_byte_changes(self):
        before = everything(self.data)
        m = self.mount("--read-only").wait_ready()
        self.read_it_all(m.point)
        self.refuses_writers(m.point)
        self.assertEqual(m.stop(), 0)
        self.assertFalse(is_mounted(m.point))
        self.assertEqual(everything(self.data), before)
        self.assertEqual(os.listdir(self.tmp), [])

    def test_not_a_byte_changes_when_all_its_processes_are_killed(self):
        before = everything(self.data)
        m = self.mount("--read-only").wait_ready()
        os.killpg(m.process.pid, signal.SIGKILL)
        m.process.wait()
        self.assertEqual(everything(self.data), before)
        self.assertTrue(is_mounted(m.point))
        # The next one replaces the dead mount and clears up what was left behind.
        again = self.mount("--read-only").wait_ready()
        self.read_it_all(again.point)
        self.assertEqual(len(os.listdir(self.tmp)), 1)
        self.assertEqual(again.stop(), 0)
        self.assertEqual(os.listdir(self.tmp), [])
        self.assertEqual(everything(self.data), before)

    def test_a_process_that_dies_is_replaced(self):
        before = everything(self.data)
        m = self.mount("--read-only").wait_ready()
        for name in ("weir-engine", "weir-fs"):
            found = subprocess.run(["pgrep", "-P", str(m.process.pid), name], capture_output=True, text=True).stdout
            os.kill(int(found), signal.SIGKILL)
            wait_for(lambda: subprocess.run(["pgrep", "-P", str(m.process.pid), name], capture_output=True,
                                            text=True).stdout not in ("", found), what=f"another {name}")
            wait_for(lambda: os.path.exists(f"{m.point}/default"), what="the mount")
            self.read_it_all(m.point)
        self.assertEqual(m.stop(), 0)
        self.assertEqual(everything(self.data), before)

    @unittest.skipUnless(os.geteuid() == 0, "not root: cannot become another user")
    def test_who_may_only_read_can_mount(self):
        data = self.copy()
        subprocess.run(["chmod", "-R", "a+rX,a-w", data], check=True)
        os.chmod(self.scratch, 0o755)
        home = os.path.join(self.scratch, "home")
        os.mkdir(home)
        for folder in (home, self.tmp):
            os.chown(folder, 65534, 65534)
        # The build may stand where only root comes.
        binary = shutil.copy(BINARY, home)
        linked = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
        shutil.copy(re.search(r"libduckdb\S* => (\S+)", linked).group(1), home)
        before, mode = everything(data), os.stat("/dev/fuse").st_mode
        os.chmod("/dev/fuse", 0o666)  # as udev does
        self.addCleanup(os.chmod, "/dev/fuse", mode & 0o777)
        m = self.mount("--read-only", point=home + "/look", user=65534, binary=binary,
                       env={"LD_LIBRARY_PATH": home}).wait_ready()
        script = 'cat "$1"/default/logs/app/2*/*/*/*/*.ndjson; cat "$1"/default/logs/app/text/2*/*/*/*/*.ndjson'
        out = subprocess.run(["sh", "-c", script, "sh", m.point], user=65534, capture_output=True, text=True)
        self.assertEqual((len(out.stdout.splitlines()), out.stderr), (1020, ""))
        self.assertEqual(m.stop(), 0)
        self.assertEqual(everything(data), before)

    def test_a_deleted_stream_is_not_shown(self):
        node = TestNode(ZO_MAX_FILE_RETENTION_TIME="3600")
        self.addCleanup(node.destroy)
        node.start()
        for stream in ("gone", "kept"):
            node.post_json(stream, [{"n": 1}])
        node.flush()
        node.post_json("gone", [{"n": 2}])
        early = os.path.join(self.scratch, "early")
        subprocess.run(["cp", "-a", f"{node.data_dir}/journal", early], check=True)
        subprocess.run(["cp", "-a", f"{node.data_dir}/index", early + "-index"], check=True)
        self.assertEqual(node.raw("DELETE", "/api/default/streams/gone")[0], 200)
        node.kill_everything()
        # The mark is durable, and the plug was pulled before anything was freed.
        for name, copy in (("journal", early), ("index", early + "-index")):
            shutil.rmtree(f"{node.data_dir}/{name}")
            os.rename(copy, f"{node.data_dir}/{name}")
        self.data = node.data_dir
        m = self.mount("--read-only").wait_ready()
        self.assertEqual(os.listdir(f"{m.point}/default/logs"), ["kept"])
        self.assertEqual(m.stop(), 0)

    def test_two_may_look_and_a_node_has_to_wait(self):
        data = self.copy()
        first = self.mount("--read-only").wait_ready()
        second = self.mount("--read-only", point=os.path.join(self.scratch, "second")).wait_ready()
        result = weir("serve", env={"ZO_DATA_DIR": data, "ZO_ROOT_USER_EMAIL": EMAIL, "ZO_ROOT_USER_PASSWORD": PASSWORD})
        self.assertEqual(result.returncode, 78)
        self.assertRegex(result.stderr, f"being read by process ({first.process.pid}|{second.process.pid}) ")
        self.assertEqual((first.stop(), second.stop()), (0, 0))

    def test_nothing_is_made_in_the_directory(self):
        result = weir("mount", "--data", self.data, "-r", self.data + "/new")
        self.assertEqual(result.returncode, 78)
        self.assertIn("makes nothing", result.stderr)
        self.assertFalse(os.path.exists(self.data + "/new"))


class Ends(MountCase):
    def test_ctrl_c_and_sigterm_and_a_closed_terminal_unmount(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            m = self.mount("--read-only").wait_ready()
            os.killpg(m.process.pid, number)  # as a terminal does
            self.assertEqual(m.process.wait(timeout=60), 0, number)
            self.assertFalse(is_mounted(m.point))

    def test_unmounting_by_hand_ends_it(self):
        m = self.mount("--read-only").wait_ready()
        subprocess.run(["fusermount3", "-u", m.point], check=True)
        self.assertEqual(m.process.wait(timeout=60), 0)

    def test_ctrl_c_on_a_terminal(self):
        pid, terminal = pty.fork()
        point = os.path.join(self.scratch, "look")
        if pid == 0:
            os.environ["TMPDIR"] = self.tmp
            os.execv(BINARY, [BINARY, "mount", "--data", self.data, "-r", point])
        self.addCleanup(subprocess.run, ["fusermount3", "-uzq", point], check=False)
        shown = b""
        while b" ready " not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertFalse(is_mounted(point))
        os.close(terminal)


class Writing(MountCase):
    def test_without_read_only_it_owns_the_directory_and_a_node_goes_on_from_it(self):
        data = self.copy()
        m = self.mount().wait_ready()
        self.read_it_all(m.point)
        self.refuses_writers(m.point)
        for args in (["--read-only"], []):
            result = weir("mount", "--data", data, *args, os.path.join(self.scratch, "other"))
            self.assertEqual(result.returncode, 78)
            self.assertIn(f"in use by process {m.process.pid}", result.stderr)
        self.assertEqual(m.stop(), 0)
        self.assertEqual(json.loads(weir("fsck", "--data", data, "--json").stdout.splitlines()[-1])["bad"], 0)
        env = dict(self.node.env, ZO_DATA_DIR=data)
        node = TestNode()
        self.addCleanup(node.destroy)
        node.env, node.data_dir, node.mount = dict(env, ZO_HTTP_PORT=str(node.port)), data, data + "/mnt"
        self.addCleanup(subprocess.run, ["fusermount3", "-uzq", node.mount], check=False, stderr=subprocess.DEVNULL)
        node.start()
        self.assertEqual(node.hits("SELECT count(*) AS n FROM app"), [{"n": 1020}])


class Refusals(MountCase):
    def test_a_living_node_is_named(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.post_json("app", [{"n": 1}])
        for args in (["--read-only"], []):
            result = weir("mount", "--data", node.data_dir, *args, os.path.join(self.scratch, "look"))
            self.assertEqual(result.returncode, 78)
            self.assertIn(f"in use by process {node.process.pid}", result.stderr)
        self.assertEqual(len(node.files("app")), 1)

    def test_a_mount_point_that_shows_something_living_is_left_alone(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.post_json("app", [{"n": 1}])
        result = weir("mount", "--data", self.data, "-r", node.mount)
        self.assertEqual(result.returncode, 78)
        self.assertIn("shows another data directory", result.stderr)
        self.assertEqual(len(node.files("app")), 1)

    def test_what_cannot_work_is_refused_before_anything_is_made(self):
        point = os.path.join(self.scratch, "look")
        full = os.path.join(self.scratch, "full")
        os.makedirs(full + "/precious")
        for args, code, text in (
                ([], 2, "MOUNTPOINT"), (["--bucket", point], 2, "no buckets"),
                (["--data", "/nonexistent", point], 78, "/nonexistent"),
                (["--data", self.scratch, point], 78, "no data directory"),
                (["--data", self.data, "-r", full], 78, "not empty")):
            result = weir("mount", *args)
            self.assertEqual(result.returncode, code, args)
            self.assertIn(text, result.stderr)
        self.assertFalse(os.path.exists(point))
        self.assertFalse(os.path.exists("/nonexistent"))


if __name__ == "__main__":
    main()
