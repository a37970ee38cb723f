"""The mount by itself: batches go in through a commit file, the tree shows them as any filesystem would."""
import ctypes
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from weirlib import BINARY, main, wait_for  # noqa: E402

DRIVER = os.environ.get("WEIR_FSDRIVER", os.path.join(os.path.dirname(BINARY), "tests/weir_fsdriver"))
PART_MAX = 1 << 20
HOUR_US = 3_600_000_000
LAST, NO_SYNC = 1, 2
NOON = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z


def _crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Run:
    """Lines of one stream and hour."""

    def __init__(self, stream, name, lines, ts=NOON, org="default", type=0):
        self.stream, self.name, self.org, self.type = stream, name.encode(), org.encode(), type
        self.ts, self.lines = ts, [line if isinstance(line, bytes) else line.encode() for line in lines]

    def payload(self):
        return b"".join(line + b"\n" for line in self.lines)

    def entry(self):
        names = self.org + self.name
        head = struct.pack(
            "<QiBBBBIIqq", self.stream, self.ts // HOUR_US, self.type, len(self.org), len(self.name), 0,
            len(self.lines), len(self.payload()), self.ts, self.ts)
        return head + names + b"\0" * (-(len(head) + len(names)) % 8)


def batch(epoch, worker, number, runs, flags=LAST, part=0, parts=1):
    """One part as fs/journal/batch.h has it."""
    table = b"".join(run.entry() for run in runs)
    payload = b"".join(run.payload() for run in runs)
    head = struct.pack("<4sHHQIIQIIIIQQII", b"WBAT", 2, flags, epoch, worker, part, number, parts, len(runs),
                       len(table), len(payload), 0, 0, 0, 0)
    assert len(head) == 72
    return head + struct.pack("<II", crc32c(head + table), 0) + table + payload


class Control:
    """fs.sock, by hand (base/ipc.h and fs/control/control.h)."""

    def __init__(self, path):
        import socket

        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.tag = 0

    def call(self, kind, **body):
        self.tag += 1
        text = json.dumps(body).encode()
        self.socket.sendall(struct.pack("<IIQ", len(text), kind, self.tag) + text)
        length, kind, tag = struct.unpack("<IIQ", self._read(16))
        assert tag == self.tag
        reply = json.loads(self._read(length))
        if kind != 100:
            raise RuntimeError(reply)
        return reply

    def _read(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def close(self):
        self.socket.close()


HELLO, SNAPSHOT, RELEASE, STATS, ROLL, REPORT, HEALTH = range(1, 8)


class Driver:
    """weir_fsdriver over a scratch data directory."""

    def __init__(self):
        self.scratch = tempfile.mkdtemp(prefix="weir-mount-")
        self.data = os.path.join(self.scratch, "data")
        self.mount = os.path.join(self.scratch, "mnt")
        self.process = None
        self.pid = 0
        self.epoch = 0
        self.numbers = {}
        self.fds = {}

    def start(self, *options):
        self.log = open(os.path.join(self.scratch, "log"), "ab")
        self.process = subprocess.Popen([DRIVER, self.mount, self.data, *options], stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)
        self.await_ready()

    def await_ready(self):
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log_text()
        self.pid = int(line.split()[1])
        self.epoch = 0
        self.close_commits()

    def log_text(self):
        with open(os.path.join(self.scratch, "log")) as file:
            return file.read()

    def close_commits(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}
        self.numbers = {}

    def stop(self):
        """The driver's exit code."""
        self.close_commits()
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()
        self.process = None
        return code

    def destroy(self):
        if self.process is not None:
            self.close_commits()
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.log.close()
        subprocess.run(["fusermount3", "-uzq", self.mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def kill_fs(self):
        """kill -9 the fs process; the driver mounts again."""
        os.kill(self.pid, signal.SIGKILL)
        self.await_ready()

    def control(self):
        return Control(os.path.join(self.data, "run/fs.sock"))

    def get_epoch(self):
        if not self.epoch:
            control = self.control()
            self.epoch = control.call(HELLO, epoch=0, pid=os.getpid())["epoch"]
            control.close()
        return self.epoch

    def write_raw(self, worker, data):
        """One write(2) from a page-aligned buffer."""
        import mmap

        if worker not in self.fds:
            self.fds[worker] = os.open(f"{self.mount}/.weir/commit/{worker}", os.O_WRONLY)
        with mmap.mmap(-1, max(len(data), 1)) as aligned:
            aligned[: len(data)] = data
            with memoryview(aligned) as view, view[: len(data)] as cut:
                return os.write(self.fds[worker], cut)

    def commit(self, *runs, worker=0, flags=LAST):
        epoch = self.get_epoch()
        self.numbers[worker] = self.numbers.get(worker, 0) + 1
        data = batch(epoch, worker, self.numbers[worker], runs, flags)
        assert self.write_raw(worker, data) == len(data)

    def path(self, *parts):
        return os.path.join(self.mount, *parts)

    def hour(self, name, ts=NOON, org="default"):
        return self.path(org, "logs", name, time.strftime("%Y/%m/%d/%H", time.gmtime(ts // 1_000_000)))

    def files(self, name, ts=NOON, org="default"):
        folder = self.hour(name, ts, org)
        return [os.path.join(folder, n) for n in sorted(os.listdir(folder))]

    def read(self, name, ts=NOON):
        data = b""
        for path in self.files(name, ts):
            with open(path, "rb") as file:
                data += file.read()
        return data


def slurp(path):
    with open(path, "rb") as file:
        return file.read()


def is_mounted(path):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == path for line in file)


class MountCase(unittest.TestCase):
    def setUp(self):
        self.d = Driver()
        self.addCleanup(self.d.destroy)
        self.d.start()

    def assert_errno(self, number, action):
        with self.assertRaises(OSError) as caught:
            action()
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number])


class Tree(MountCase):
    def test_a_batch_is_a_line_in_a_file_of_its_hour(self):
        self.d.commit(Run(1, "app", ['{"a":1}', '{"a":2}']))
        self.assertEqual(self.d.read("app"), b'{"a":1}\n{"a":2}\n')
        [path] = self.d.files("app")
        self.assertRegex(os.path.basename(path), r"^[0-9A-HJKMNP-TV-Z]{26}\.ndjson$")
        self.assertIn("/default/logs/app/2026/01/01/12/", path)

    def test_the_mount_says_what_it_is(self):
        with open("/proc/self/mountinfo") as file:
            [line] = [text for text in file if text.split()[4] == self.d.mount]
        self.assertIn(" fuse.weir weir ", line)
        for option in ("nosuid", "nodev", "noexec"):
            self.assertIn(option, line)
        if os.geteuid() == 0:
            self.assertIn("allow_other", line)
            self.assertIn("default_permissions", line)

    def test_directories_list_what_is_below(self):
        self.d.commit(Run(1, "app", ["{}"]), Run(2, "db", ["{}"]), Run(3, "cpu", ["{}"], type=1),
                      Run(4, "other", ["{}"], org="acme"), Run(1, "app", ["{}"], ts=NOON + 40 * 24 * HOUR_US))
        self.assertEqual(sorted(os.listdir(self.d.mount)), [".weir", "acme", "default"])
        self.assertEqual(sorted(os.listdir(self.d.path("default"))), ["logs", "metrics"])
        self.assertEqual(sorted(os.listdir(self.d.path("default/logs"))), ["app", "db"])
        self.assertEqual(sorted(os.listdir(self.d.path("default/logs/app"))), ["2026", "current.ndjson", "ingest", "schema.json"])
        self.assertEqual(sorted(os.listdir(self.d.path("default/logs/app/2026"))), ["01", "02"])
        self.assertEqual(os.listdir(self.d.path("default/logs/app/2026/02")), ["10"])
        for missing in ("nobody", "default/traces", "default/logs/none", "default/logs/app/2025",
                        "default/logs/app/2026/1", "default/logs/app/2026/01/02", ".weir/none", ".weir/commit/99"):
            self.assertFalse(os.path.exists(self.d.path(missing)), missing)

    def test_schema_json_is_the_streams_record_in_meta(self):
        self.d.commit(Run(1, "app", ["{}"]), Run(2, "unknown", ["{}"]))
        path = self.d.path("default/logs/app/schema.json")
        schema = json.loads(slurp(path))
        self.assertEqual((schema["org"], schema["type"], schema["name"], schema["number"]), ("default", "logs", "app", 1))
        self.assertEqual({f["name"]: f["type"] for f in schema["fields"]}, {"_timestamp": "Int64", "level": "Utf8"})
        self.assertEqual(os.stat(path).st_size, len(slurp(path)))
        self.assertNotIn("schema.json", os.listdir(self.d.path("default/logs/unknown")))
        self.assertFalse(os.path.exists(self.d.path("default/logs/unknown/schema.json")))

    def test_names_from_outside_are_escaped(self):
        self.d.commit(Run(1, "../etc", ["{}"]), Run(2, "..", ["{}"]), Run(3, "a%b\n", ["{}"]), Run(4, "x", ["{}"], org=".weir"))
        self.assertEqual(sorted(os.listdir(self.d.path("default/logs"))),
                         ["%2E%2E", "..%2Fetc", "a%25b%0A", "app"])
        self.assertTrue(os.path.isfile(self.d.path("%2Eweir/logs/x/current.ndjson")))

    def test_current_is_the_newest_hours_file(self):
        self.d.commit(Run(1, "app", ["old"], ts=NOON - HOUR_US), Run(1, "app", ["new"]))
        current = self.d.path("default/logs/app/current.ndjson")
        [new] = self.d.files("app")
        [old] = self.d.files("app", NOON - HOUR_US)
        self.assertEqual(os.stat(current).st_ino, os.stat(new).st_ino)
        self.assertEqual(os.stat(new).st_nlink, 2)
        self.assertEqual(os.stat(old).st_nlink, 1)
        self.assertEqual(slurp(current), b"new\n")
        self.d.commit(Run(1, "app", ["newer"], ts=NOON + HOUR_US))
        self.assertNotEqual(os.stat(current).st_ino, os.stat(new).st_ino)
        self.assertEqual(slurp(current), b"newer\n")

    def test_modes_and_owners(self):
        self.d.commit(Run(1, "app", ["{}"]))
        [path] = self.d.files("app")
        for name, mode in ((self.d.mount, 0o40700), (self.d.path("default/logs"), 0o40700), (path, 0o100400),
                           (self.d.path(".weir/commit"), 0o40700), (self.d.path(".weir/commit/0"), 0o100600),
                           (self.d.path(".weir/at"), 0o40700), (self.d.path(".weir/health.json"), 0o100400)):
            found = os.lstat(name)
            self.assertEqual(oct(found.st_mode), oct(mode), name)
            self.assertEqual(found.st_uid, os.geteuid())

    def test_sizes_blocks_and_times(self):
        before = time.time()
        self.d.commit(Run(1, "app", ["x" * 999] * 3))
        [path] = self.d.files("app")
        found = os.stat(path)
        self.assertEqual((found.st_size, found.st_blocks), (3000, 6))
        self.assertTrue(before - 1 <= found.st_mtime <= time.time() + 1)
        self.assertTrue(before - 1 <= os.stat(os.path.dirname(path)).st_mtime <= time.time() + 1)
        self.assertGreaterEqual(os.stat(self.d.path("default/logs/app")).st_mtime, before - 1)

    def test_statfs_is_that_of_the_disk(self):
        ours, disk = os.statvfs(self.d.mount), os.statvfs(self.d.data)
        self.assertEqual((ours.f_blocks, ours.f_frsize, ours.f_namemax), (disk.f_blocks, disk.f_frsize, 255))

    def test_extended_attributes(self):
        self.d.commit(Run(1, "app", ["{}", "{}"]), Run(1, "app", ["{}"], ts=NOON + 5))
        [path] = self.d.files("app")
        names = ["user.weir." + n for n in ("state", "rows", "min_ts", "max_ts", "node")]
        self.assertEqual(sorted(os.listxattr(path)), sorted(names))
        self.assertEqual([os.getxattr(path, n).decode() for n in names], ["active", "3", str(NOON), str(NOON + 5), "driver"])
        self.assert_errno(errno.ENODATA, lambda: os.getxattr(path, "security.capability"))
        self.assert_errno(errno.ENODATA, lambda: os.getxattr(path, "user.other"))
        self.assertEqual(os.listxattr(self.d.path("default")), [])

    def test_everything_else_is_refused(self):
        self.d.commit(Run(1, "app", ["{}"]))
        [path] = self.d.files("app")
        hour = os.path.dirname(path)
        # Root passes the kernel's own checks of modes and owners; others may be stopped there.
        refused = {errno.EROFS} if os.geteuid() == 0 else {errno.EROFS, errno.EACCES, errno.EPERM}
        for action in (
            lambda: os.open(path, os.O_WRONLY),
            lambda: os.open(path, os.O_RDWR | os.O_APPEND),
            lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
            lambda: os.open(hour + "/new", os.O_CREAT | os.O_WRONLY),
            lambda: os.open(self.d.path("default/logs/app/schema.json"), os.O_WRONLY),
            lambda: os.mkdir(hour + "/dir"),
            lambda: os.mkdir(self.d.path("default/traces")),
            lambda: os.utime(self.d.path("default/logs/app/ingest")),
            lambda: os.unlink(self.d.path("default/logs/app/ingest")),
            lambda: os.rmdir(hour),
            lambda: os.unlink(path),
            lambda: os.rename(path, path + "x"),
            lambda: os.symlink("/etc/passwd", hour + "/link"),
            lambda: os.link(path, hour + "/hard"),
            lambda: os.mknod(hour + "/fifo", 0o10600),
            lambda: os.chmod(path, 0o777),
            lambda: os.chown(path, 1, 1),
            lambda: os.truncate(path, 0),
            lambda: os.utime(path),
            lambda: os.setxattr(path, "user.mine", b"1"),
            lambda: os.removexattr(path, "user.weir.rows"),
        ):
            with self.assertRaises(OSError) as caught:
                action()
            self.assertIn(caught.exception.errno, refused)
        self.assertEqual(self.d.read("app"), b"{}\n")

    def test_inode_numbers_in_listings_are_those_of_stat(self):
        self.d.commit(Run(1, "app", ["{}"]), Run(2, "db", ["{}"]))
        seen = {}
        for folder, _, _ in os.walk(self.d.mount):
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.assertEqual(entry.inode(), entry.stat(follow_symlinks=False).st_ino, entry.path)
                    self.assertEqual(entry.is_dir(), os.path.isdir(entry.path))
                    if entry.name != "current.ndjson":
                        self.assertNotIn(entry.inode(), seen)
                        seen[entry.inode()] = entry.path

    def test_a_directory_is_read_on_while_streams_come(self):
        libc = ctypes.CDLL(None, use_errno=True)

        class Dirent(ctypes.Structure):
            _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_uint16),
                        ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]

        libc.opendir.restype = ctypes.c_void_p
        libc.readdir64.argtypes = libc.closedir.argtypes = libc.telldir.argtypes = [ctypes.c_void_p]
        libc.rewinddir.argtypes = [ctypes.c_void_p]
        libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
        libc.telldir.restype = ctypes.c_long
        libc.readdir64.restype = ctypes.POINTER(Dirent)
        for i in range(500):
            self.d.commit(Run(i + 1, f"stream{i:04}", ["{}"]), flags=LAST | NO_SYNC)
        folder = libc.opendir(self.d.path("default/logs").encode())

        def take(count):
            names = []
            while len(names) < count:
                entry = libc.readdir64(folder)
                if not entry:
                    break
                names.append(entry.contents.name.decode())
            return names

        first = take(100)
        place = libc.telldir(folder)
        for i in range(500, 600):
            self.d.commit(Run(i + 1, f"stream{i:04}", ["{}"]), flags=LAST | NO_SYNC)
        rest = take(10000)
        names = first + rest
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual({f"stream{i:04}" for i in range(500)} | {".", ".."}, set(names))
        libc.seekdir(folder, place)
        self.assertEqual(take(10000), rest)
        libc.rewinddir(folder)
        again = take(10000)
        self.assertEqual(set(again), {f"stream{i:04}" for i in range(600)} | {".", "..", "app"})
        libc.seekdir(folder, place)
        after = take(10000)
        self.assertEqual([n for n in after if n in set(rest)], rest)
        libc.closedir(folder)

    def test_status_files(self):
        self.d.commit(Run(1, "app", ["{}"]))
        self.assertEqual(set(os.listdir(self.d.path(".weir"))),
                         {"version", "health.json", "stats.json", "nodes.json", "config.json", "last_errors", "commit", "at"})
        for name in ("health.json", "stats.json", "nodes.json", "config.json"):
            with open(self.d.path(".weir", name)) as file:
                json.load(file)
        self.assertEqual(json.loads(slurp(self.d.path(".weir/config.json"))), {"driver": True})
        self.assertEqual(json.loads(slurp(self.d.path(".weir/stats.json")))["tree"]["files"], 1)
        self.assertEqual(json.loads(slurp(self.d.path(".weir/health.json")))["status"], "ok")
        self.assertRegex(slurp(self.d.path(".weir/version")), rb"^\d+\.\d+\.\d+\n$")
        self.assertEqual(os.stat(self.d.path(".weir/config.json")).st_size, len('{"driver":true}\n'))


class Growth(MountCase):
    def test_growth_is_seen_at_once_by_handles_that_were_open(self):
        self.d.commit(Run(1, "app", ["first"]))
        [path] = self.d.files("app")
        with open(path, "rb", buffering=0) as file:
            self.assertEqual(file.read(), b"first\n")
            for i in range(50):
                line = b"line %d" % i
                self.d.commit(Run(1, "app", [line]))
                self.assertEqual(os.fstat(file.fileno()).st_size, os.stat(path).st_size)
                self.assertEqual(file.read(), line + b"\n")

    def test_readers_see_whole_lines_and_no_zeros(self):
        stop = threading.Event()
        bad = []
        self.d.commit(Run(1, "app", ["x" * 10]))
        [path] = self.d.files("app")

        def watch(buffer_bytes):
            while not stop.is_set():
                with open(path, "rb", buffering=0) as file:
                    data = b""
                    while more := file.read(buffer_bytes):
                        data += more
                if b"\0" in data or not data.endswith(b"\n") or os.stat(path).st_size < len(data):
                    bad.append(data[-100:])

        readers = [threading.Thread(target=watch, args=(n,)) for n in (100, 4096, 131072)]
        for reader in readers:
            reader.start()
        try:
            for i in range(300):
                self.d.commit(Run(1, "app", ["y" * (i * 37 % 1500)] * 3), flags=LAST | NO_SYNC)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        self.assertEqual(bad, [])

    def check_follow(self, command, path):
        process = subprocess.Popen(command + [path], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.set_blocking(process.stdout.fileno(), False)
        seen = b""

        def shows(text):
            nonlocal seen
            seen += process.stdout.read() or b""
            return seen == text

        wait_for(lambda: shows(b"one\n"), what="the first line")
        self.d.commit(Run(1, "app", ["two"]))
        wait_for(lambda: shows(b"one\ntwo\n"), what="the second line")
        self.d.commit(Run(1, "app", ["three"]))
        wait_for(lambda: shows(b"one\ntwo\nthree\n"), what="the third line")
        return lambda text: wait_for(lambda: shows(text), what=text.decode())

    def test_tail_f_follows(self):
        self.d.commit(Run(1, "app", ["one"]))
        [path] = self.d.files("app")
        self.check_follow(["tail", "-s", "0.05", "-n", "+1", "-f"], path)

    def test_tail_F_follows_current_into_the_next_hour(self):
        self.d.commit(Run(1, "app", ["one"]))
        shows = self.check_follow(["tail", "-s", "0.05", "-n", "+1", "-F"], self.d.path("default/logs/app/current.ndjson"))
        self.d.commit(Run(1, "app", ["four"], ts=NOON + HOUR_US))
        shows(b"one\ntwo\nthree\nfour\n")

    def test_the_usual_tools(self):
        self.d.commit(*[Run(s, f"app{s}", ['{"n":%d}' % i for i in range(1000)], ts=NOON + h * HOUR_US)
                        for s in (1, 2) for h in (0, 1)])
        top = self.d.path("default/logs")

        def sh(command):
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)
            return done.stdout.strip()

        self.assertEqual(sh(f"find {top} -name '0*.ndjson' | wc -l"), "4")
        self.assertEqual(sh(f"find {top} -mindepth 5 -type d | wc -l"), "4")
        self.assertEqual(sh(f"grep -r --include='0*.ndjson' -c '\"n\":7}}' {top} | grep -c ':1$'"), "4")
        self.assertEqual(sh(f"cat {top}/*/2*/*/*/*/*.ndjson | jq -s 'map(.n) | add'"), str(4 * 499500))
        self.assertEqual(sh(f"cp -r {top} {self.d.scratch}/copy && diff -r {top} {self.d.scratch}/copy && echo same"), "same")
        self.assertEqual(sh(f"tar -C {top} -cf - . | tar -tf - | grep -c ndjson"), "6")
        self.assertEqual(sh(f"wc -l < {top}/app1/current.ndjson"), "1000")
        self.assertEqual(sh(f"tail -n 1 {top}/app1/current.ndjson"), '{"n":999}')
        self.assertEqual(sh(f"less {top}/app1/current.ndjson | wc -l"), "1000")
        size = sum(os.path.getsize(p) for s in (1, 2) for h in (0, 1) for p in self.d.files(f"app{s}", NOON + h * HOUR_US))
        files = int(sh(f"du -sb --apparent-size {top}/app1/2026 {top}/app2/2026 | awk '{{n += $1}} END {{print n}}'"))
        self.assertGreaterEqual(files, size)
        self.assertLess(files, size + 65536)
        with open(self.d.path("default/logs/app1/current.ndjson"), "rb") as file:
            self.assertEqual(file.seek(0, os.SEEK_END), os.fstat(file.fileno()).st_size)


class Snapshots(MountCase):
    def test_a_snapshot_never_changes(self):
        self.d.commit(Run(1, "app", ["one"]), Run(2, "db", ["other"]))
        control = self.d.control()
        self.addCleanup(control.close)
        control.call(HELLO, epoch=0, pid=1)
        snapshot = control.call(SNAPSHOT, streams=[1], start_us=0, end_us=0)
        [file] = snapshot["files"]
        self.assertEqual((file["stream"], file["bytes"], file["rows"], file["state"]), (1, 4, 1, "active"))
        self.assertEqual((file["hour"], file["min_ts"], file["max_ts"]), (NOON // HOUR_US, NOON, NOON))
        path = self.d.path(".weir/at", f"{file['id']}@{file['bytes']}.ndjson")
        self.assertEqual(slurp(path), b"one\n")
        self.d.epoch = 0
        self.d.close_commits()
        self.d.commit(Run(1, "app", ["two"]))
        self.assertEqual(slurp(path), b"one\n")
        self.assertEqual(os.stat(path).st_size, 4)
        control.call(RELEASE, snapshot=snapshot["snapshot"])
        for name in (f"{file['id']}@9999.ndjson", f"{file['id']}@04.ndjson", f"{file['id']}.ndjson",
                     "01ARZ3NDEKTSV4RRFFQ69G5FAV@1.ndjson"):
            self.assertFalse(os.path.exists(self.d.path(".weir/at", name)), name)

    def test_the_kernel_lets_go_of_files_of_ended_snapshots(self):
        control = self.d.control()
        self.addCleanup(control.close)
        self.d.epoch = control.call(HELLO, epoch=0, pid=1)["epoch"]

        def nodes():
            return json.loads(slurp(self.d.path(".weir/stats.json")))["fuse"]["nodes"]

        slurp(self.d.path(".weir/stats.json"))
        self.assertFalse(os.path.exists(self.d.path(".weir/at/x")))
        before = nodes()
        for i in range(50):
            self.d.commit(Run(1, "app", ["line %d" % i]))
            snapshot = control.call(SNAPSHOT, streams=[1], start_us=0, end_us=0)
            [file] = snapshot["files"]
            path = self.d.path(".weir/at", f"{file['id']}@{file['bytes']}.ndjson")
            self.assertEqual(slurp(path).count(b"\n"), i + 1)
            control.call(RELEASE, snapshot=snapshot["snapshot"])
        wait_for(lambda: nodes() <= before + 3, what="released inodes")

    def test_a_snapshot_is_cut_by_time(self):
        for h in range(5):
            self.d.commit(Run(1, "app", ["{}"], ts=NOON + h * HOUR_US))
        control = self.d.control()
        self.addCleanup(control.close)
        control.call(HELLO, epoch=0, pid=1)

        def hours(start, end):
            files = control.call(SNAPSHOT, streams=[1, 99], start_us=start, end_us=end)["files"]
            return [f["hour"] - NOON // HOUR_US for f in files]

        self.assertEqual(hours(0, 0), [0, 1, 2, 3, 4])
        self.assertEqual(hours(NOON + HOUR_US, NOON + 3 * HOUR_US), [1, 2, 3])
        self.assertEqual(hours(NOON + 1, NOON + 2 * HOUR_US - 1), [1])
        self.assertEqual(hours(NOON + 4 * HOUR_US + 1, 0), [])

    def test_bad_requests_are_answered_and_the_connection_lives(self):
        control = self.d.control()
        self.addCleanup(control.close)
        for kind, body in ((SNAPSHOT, {"streams": [1], "start_us": 0, "end_us": 0}), (HELLO, {}), (99, {}), (ROLL, {})):
            with self.assertRaises(RuntimeError):
                control.call(kind, **body)
        self.assertGreater(control.call(HELLO, epoch=0, pid=1)["epoch"], 0)
        self.assertEqual(control.call(REPORT, source="gateway", message="two\nlines"), {})
        self.assertRegex(slurp(self.d.path(".weir/last_errors")), rb"Z gateway: two lines\n$")
        control.call(HEALTH, state="fine")
        self.assertEqual(json.loads(slurp(self.d.path(".weir/health.json")))["gateway"], {"state": "fine"})

    def test_roll_begins_a_new_file(self):
        self.d.commit(Run(1, "app", ["one"]))
        control = self.d.control()
        self.addCleanup(control.close)
        self.assertEqual(control.call(ROLL, stream=1, hour=NOON // HOUR_US), {})
        self.d.commit(Run(1, "app", ["two"]))
        self.assertEqual([slurp(p) for p in self.d.files("app")], [b"one\n", b"two\n"])
        self.assertEqual(slurp(self.d.path("default/logs/app/current.ndjson")), b"two\n")


class Commits(MountCase):
    def test_bad_batches_are_refused_and_nothing_is_stored(self):
        good = batch(self.d.get_epoch(), 0, 1, [Run(1, "app", ["{}"])])
        bad = bytearray(good)
        bad[20] ^= 1
        for data in (b"x", b"", b"hello\n" * 100, bytes(bad), good[:-1], good + b"x"):
            if data:
                self.assert_errno(errno.EINVAL, lambda: self.d.write_raw(0, data))
        self.assert_errno(errno.EINVAL, lambda: self.d.write_raw(1, good))
        self.assertEqual(sorted(os.listdir(self.d.path("default/logs/app"))), ["ingest", "schema.json"])
        self.assertEqual(self.d.write_raw(0, good), len(good))
        self.assertEqual(self.d.read("app"), b"{}\n")
        self.assertIn(b"commit", slurp(self.d.path(".weir/last_errors")))

    def test_a_repeated_batch_is_applied_once(self):
        data = batch(self.d.get_epoch(), 0, 1, [Run(1, "app", ["{}"])])
        for _ in range(3):
            self.assertEqual(self.d.write_raw(0, data), len(data))
        self.assertEqual(self.d.read("app"), b"{}\n")

    def test_an_older_epoch_is_refused(self):
        old = self.d.get_epoch()
        self.d.epoch = 0
        self.assertGreater(self.d.get_epoch(), old)
        data = batch(old, 0, 1, [Run(1, "app", ["{}"])])
        self.assert_errno(errno.ESTALE, lambda: self.d.write_raw(0, data))

    def test_parts_of_a_megabyte_arrive_whole(self):
        epoch = self.d.get_epoch()
        lines = ["z" * 1000] * 1000
        parts = [batch(epoch, 0, 1, [Run(1, "big", lines)], flags=LAST if i == 2 else 0, part=i, parts=3 if i == 2 else 0)
                 for i in range(3)]
        for i, part in enumerate(parts):
            self.assertEqual(self.d.write_raw(0, part), len(part))
            if i < 2:
                self.assertEqual(os.listdir(self.d.path("default/logs")), ["app"])
        self.assertEqual(self.d.read("big"), (b"z" * 1000 + b"\n") * 3000)

    def test_a_missing_part_is_answered_with_try_again(self):
        epoch = self.d.get_epoch()
        first = batch(epoch, 0, 1, [Run(1, "app", ["one"])], flags=0, parts=0)
        last = batch(epoch, 0, 1, [Run(1, "app", ["three"])], part=2, parts=3)
        self.d.write_raw(0, first)
        self.assert_errno(errno.EAGAIN, lambda: self.d.write_raw(0, last))

    def test_workers_commit_side_by_side(self):
        self.d.get_epoch()

        def write(worker):
            for i in range(50):
                self.d.commit(Run(1 + i % 3, f"s{i % 3}", ["%d %d" % (worker, i)]), worker=worker)

        threads = [threading.Thread(target=write, args=(w,)) for w in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = [line for s in range(3) for line in self.d.read(f"s{s}").decode().split("\n")[:-1]]
        self.assertEqual(sorted(lines), sorted("%d %d" % (w, i) for w in range(8) for i in range(50)))

    def test_fsync_of_data_and_commit_files_returns(self):
        self.d.commit(Run(1, "app", ["{}"]), flags=LAST | NO_SYNC)
        [path] = self.d.files("app")
        for name in (path, self.d.path(".weir/version"), self.d.path(".weir/commit/0")):
            fd = os.open(name, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


class Restarts(MountCase):
    def walk(self):
        """path -> (inode, bytes) of all but the status files."""
        found = {}
        for folder, folders, names in os.walk(self.d.mount):
            folders[:] = [n for n in folders if n != ".weir"]
            found[folder] = (os.stat(folder).st_ino, int(os.stat(folder).st_mtime))
            for name in names:
                path = os.path.join(folder, name)
                data = b"" if name == "schema.json" else slurp(path)
                found[path] = (os.stat(path).st_ino, data)
        return found

    def fill(self):
        for i in range(20):
            self.d.commit(Run(1 + i % 4, f"s{i % 4}", ["line %d" % i] * (i + 1), ts=NOON + i % 3 * HOUR_US))

    def test_a_restart_shows_the_same_tree_with_the_same_inodes(self):
        self.fill()
        before = self.walk()
        self.assertEqual(self.d.stop(), 0)
        self.assertFalse(is_mounted(self.d.mount))
        self.assertEqual(os.listdir(self.d.mount), [])
        self.d.start()
        self.assertEqual(self.walk(), before)

    def test_a_killed_fs_process_loses_nothing(self):
        self.fill()
        before = self.walk()
        for round_number in range(5):
            self.d.kill_fs()
            self.assertEqual(self.walk(), before)
            self.d.commit(Run(9, "more%d" % round_number, ["{}"]))
            before = self.walk()

    def test_kills_under_load_lose_and_double_nothing(self):
        epoch = self.d.get_epoch()
        stop = threading.Event()
        acked = []

        def write_until_acked(worker, number, line):
            data = batch(epoch, worker, number, [Run(1 + worker % 2, f"s{worker % 2}", [line])])
            deadline = time.monotonic() + 30
            while True:
                try:
                    fd = os.open(self.d.path(f".weir/commit/{worker}"), os.O_WRONLY)
                    try:
                        if os.write(fd, data) == len(data):
                            return
                    finally:
                        os.close(fd)
                except OSError as e:
                    if e.errno in (errno.EINVAL, errno.ESTALE) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.002)

        def work(worker):
            number = 0
            while not stop.is_set():
                number += 1
                line = "%d-%d" % (worker, number)
                write_until_acked(worker, number, line)
                acked.append(line)

        writers = [threading.Thread(target=work, args=(w,)) for w in range(4)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(10):
                seen = len(acked)
                wait_for(lambda: len(acked) > seen + 50, what="progress")
                os.kill(self.d.pid, signal.SIGKILL)
                line = self.d.process.stdout.readline()
                self.assertTrue(line.startswith("ready "), self.d.log_text())
                self.d.pid = int(line.split()[1])
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        lines = [line.decode() for s in range(2) for line in self.d.read(f"s{s}").split(b"\n")[:-1]]
        self.assertEqual(sorted(lines), sorted(acked))

    def test_a_dead_node_leaves_a_mount_that_is_replaced(self):
        self.fill()
        before = self.walk()
        self.d.close_commits()
        self.d.process.kill()  # its child goes with it
        self.d.process.wait()
        self.d.process.stdout.close()
        self.d.log.close()
        self.assertTrue(is_mounted(self.d.mount))
        wait_for(lambda: not os.path.exists(f"/proc/{self.d.pid}"), what="the end of the fs process")
        self.d.start()
        self.assertEqual(self.walk(), before)
        self.assertEqual(self.d.stop(), 0)
        self.assertFalse(is_mounted(self.d.mount))

    def test_read_only_shows_all_and_changes_nothing(self):
        self.fill()
        before = self.walk()
        self.assertEqual(self.d.stop(), 0)

        def on_disk():
            found = {}
            for folder, _, names in os.walk(self.d.data):
                for name in names:
                    path = os.path.join(folder, name)
                    if name != "lock.mdb":  # LMDB's table of readers
                        found[path] = (os.stat(path).st_mtime_ns, hash(slurp(path)))
            return found

        disk = on_disk()
        self.d.start("--read-only")
        writable = [path for path in before if path.endswith("/ingest")]
        self.assertEqual(len(writable), 5)  # s0 to s3, and app
        self.assertEqual(self.walk(), {path: found for path, found in before.items() if path not in writable})
        self.assertNotIn("commit", os.listdir(self.d.path(".weir")))
        self.assertFalse(os.path.exists(self.d.path(".weir/commit/0")))
        self.assertTrue(json.loads(slurp(self.d.path(".weir/health.json")))["read_only"])
        self.assertEqual(self.d.stop(), 0)
        self.assertEqual(on_disk(), disk)

    def test_forgotten_inodes_are_given_back(self):
        if os.geteuid() != 0:
            self.skipTest("only root may drop the kernel's caches")
        for i in range(200):
            self.d.commit(Run(i + 1, f"stream{i}", ["{}"]), flags=LAST | NO_SYNC)

        def nodes():
            return json.loads(slurp(self.d.path(".weir/stats.json")))["fuse"]["nodes"]

        subprocess.run(["find", self.d.mount, "-ls"], check=True, stdout=subprocess.DEVNULL)
        self.assertGreater(nodes(), 1000)

        def dropped():
            with open("/proc/sys/vm/drop_caches", "w") as file:
                file.write("2")
            return nodes() < 50

        wait_for(dropped, what="fewer inodes")


if __name__ == "__main__":
    main()
