"""What the end-to-end tests share: a node in a scratch folder that is gone afterwards."""
import gzip
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
sys.path.insert(0, os.path.join(ROOT, "tools"))
from first_run import EMAIL, PASSWORD, Node, children  # noqa: E402

BINARY = os.environ.get("WEIR_BINARY", os.path.join(ROOT, "build/release/weir"))
SANITIZED = bool(os.environ.get("WEIR_SANITIZE"))
SKIP = 77


def main():
    """Run the tests of the calling file; skipped as a whole where there is no /dev/fuse."""
    if not os.path.exists("/dev/fuse"):
        print("skipped: there is no /dev/fuse on this machine")
        sys.exit(SKIP)
    unittest.main()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def now_us():
    return int(time.time() * 1e6)


def wait_for(condition, seconds=30, what="the condition"):
    """Poll until condition() is true and return its value; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.005)


def stop_process(pid):
    """SIGSTOP, and every thread stands: until then one may still answer."""
    os.kill(pid, signal.SIGSTOP)

    def stands():
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] != "T":
                        return False
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            return False
        return True

    wait_for(stands, what=f"process {pid} to stand")


def kernel_resends():
    """Does a filesystem process that died leave its mount to the next?"""
    version = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])
    return version >= (6, 9)


class TestNode(Node):
    """A Node in a scratch folder, with raw access for requests that are wrong on purpose."""

    def __init__(self, **settings):
        self.scratch = tempfile.mkdtemp(prefix="weir-test-")
        super().__init__(BINARY, os.path.join(self.scratch, "weir"), free_port())
        self.port = int(self.url.rsplit(":", 1)[1])
        for name in ("WEIR_BINARY", "WEIR_SANITIZE", "WEIR_JUMP_CLOCK"):
            self.env.pop(name, None)
        self.env["ZO_INGEST_ALLOWED_UPTO"] = "5"
        self.env.update(settings)

    def destroy(self):
        """Stop, unmount and remove, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        subprocess.run(["fusermount3", "-uzq", self.mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def kill_everything(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def raw(self, method, path, body=b"", headers=None, auth=(EMAIL, PASSWORD), timeout=180):
        """(status, headers, body bytes) of one request with exactly these headers."""
        import base64

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if auth:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        try:
            is_chunked = headers.get("Transfer-Encoding") == "chunked"
            connection.request(method, path, body=body, headers=headers, encode_chunked=is_chunked)
            reply = connection.getresponse()
            return reply.status, dict((k.lower(), v) for k, v in reply.getheaders()), reply.read()
        finally:
            connection.close()

    def post_json(self, stream, body, headers=None, org="default"):
        """(status, parsed reply) of one _json request; body is bytes or something to dump."""
        if not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode()
        status, _, text = self.raw("POST", f"/api/{org}/{stream}/_json", body, headers)
        return status, json.loads(text)

    def search(self, sql, start=1_000_000, end=None, path="/api/default/_search", **query):
        """(status, parsed reply) of one _search request."""
        request = {"query": {"sql": sql, "start_time": start, "end_time": end or now_us() + 86_400_000_000, **query}}
        status, _, text = self.raw("POST", path, json.dumps(request).encode(), {"Content-Type": "application/json"})
        return status, json.loads(text)

    def hits(self, sql, **query):
        status, reply = self.search(sql, **query)
        assert status == 200, (sql, status, reply)
        return reply["hits"]

    def files(self, stream, org="default"):
        """Paths of a stream's data files on the mount, in order of name."""
        found = []
        for folder, _, names in os.walk(f"{self.mount}/{org}/logs/{stream}"):
            found += [os.path.join(folder, n) for n in names if n.endswith(".ndjson") and n != "current.ndjson"]
        return sorted(found)

    def sealed_files(self, stream, org="default", kind="logs"):
        """Paths of a stream's Parquet files on the mount, in order of name."""
        found = []
        for folder, _, names in os.walk(f"{self.mount}/{org}/{kind}/{stream}"):
            found += [os.path.join(folder, n) for n in names if n.endswith(".parquet")]
        return sorted(found)

    def flush(self):
        """Seal everything that was acknowledged."""
        status, _, text = self.raw("PUT", "/node/flush", timeout=600)
        assert status == 200, (status, text, self.log_tail())

    def lines(self, stream, org="default"):
        """Parsed lines of a stream's files."""
        parsed = []
        for path in self.files(stream, org):
            with open(path, "rb") as file:
                parsed += [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        return parsed

    def child(self, name):
        return wait_for(lambda: children(self).get(name), what=f"process {name}")

    def kill_child(self, name):
        """kill -9 one process and wait until another has taken its place and answers."""
        pid = self.child(name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: children(self).get(name) not in (None, pid), what=f"another {name}")
        self.wait_ready()


def text_of(parquet):
    """The path of the text view of a sealed log file."""
    parts = parquet.split("/")
    return "/".join(parts[:-5] + ["text"] + parts[-5:]).replace(".parquet", ".ndjson")


def read_parquet(path):
    """(facts, rows) of a Parquet file by an independent reader; None when there is none."""
    python = subprocess.run([f"{ROOT}/tools/test-python"], capture_output=True, text=True)
    if python.returncode != 0:
        return None
    reader = f"{ROOT}/tests/support/read_parquet.py"
    text = subprocess.run([python.stdout.strip(), reader, path], check=True, capture_output=True).stdout
    facts, *rows = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return facts, rows


class NodeCase(unittest.TestCase):
    """One node for all tests of a class."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.node = TestNode(**cls.settings)
        cls.addClassCleanup(cls.node.destroy)
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        code = cls.node.stop()
        assert code == 0, f"exit code {code}\n{cls.node.log_tail()}"
        with open("/proc/self/mountinfo") as mounts:
            assert f" {cls.node.mount} " not in mounts.read(), "still mounted"
        with open(cls.node.log_path, errors="replace") as file:
            log = file.read()
        assert "ERROR: AddressSanitizer" not in log and "runtime error:" not in log, log[-8000:]


__all__ = [
    "BINARY", "EMAIL", "NodeCase", "PASSWORD", "ROOT", "SANITIZED", "SHARED", "SKIP", "TestNode",
    "children", "free_port", "gzip", "kernel_resends", "main", "now_us", "read_parquet", "text_of", "wait_for",
]
