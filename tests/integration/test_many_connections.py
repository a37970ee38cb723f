"""Ten thousand connections that do nothing, or next to nothing, while another client works."""
# label: long
import itertools
import json
import re
import resource
import socket
import threading
import time
import unittest

from test_http import PATH, HttpCase, Wire, request
from weirlib import SANITIZED, children, main, wait_for

COUNT = 10_000


class Worker(threading.Thread):
    """A well-behaved client on one connection, and how long its requests took."""

    def __init__(self, port, requests):
        super().__init__(daemon=True)
        self.port, self.requests = port, itertools.cycle(requests)
        self.took_ms, self.failed = [], []
        self.is_over = threading.Event()
        self.start()

    def run(self):
        with Wire(self.port) as wire:
            while not self.is_over.wait(0.005):
                began = time.monotonic()
                wire.send(next(self.requests))
                status, _, body = wire.reply()
                self.took_ms.append((time.monotonic() - began) * 1000)
                if status != 200:
                    self.failed.append((status, body))

    def end(self):
        self.is_over.set()
        self.join()
        took = sorted(self.took_ms)
        return f"{len(took)} requests, median {took[len(took) // 2]:.1f} ms, 99 % {took[len(took) * 99 // 100]:.1f} ms, most {took[-1]:.1f} ms"


class ManyConnections(HttpCase):
    settings = {"WEIR_HTTP_REQUEST_TIMEOUT": "600"}

    @classmethod
    def setUpClass(cls):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < COUNT + 1000:
            raise unittest.SkipTest(f"no more than {hard} open files are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT + 1000, hard))
        super().setUpClass()

    def resident_mb(self):
        with open(f"/proc/{children(self.node)['gateway']}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) // 1024

    def beside(self, what, action, others=(request("POST", PATH, b'[{"a":1}]'),)):
        """While the action runs, another client's requests succeed."""
        worker = Worker(self.node.port, others)
        action()
        deadline = time.monotonic() + 60
        while len(worker.took_ms) < 100 and time.monotonic() < deadline and worker.is_alive():
            worker.is_over.wait(0.01)
        figures = worker.end()
        print(f"{what}: {figures}; gateway {self.resident_mb()} MB", flush=True)
        self.assertGreaterEqual(len(worker.took_ms), 100)
        self.assertEqual(worker.failed, [])

    def send_all(self, data):
        for one in self.idle:
            one.sendall(data)

    def read_all(self):
        for one in self.idle:
            self.assertTrue(one.recv(4096).startswith(b"HTTP/1.1 200 "))

    def test_they_are_held_and_disturb_nobody(self):
        self.idle = []
        self.beside("alone", lambda: None)
        self.beside("silent", lambda: self.idle.extend(socket.create_connection(("127.0.0.1", self.node.port), 60) for _ in range(COUNT)))
        self.beside("half of a request's headers", lambda: self.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n"))
        self.beside("answered and kept", lambda: (self.send_all(b"\r\n"), self.read_all()))
        self.beside("half of a body", lambda: self.send_all(request("POST", PATH, b'[{"a"', length=9)))
        self.beside("the other half", lambda: (self.send_all(b":1}]"), self.read_all()))
        self.assertEqual(self.metric("zo_http_slow_requests"), 0)
        self.beside("closed", lambda: [one.close() for one in self.idle])
        rows = self.node.hits("SELECT count(*) AS n FROM web")[0]["n"]
        self.assertGreater(rows, COUNT)
        self.assertEqual(json.loads(self.node.raw("GET", "/healthz", auth=None)[2]), {"status": "ok"})

    def test_bodies_that_stall_disturb_nobody(self):
        query = json.dumps({"query": {"sql": "SELECT count(*) AS n FROM web", "start_time": 1, "end_time": 1 << 60}}).encode()
        others = (request("POST", PATH, b'[{"a":1}]'), request("POST", "/api/default/_search", query, ["Content-Type: application/json"]),
                  request("POST", PATH, b" " * 40_000 + b'[{"a":1}]'))
        self.node.post_json("web", [{"a": 1}])
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = COUNT if hard == resource.RLIM_INFINITY else min(COUNT, hard // 8)
        few, much = b"[", b"[" + b" " * 39_999
        chunked = request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + b"ea60\r\n"
        for what, data in (("few bytes of a length", request("POST", PATH, few, length=60_000)), ("many bytes of a length", request("POST", PATH, much, length=60_000)),
                           ("few bytes of a chunk", chunked + few), ("many bytes of a chunk", chunked + much)):
            self.idle = [socket.create_connection(("127.0.0.1", self.node.port), 60) for _ in range(count)]
            self.addCleanup(lambda idle=self.idle: [one.close() for one in idle])
            self.beside(what, lambda data=data: self.send_all(data), others if data.endswith(few) else others[:2])
            for one in self.idle:
                one.close()
            for name in ("zo_http_body_memory_bytes", "zo_http_spool_bytes"):
                wait_for(lambda name=name: self.metric(name) == 0, what=f"nothing in {name}")
        self.assertEqual(self.metric("zo_http_body_memory_refused"), 0)


if __name__ == "__main__":
    if SANITIZED:
        COUNT = 1000
    main()
