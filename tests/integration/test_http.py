"""HTTP itself: framing, limits, refusals, and that one client does not disturb another."""
import base64
import contextlib
import gzip
import json
import os
import re
import select
import signal
import socket
import threading
import time
import zlib

from weirlib import EMAIL, PASSWORD, SANITIZED, NodeCase, TestNode, main, now_us, stop_process, wait_for

AUTH = "Basic " + base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
PATH = "/api/default/web/_json"


class Wire:
    """A connection whose bytes the test chooses, and a parser of the replies."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def fileno(self):
        return self.socket.fileno()

    def send(self, data):
        self.socket.sendall(data)

    def more(self, most=1 << 16):
        data = self.socket.recv(most)
        self.buffer += data
        return data

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise ConnectionError(f"closed after {self.buffer[:200]!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def exactly(self, n):
        while len(self.buffer) < n:
            if not self.more():
                raise ConnectionError("closed in the middle of a body")
        head, self.buffer = self.buffer[:n], self.buffer[n:]
        return head

    def chunks(self):
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.exactly(size)
            self.exactly(2)
        self.until(b"\r\n")
        return body

    def reply(self, head=False):
        """(status, headers, body) of the next reply."""
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        status = int(lines[0].split()[1])
        if head or status == 100:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self.chunks()
        return status, headers, self.exactly(int(headers["content-length"]))

    def is_closed(self):
        return self.buffer == b"" and self.more() == b""


def request(method, path, body=b"", headers=(), auth=AUTH, length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: weir"]
    if auth:
        lines.append(f"Authorization: {auth}")
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class HttpCase(NodeCase):
    def wire(self, **options):
        return Wire(self.node.port, **options)

    def metric(self, name):
        text = self.node.raw("GET", "/metrics", auth=None)[2].decode()
        return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def half_closed(self, data, status, count=24):
        """So many clients at once send this and close their side; each gets its answer, and is closed."""
        wires = [self.wire() for _ in range(count)]
        for wire in wires:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
        for wire in wires:
            reply = wire.reply()
            while reply[0] == 100:
                reply = wire.reply()
            self.assertEqual(reply[0], status, reply[2])
            self.assertTrue(wire.is_closed())
            wire.socket.close()

    def assert_stored(self, reply, count=1):
        status, _, body = reply
        self.assertEqual(status, 200, body)
        self.assertEqual(json.loads(body)["status"][0]["successful"], count, body)


class Framing(HttpCase):
    def test_one_connection_serves_many_requests(self):
        with self.wire() as wire:
            for i in range(200):
                wire.send(request("POST", PATH, b'[{"i":%d}]' % i))
                self.assert_stored(wire.reply())

    def test_pipelined_requests_are_answered_in_order(self):
        with self.wire() as wire:
            wire.send(b"".join(request("POST", f"/api/default/pipe{i}/_json", b'[{"i":1}]') for i in range(30)))
            names = [json.loads(wire.reply()[2])["status"][0]["name"] for _ in range(30)]
        self.assertEqual(names, [f"pipe{i}" for i in range(30)])

    def test_a_chunked_body_with_trailers_is_a_body(self):
        head = request("POST", PATH, headers=["Transfer-Encoding: chunked", "Trailer: X-End"])
        with self.wire() as wire:
            for _ in range(2):
                wire.send(head + b'3\r\n[{"\r\n1;extension=x\r\na\r\n5\r\n":1}]\r\n0\r\nX-End: yes\r\n\r\n')
                self.assert_stored(wire.reply())

    def test_continue_is_sent_when_the_body_is_wanted(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, headers=["Expect: 100-continue"], length=9))
            self.assertEqual(wire.reply()[0], 100)
            wire.send(b'[{"a":1}]')
            self.assert_stored(wire.reply())

    def test_a_half_closed_client_gets_its_answers(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, b'[{"a":1}]') * 3)
            wire.socket.shutdown(socket.SHUT_WR)
            for _ in range(3):
                self.assert_stored(wire.reply())
            self.assertTrue(wire.is_closed())

    def test_half_closed_clients_beside_each_other_get_their_answers(self):
        chunks = b'3\r\n[{"\r\n6\r\na":1}]\r\n0\r\n'
        chunked = request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + chunks
        wrong = "Basic " + base64.b64encode(f"{EMAIL}:wrong".encode()).decode()
        query = json.dumps({"query": {"sql": "SELECT 1 AS one", "start_time": 1, "end_time": now_us()}}).encode()
        for data, status in (
            (request("GET", "/healthz"), 200), (request("GET", "/api/default/streams"), 200), (request("GET", "/api/default/nosuch"), 404),
            (request("POST", PATH, b'[{"a":1}]'), 200), (chunked + b"\r\n", 200), (chunked + b"X: y\r\n\r\n", 200),
            (request("POST", PATH, b" " * 60_000 + b'[{"a":1}]'), 200), (request("POST", PATH, b'[{"a":1}]', auth=None), 401),
            (request("POST", PATH, b'[{"a":1}]', auth=wrong), 401), (request("GET", "/api/default/streams", auth=wrong), 401),
            (request("POST", "/api/default/_search", query, ["Content-Type: application/json"]), 200),
        ):
            with self.subTest(data[:60]):
                self.half_closed(data, status)
        for data in (request("POST", PATH, b'[{"a":1}]'), chunked + b"\r\n"):
            self.node.kill_child("gateway")  # which forgets the credentials that it has seen
            self.half_closed(data, 200)

    def test_a_half_closed_client_whose_request_is_not_whole_is_closed(self):
        whole = request("POST", "/api/default/half_closed/_json", b'[{"a":1}]')
        chunked = request("POST", "/api/default/half_closed/_json", headers=["Transfer-Encoding: chunked"]) + b'9\r\n[{"a":1}]\r\n0\r\n\r\n'
        wires = []
        for data in (b"GET /hea", b"GET /healthz HTTP/1.1\r\n", whole[:60], *(whole[:-n] for n in (1, 5, 9)), *(chunked[:-n] for n in (1, 2, 4, 5, 7, 12, 17, 19))):
            wires.append((data, self.wire()))
            wires[-1][1].send(data)
            wires[-1][1].socket.shutdown(socket.SHUT_WR)
        for data, wire in wires:
            self.assertEqual(wire.more(), b"", data)  # and no 408
            wire.socket.close()
        self.assertEqual(self.node.search("SELECT * FROM half_closed")[0], 400, "nothing was stored")

    def test_a_half_closed_client_gets_the_answer_to_its_query(self):
        self.node.post_json("half", [{"i": i} for i in range(2000)])
        for sql, hits in (("SELECT count(*) AS n FROM half", 1), ("SELECT count(*) AS n FROM half a, half b, half c WHERE a.i * b.i + c.i = 7 AND c.i < 20", 1), ("SELECT * FROM half", 2000)):
            body = json.dumps({"query": {"sql": sql, "start_time": 1_000_000, "end_time": now_us() + 1_000_000, "size": 10_000}}).encode()
            with self.wire() as wire:
                wire.send(request("POST", "/api/default/_search", body, ["Content-Type: application/json"]))
                wire.socket.shutdown(socket.SHUT_WR)
                reply = wire.reply()
                while reply[0] == 100:
                    reply = wire.reply()
                self.assertEqual((reply[0], len(json.loads(reply[2])["hits"])), (200, hits))

    def test_a_body_cut_off_by_the_client_stores_nothing(self):
        with self.wire() as wire:
            wire.send(request("POST", "/api/default/cut/_json", b'[{"a":1}]', length=1000))
        with self.wire() as wire:
            wire.send(request("POST", PATH, b'[{"a":1}]'))
            self.assert_stored(wire.reply())
        self.assertEqual(self.node.search("SELECT * FROM cut")[0], 400)

    def test_every_coding_of_a_body_is_understood(self):
        raw = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = b'[{"a":1},{"a":2}]'
        for coding, packed in (
            ("identity", body), ("gzip", gzip.compress(body)), ("GZIP", gzip.compress(body[:8]) + gzip.compress(body[8:])),
            ("deflate", zlib.compress(body)), ("deflate", raw.compress(body) + raw.flush()),
        ):
            with self.wire() as wire:
                wire.send(request("POST", PATH, packed, [f"Content-Encoding: {coding}"]))
                self.assert_stored(wire.reply(), 2)

    def test_a_length_that_cannot_be_trusted_ends_the_connection(self):
        body = b'[{"a":1}]'
        chunked = b"9\r\n" + body + b"\r\n0\r\n\r\n"
        for headers, data, status in (
            (["Content-Length: -1"], body, 400), (["Content-Length: +9"], body, 400), (["Content-Length: 0x9"], body, 400),
            (["Content-Length: nine"], body, 400), (["Content-Length: "], body, 400), (["Content-Length: 9, 9"], body, 400),
            (["Content-Length: 99999999999999999999999"], body, 413), (["Content-Length: 18446744073709551615"], body, 413),
            (["Content-Length: 9", "Content-Length: 5"], body, 400), (["Content-Length : 9"], body, 400),
            (["Content-Length: 9", "Transfer-Encoding: chunked"], chunked, 400), (["Transfer-Encoding: gzip"], body, 501),
            (["Transfer-Encoding: "], body, 501), (["Transfer-Encoding: ", "Content-Length: 9"], body, 501),
            (["Content-Length:\r\n 9"], body, 400), (["Content-Length: 9\r\n 9"], body, 400), (["Transfer-Encoding:\r\n chunked"], chunked, 400),
            (["Content-Length: 9", "Content-Encoding: identity", "Content-Encoding: gzip"], body, 400),
            (["Transfer-Encoding: gzip, chunked"], chunked, 501), (["Transfer-Encoding: xchunked"], chunked, 501),
            (["Transfer-Encoding: chunked"], b"zz\r\n" + body, 400), (["Transfer-Encoding: chunked"], b"-9\r\n" + body, 400),
            (["Transfer-Encoding: chunked"], b"9\r\n" + body + b"XX0\r\n\r\n", 400), (["Transfer-Encoding: chunked"], b"f" * 17 + b"\r\n" + body, 413),
            (["Transfer-Encoding: chunked"], b"9\r\n" + body + b"\r\n0\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", 431),
            (["Content-Length: 9\0 9"], body, 400), (["Content-Length: 9\0"], body, 400), (["Content-Length: 9", "Content-Length: 9\0 5"], body, 400),
            (["Transfer-Encoding: chunked\0, gzip"], chunked, 400), (["Content-Encoding: identity\0gzip", "Content-Length: 9"], body, 400),
            (["X: a\0", "Content-Length: 9"], body, 400), (["X: a\r\n b", "Content-Length: 9"], body, 400), ([": x", "Content-Length: 9"], body, 400),
            (["Content-Length: 9", ": x"], body, 400), (["Content-Length: 9", ":"], body, 400), (["Content-Length: 9", "\0X: x"], body, 400),
            (["Content-Length: 0", ": x", "GET /healthz HTTP/1.1"], b"", 400),
            (["X: a\rContent-Length: 9"], b"", 400), (["X: a\rTransfer-Encoding: chunked", "Content-Length: 9"], body, 400),
            (["X: a\nContent-Length: 9"], body, 400), (["Content-Length: 9\n"], body, 400),
        ):
            with self.wire() as wire:
                wire.send(request("POST", "/api/default/framed/_json", headers=headers) + data)
                self.assertEqual(int(wire.until(b"\r\n").split()[1]), status, headers)
                while wire.more():
                    pass
                self.assertNotIn(b"HTTP/1.1 200", wire.buffer, headers)
        self.assertEqual(self.node.search("SELECT * FROM framed")[0], 400, "nothing was stored")

    def test_lines_that_end_with_lf_alone_are_taken(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, headers=["X:", "Y: \t y", "Content-Length: 9"]).replace(b"\r\n", b"\n") + b'[{"a":1}]')
            self.assert_stored(wire.reply())
            wire.send(b"GET /healthz HTTP/1.1\n\n")
            self.assertEqual(wire.reply()[0], 200)

    def test_a_refusal_of_the_head_is_read_by_who_still_sends_the_body(self):
        many = "&".join(f"a{i}" for i in range(2000))
        for path, headers, status in ((PATH, ["Content-Length: 5000000", "Content-Length: 9"], 400), (PATH, ["X: a\r\n b", "Content-Length: 5000000"], 400),
                                      (PATH, ["X: " + "x" * 100_000, "Content-Length: 5000000"], 431), (f"{PATH}?{many}", ["Content-Length: 5000000"], 414)):
            for pause in (0, 0.3):
                with self.wire() as wire:
                    wire.send(request("POST", path, headers=headers))
                    time.sleep(pause)
                    wire.send(b" " * 5_000_000)
                    self.assertEqual(wire.reply()[0], status, headers[0][:40])
                    self.assertTrue(wire.is_closed())

    def test_a_first_line_with_a_nul_or_cr_is_400(self):
        for line in (b"GET\0 /healthz", b"GET\0x /healthz", b"GET /healthz\0", b"GET /healthz\0?a=1", b"GET /healthz?a=\0",
                     b"GE\rT /healthz", b"\r\rGET /healthz", b"GET /healthz?x HTTP/1.1\rTransfer-Encoding:chunked"):
            with self.wire() as wire:
                wire.send(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                status, _, body = wire.reply()
                self.assertEqual((status, (b"CR" if b"\r" in line else b"NUL") in body), (400, True), line)
                self.assertTrue(wire.is_closed())

    def test_a_bad_head_with_much_behind_it_has_one_answer(self):
        with self.wire() as wire:
            wire.send(b"POST " + PATH.encode() + b" HTTP/1.1\r\nno colon\r\n\r\n" + b" " * 65_536)
            while wire.more():
                pass
            self.assertEqual(re.findall(rb"HTTP/1.1 (\d+)", wire.buffer), [b"400"])

    def test_a_request_behind_a_bad_head_with_a_long_url_is_none(self):
        with self.wire() as wire:
            wire.send(request("GET", "/" + "a" * 17_000, headers=["Content-Length: 0", ": x", "GET /healthz HTTP/1.1"]))
            self.assertEqual(wire.reply()[0], 400)
            self.assertTrue(wire.is_closed())

    def test_bytes_after_the_body_are_the_next_request(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, b'[{"a":1}]', length=9) + request("GET", "/healthz"))
            self.assert_stored(wire.reply())
            self.assertEqual(wire.reply()[0], 200)
            wire.send(request("POST", PATH, b'[{"a":1}]', length=5))
            self.assertEqual(wire.reply()[0], 400)
            wire.send(b"\r\n\r\n")
            self.assertEqual(wire.more(), b"", "the rest is no request")

    def test_a_slow_body_disturbs_nobody(self):
        slow = self.wire()
        body = b'[{"slow":1}]'
        slow.send(request("POST", PATH, length=len(body)))
        for i in range(len(body)):
            slow.send(body[i:i + 1])
            with self.wire() as wire:
                wire.send(request("POST", PATH, b'[{"a":1}]'))
                self.assert_stored(wire.reply())
        self.assert_stored(slow.reply())
        slow.socket.close()

    def test_hundreds_of_idle_connections_disturb_nobody(self):
        idle = [self.wire() for _ in range(500)]
        with self.wire() as wire:
            wire.send(request("POST", PATH, b'[{"a":1}]'))
            self.assert_stored(wire.reply())
        for wire in idle:
            wire.socket.close()


class SlowClients(HttpCase):
    """Who sends too slowly is answered 408; few workers, so that one that waited would be noticed."""

    settings = {"WEIR_HTTP_REQUEST_TIMEOUT": "1s", "WEIR_HTTP_BODY_RATE_MIN": "100", "ZO_HTTP_WORKER_NUM": "4", "WEIR_HTTP_IDLE_TIMEOUT": "5"}

    def trickle(self, wires, data):
        """Sends each a byte every now and then until all are answered or closed; the statuses."""
        statuses, waiting = [], list(wires)
        for byte in (data[i:i + 1] for i in range(len(data))):
            for wire in waiting:
                try:
                    wire.send(byte)
                except OSError:
                    pass
            for wire in select.select(waiting, [], [], 0.05)[0]:
                waiting.remove(wire)
                wire.more()
                statuses.append(int(wire.buffer.split()[1]))
            if not waiting:
                return statuses
        self.fail(f"{len(statuses)} of {len(wires)} were answered")

    def others(self):
        with self.wire() as wire:
            for i in range(20):
                wire.send(request("POST", PATH, b'[{"a":1}]'))
                self.assert_stored(wire.reply())

    def slow(self, begin, count=30):
        wires = [self.wire() for _ in range(count)]
        for wire in wires:
            wire.send(begin)
        before = self.metric("zo_http_slow_requests")
        self.others()
        statuses = self.trickle(wires, b" " * 2000)
        self.others()
        self.assertEqual(statuses, [408] * count)
        self.assertEqual(self.metric("zo_http_slow_requests") - before, count)
        for wire in wires:
            wire.socket.close()

    def test_a_body_that_trickles_is_408_and_stores_nothing(self):
        self.slow(request("POST", "/api/default/slow/_json", b'[{"a":1}]', length=3000))
        self.slow(request("POST", "/api/default/slow/_json", b"bb8\r\n" + b'[{"a":1}]', ["Transfer-Encoding: chunked"]).replace(b"Content-Length: 14\r\n", b""))
        self.assertEqual(self.node.search("SELECT * FROM slow")[0], 400)
        wait_for(lambda: self.metric("zo_http_body_memory_bytes") == 0, what="no memory held")

    def test_the_body_of_a_refused_request_that_trickles_is_408(self):
        self.slow(request("POST", PATH, b"[", auth=None, length=3000))

    def test_headers_that_trickle_are_408(self):
        self.slow(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")

    def test_a_request_line_that_trickles_is_408(self):
        self.slow(b"GET /healthz?", 5)

    def test_a_body_at_the_rate_that_is_asked_for_has_its_time(self):
        began = time.monotonic()
        with self.wire() as wire:
            wire.send(request("POST", PATH, length=1009))
            for _ in range(10):
                wire.send(b" " * 100)
                self.assertEqual(select.select([wire], [], [], 0.15)[0], [])
            wire.send(b'[{"a":1}]')
            self.assert_stored(wire.reply())
        self.assertGreater(time.monotonic() - began, 1.25)

    def test_a_kept_connection_has_the_idle_time_again_after_each_request(self):
        with self.wire() as wire:
            for _ in range(4):
                wire.send(request("GET", "/healthz"))
                self.assertEqual(wire.reply()[0], 200)
                self.assertEqual(select.select([wire], [], [], 2)[0], [], "it is still open")
            self.assertTrue(wire.is_closed(), "and then it is closed without a word")


class SlowLines(SlowClients):
    """The time of a first line begins with its first byte, not when the connection would be idle for too long."""

    settings = {**SlowClients.settings, "WEIR_HTTP_IDLE_TIMEOUT": "600"}

    def test_blank_lines_that_trickle_are_408(self):
        wires = [self.wire() for _ in range(3)]
        with self.wire() as kept:
            kept.send(request("GET", "/healthz"))
            self.assertEqual(kept.reply()[0], 200)
            self.assertEqual(self.trickle([*wires, kept], b"\r\n" * 1000), [408] * 4)

    def test_half_a_line_and_then_silence_is_408(self):
        with self.wire() as new, self.wire() as kept:
            kept.send(request("GET", "/healthz"))
            self.assertEqual(kept.reply()[0], 200)
            for wire in (new, kept):
                wire.send(b"GET /heal")
                self.assertEqual(wire.reply()[0], 408)

    def test_half_a_line_in_one_packet_with_the_request_before_is_408(self):
        post = request("POST", PATH, b'[{"a":1}]')
        with self.wire() as wire:  # of a chunked body nobody knows how long it was; what comes later is known
            chunked = request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + b'9\r\n[{"a":1}]\r\n0\r\n\r\n'
            wire.send(chunked + request("GET", "/healthz") * 20)
            for _ in range(21):
                self.assertEqual(wire.reply()[0], 200)
            time.sleep(0.5)  # what came before the last reply was out would count as silence
            wire.send(b"GET /heal")
            self.assertEqual(wire.reply()[0], 408)
        for before, count in ((request("GET", "/healthz"), 1), (request("GET", "/healthz"), 9), (post, 1), (request("GET", "/healthz/none"), 1)):
            with self.wire() as wire:
                wire.send(before * count + b"G")
                for _ in range(count):
                    self.assertIn(wire.reply()[0], (200, 404))
                self.assertEqual(wire.reply()[0], 408)

    def test_who_is_silent_is_left_alone(self):
        with self.wire() as new, self.wire() as kept, self.wire() as posted, self.wire() as chunked, contextlib.ExitStack() as stack:
            blank = [stack.enter_context(self.wire()) for _ in range(3)]
            kept.send(request("GET", "/healthz"))
            self.assertEqual(kept.reply()[0], 200)
            posted.send(request("POST", PATH, b'[{"a":1}]'))
            self.assertEqual(posted.reply()[0], 200)
            chunked.send(request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + b'9\r\n[{"a":1}]\r\n0\r\n\r\n')
            self.assertEqual(chunked.reply()[0], 200)
            for i, data in enumerate((b"\r\n\r\n" + request("GET", "/healthz"), b"\n" + request("GET", "/healthz"),
                                      request("POST", PATH, b'[{"a":1}]') + b"\r\n")):
                for part in (request("GET", "/healthz"), data, data):
                    blank[i].send(part)
                    self.assertEqual(blank[i].reply()[0], 200)
            wires = [new, kept, posted, chunked, *blank]
            self.assertEqual(select.select(wires, [], [], 4)[0], [])
            for wire in wires:
                wire.send(request("GET", "/healthz"))
                self.assertEqual(wire.reply()[0], 200)

    test_a_kept_connection_has_the_idle_time_again_after_each_request = None


class Refusals(HttpCase):
    settings = {"ZO_PAYLOAD_LIMIT": "3000000"}

    def refused(self, data, status, closes=False, message=None):
        with self.wire() as wire:
            wire.send(data)
            got, headers, body = wire.reply()
            self.assertEqual(got, status, body)
            if headers.get("content-type") == "application/json":
                self.assertIn(json.loads(body)["code"], (status, 20001))
            if message:
                self.assertIn(message, body.decode())
            if closes:
                self.assertTrue(wire.is_closed())
            else:
                wire.send(request("GET", "/healthz"))
                self.assertEqual(wire.reply()[0], 200, "the connection goes on")
            return headers

    def test_a_head_that_just_fills_the_memory_has_an_answer_too(self):
        """Some hundred bytes less than libmicrohttpd has in all: it has none left to say so."""
        line = b"GET /healthz HTTP/1.1\r\n"
        for status, make in (
            (414, lambda n: b"GET /healthz?" + b"a" * n + b" HTTP/1.1\r\n\r\n"),
            (414, lambda n: b"GET /healthz?" + b"&".join([b"k=" + b"a" * (n // 10 - 3)] * 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
            (431, lambda n: b"G" * n + b" /healthz HTTP/1.1\r\n\r\n"),
            (431, lambda n: line + b"X: " + b"a" * n + b"\r\n\r\n"), (431, lambda n: line + b"X: " + b" " * n + b"\r\n\r\n"),
            (431, lambda n: line + b"Cookie: a=" + b"a" * n + b"\r\n\r\n"), (431, lambda n: line + b"X: a\r\n " + b"b" * n + b"\r\n\r\n"),
            (431, lambda n: line + b"X: a\0" + b"b" * n + b"\r\n\r\n"),
        ):
            for n in (*range(36_000, 37_200, 50), 40_000, 100_000):
                with self.wire() as wire:
                    wire.send(make(n))
                    self.assertIn(int(wire.until(b"\r\n").split()[1]), (status, 414), (make(9), n))
                    while wire.more():
                        pass
                    self.assertNotIn(b"\r\n{\"code\"", wire.buffer.split(b"\r\n\r\n", 1)[1], "one answer")

    def test_a_folded_header_that_just_fills_the_memory_has_one_answer(self):
        """libmicrohttpd copies what is folded, at about half of its memory."""
        for n in range(17_900, 18_500, 15):
            with self.wire() as wire:
                wire.send(b"GET /healthz HTTP/1.1\r\nX: a\r\n " + b"b" * n + b"\r\n\r\n")
                while wire.more():
                    pass
                self.assertIn(re.findall(rb"HTTP/1.1 (\d+)", wire.buffer), ([b"400"], [b"431"]), n)

    def test_headers_arguments_and_cookies_leave_room_for_the_reply(self):
        for stream, arguments, cookies in (("args1", 1, 0), ("args100", 100, 0), ("args200", 200, 0), ("args250", 250, 0),
                                           ("cookies1", 1, 1), ("cookies100", 1, 100), ("cookies200", 1, 200), ("both", 100, 100)):
            answered = {200: 0, 431: 0}
            path = f"/api/default/{stream}/_json?" + "&".join(["a"] * arguments)
            for pad in range(3000, 33_000, 250):
                with self.wire() as wire:
                    wire.send(request("POST", path, b'[{"a":1}]', ["X: " + "a" * pad, *(["Cookie: " + "a=b; " * cookies] if cookies else [])]))
                    answered[int(wire.until(b"\r\n").split()[1])] += 1
            self.assertGreater(min(answered.values()), 0, answered)
            self.assertEqual(self.node.hits(f"SELECT count(*) AS n FROM {stream}")[0]["n"], answered[200])

    def count_of(self, status):
        text = self.node.raw("GET", "/metrics", auth=None)[2].decode()
        return sum(float(v) for v in re.findall(rf'^zo_http_incoming_requests{{endpoint="[^"]*",status="{status}".*}} (\S+)$', text, re.M))

    def test_what_is_refused_past_libmicrohttpd_is_counted_with_its_status(self):
        for status, data in ((414, request("GET", "/healthz?" + "a&" * 300)), (431, request("GET", "/healthz", headers=["X: " + "a" * 31_500]))):
            before, late = self.count_of(status), self.count_of(408)
            with self.wire() as wire:
                wire.send(data)
                self.assertEqual(wire.reply()[0], status)
            wait_for(lambda: self.count_of(status) == before + 1, what=f"a {status} counted")
            self.assertEqual(self.count_of(408), late)

    def test_without_credentials_there_is_401(self):
        wrong = "Basic " + base64.b64encode(b"root@example.com:wrong").decode()
        for auth in (None, wrong, "Basic", "Basic !", "Bearer x"):
            headers = self.refused(request("POST", PATH, b"[]", auth=auth), 401, message="Unauthorized Access")
            self.assertEqual(headers["www-authenticate"], 'basic realm="weir"')
        self.refused(request("GET", "/api/default/nosuch", auth=None), 401)
        self.refused(request("GET", "/node/status", auth=None), 401)

    def test_a_large_body_without_credentials_is_not_read(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, auth=None, length=2_500_000))
            self.assertEqual(wire.reply()[0], 401)

    def test_every_route_that_reads_answers_and_the_gateway_lives(self):
        gateway = self.node.child("gateway")
        for path in ("/healthz", "/schedulez", "/metrics", "/config", "/node/status", "/api/organizations", "/api/default/streams"):
            status, _, text = self.node.raw("GET", path)
            self.assertEqual(status, 200, path)
            if path != "/metrics":
                json.loads(text)
        self.assertEqual(json.loads(self.node.raw("GET", "/node/status")[2])["fs"]["journal"]["bytes_max"] > 0, True)
        self.assertEqual(self.node.child("gateway"), gateway)

    def test_unknown_paths_and_methods_say_so(self):
        self.refused(request("GET", "/nosuch"), 404, message="Not found")
        self.refused(request("POST", "/api/default/a/b/_json", b"[]"), 404)
        self.refused(request("GET", "/"), 404, message="UI")
        self.assertEqual(self.refused(request("POST", "/healthz"), 405)["allow"], "get,head")
        self.assertEqual(self.refused(request("GET", PATH), 405)["allow"], "post")
        self.refused(request("POST", "/api/default/%zz/_json", b"[]"), 400)
        self.refused(request("POST", "/api/default/x%00/_json", b"[]"), 400)
        self.refused(request("POST", "/api/default//_json", b"[]"), 400)
        self.refused(request("POST", "/node/flush"), 405)
        self.refused(request("POST", "/api/nosuch/_search", b"{}", ["Content-Type: application/json"]), 404,
                     message="Organization not found")

    def test_an_unknown_path_of_an_organisation_that_exists_is_not_blamed_on_it(self):
        self.node.post_json("s", [{"a": 1}], org="acme")
        for org in ("default", "acme"):
            for rest in ("/nonsense", "/nonsense/of/three", ""):
                self.refused(request("GET", f"/api/{org}{rest}"), 404, message="does not know the path")
        for path in ("/api/", "/api/nosuch", "/api/nosuch/nonsense"):
            self.refused(request("GET", path), 404, message="Organization not found")

    def test_search_wants_json(self):
        for headers in ((), ["Content-Type: text/plain"], ["Content-Type: application/x-www-form-urlencoded"]):
            self.refused(request("POST", "/api/default/_search", b"{}", headers), 415)
        self.refused(request("POST", "/api/default/_search", b"{}", ["Content-Type: application/JSON; charset=utf-8"]), 422)

    def test_an_unknown_coding_is_415(self):
        for coding in ("compress", "lzma", "gzip, gzip"):
            self.refused(request("POST", PATH, b"[]", [f"Content-Encoding: {coding}"]), 415, message="gzip")
        self.refused(request("POST", PATH, b'[{"a":1}]', ["Content-Encoding: gzip"]), 400)

    def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(self):
        self.refused(request("POST", PATH, length=3_000_001), 413, closes=True)
        self.refused(request("POST", PATH, headers=["Expect: 100-continue"], length=3_000_001), 413, closes=True)

    def test_a_client_that_sends_all_of_it_still_reads_the_answer(self):
        for size in (3_000_001, 40_000_000):
            with self.wire() as wire:
                wire.send(request("POST", PATH, b" " * size))
                self.assertEqual(wire.reply()[0], 413)

    def test_a_chunked_body_over_the_limit_is_413(self):
        head = request("POST", PATH, headers=["Transfer-Encoding: chunked"])
        chunk = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
        self.refused(head + chunk * 31 + b"0\r\n\r\n", 413)

    def test_a_bomb_is_413(self):
        bomb = gzip.compress(b"[" + b" " * 200_000_000 + b"]", 1)
        self.refused(request("POST", PATH, bomb, ["Content-Encoding: gzip"]), 413)

    def test_long_urls_and_headers_are_refused(self):
        self.refused(request("GET", "/healthz?" + "a" * 20_000), 414, message="WEIR_HTTP_HEADER_MAX")
        for n in (256, 257, 600, 8000):
            self.refused(request("GET", "/healthz?" + "a&" * n), 414, closes=True, message="too many arguments (WEIR_HTTP_HEADER_MAX / 128)")
        self.assertEqual(self.node.raw("GET", "/healthz?" + "a&" * 255, auth=None)[0], 200)
        for data, status in (
            (request("GET", "/healthz", headers=["X-Long: " + "a" * 1_000_000]), 431), (request("GET", "/healthz", headers=["X: y"] * 100_000), 431),
            (request("GET", "/" + "a" * 1_000_000), 414), (b"G" * 1_000_000, 414),
        ):
            with self.wire() as wire:
                wire.send(data)
                self.assertEqual(int(wire.until(b"\r\n").split()[1]), status)
                while wire.more():
                    pass
        self.assertEqual(self.node.raw("GET", "/healthz", auth=None, headers={"X-Long": "a" * 30_000})[0], 200)

    def test_headers_that_leave_no_room_for_a_reply_are_refused_before_anything_is_done(self):
        stored = 0
        for k in range(30_600, 33_000, 40):
            with self.wire() as wire:
                wire.send(request("POST", "/api/default/roomy/_json", b'[{"a":1}]', ["X: " + "a" * k]))
                status = int(wire.until(b"\r\n").split()[1])
                self.assertIn(status, (200, 431), k)
                stored += status == 200
        self.assertGreater(stored, 0)
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM roomy"), [{"n": stored}])

    def test_a_login_is_small(self):
        self.refused(request("POST", "/auth/login", b" " * 70_000, ["Content-Type: application/json"], auth=None), 413)
        bomb = gzip.compress(b'{"name":"' + b"x" * 10_000_000)
        self.refused(request("POST", "/auth/login", bomb, ["Content-Type: application/json", "Content-Encoding: gzip"], auth=None), 413)

    def test_head_is_get_without_a_body(self):
        self.node.post_json("headed", [{"a": 1}])
        for path in ("/healthz", "/schedulez", "/config", "/node/status", "/node/list", "/api/organizations", "/api/clusters", "/api/default/summary",
                     "/api/default/settings", "/api/default/streams", "/api/default/streams/headed/schema", "/", "/nosuch", "/api/nosuch/streams"):
            with self.wire() as wire:
                wire.send(request("HEAD", path) + request("GET", path))
                head, get = wire.reply(head=True), wire.reply()
                self.assertEqual(head[0], get[0], path)
                for name in ("content-type", "content-length"):
                    self.assertEqual(head[1].get(name), get[1].get(name), path)
                self.assertEqual(int(get[1]["content-length"]), len(get[2]))
        for path, least in (("/metrics", 1000), ("/api/default/headed/_values?fields=a&start_time=1&end_time=9999999999999999", 100)):
            with self.wire() as wire:  # the length varies with what the node measures
                wire.send(request("HEAD", path) + request("GET", "/healthz"))
                status, headers, _ = wire.reply(head=True)
                self.assertGreater(int(headers["content-length"]), least)
                self.assertEqual((status, json.loads(wire.reply()[2])), (200, {"status": "ok"}))
        with self.wire() as wire:
            wire.send(request("HEAD", PATH) + request("HEAD", PATH, auth=None))
            self.assertEqual([wire.reply(head=True)[0] for _ in range(2)], [405, 401])


class Browsers(HttpCase):
    ASKS = ["Origin: http://x.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"]

    def ask(self, method, path, headers=(), auth=None):
        with self.wire() as wire:
            wire.send(request(method, path, auth=auth, headers=headers))
            status, headers, _ = wire.reply()
            return status, headers

    def test_they_may_ask_from_anywhere_before_they_have_credentials(self):
        for path in ("/api/default/_search", "/api/default/app/_json", "/api/no/such/path", "/nosuch", "/healthz"):
            status, headers = self.ask("OPTIONS", path, self.ASKS)
            self.assertEqual((status, headers["access-control-allow-origin"], headers["content-length"]), (200, "*", "0"), path)
            self.assertEqual(headers["access-control-allow-methods"], "head,get,post,put,options,delete,patch")
            self.assertIn("authorization", headers["access-control-allow-headers"])

    def test_every_answer_may_be_read_by_them(self):
        for path, status in (("/healthz", 200), ("/nosuch", 404), ("/api/default/streams", 401)):
            got, headers = self.ask("GET", path, ["Origin: http://x.example"])
            self.assertEqual((got, headers["access-control-allow-origin"]), (status, "*"))

    def test_options_without_an_origin_names_the_methods(self):
        self.assertEqual(self.ask("OPTIONS", "/api/default/streams/x")[1]["allow"], "post,delete")
        status, headers = self.ask("OPTIONS", "*")
        self.assertEqual((status, headers["allow"]), (200, "get,head,post,put,delete"))
        self.assertEqual(self.ask("OPTIONS", "/nosuch")[0], 404)
        self.assertEqual(self.ask("OPTIONS", "/api/no/such/path")[0], 401)


class ChosenBrowsers(Browsers):
    settings = {"ZO_CORS_ALLOWED_ORIGINS": "https://a.example, http://x.example"}

    def test_they_may_ask_from_anywhere_before_they_have_credentials(self):
        for origin, allowed in (("http://x.example", True), ("https://a.example", True), ("http://a.example", False), ("http://x.example.evil", False)):
            for method, path, status in (("OPTIONS", "/api/default/_search", 200), ("GET", "/healthz", 200), ("GET", "/api/default/streams", 401)):
                got, headers = self.ask(method, path, [f"Origin: {origin}", "Access-Control-Request-Method: POST"])
                self.assertEqual((got, headers["vary"]), (status, "origin"))
                self.assertEqual(headers.get("access-control-allow-origin"), origin if allowed else None, origin)

    def test_every_answer_may_be_read_by_them(self):
        self.assertNotIn("access-control-allow-origin", self.ask("GET", "/healthz")[1])


class LargeBodies(HttpCase):
    """What is larger than WEIR_BODY_MEMORY_MAX waits on disk, whatever its form."""

    settings = {"WEIR_BODY_MEMORY_MAX": "1MiB", "WEIR_INGEST_MEMORY_MAX": "4MiB", "WEIR_SPOOL_MAX": "64MiB", "ZO_PAYLOAD_LIMIT": "36000000"}
    ROWS = 30_000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        now = now_us()
        cls.records = [{"_timestamp": now + i, "i": i, "pad": "x" * 600} for i in range(cls.ROWS)]
        cls.body = json.dumps(cls.records).encode()
        cls.packed = gzip.compress(cls.body, 1)

    def tearDown(self):
        wait_for(lambda: self.metric("zo_http_spool_bytes") == 0 and self.metric("zo_http_body_memory_bytes") == 0, what="nothing held")
        self.assertEqual([n for n in os.listdir(f"{self.node.data_dir}/tmp") if n.startswith("body-")], [])

    def check_stored(self, stream):
        [row] = self.node.hits(f"SELECT count(*) AS n, count(DISTINCT i) AS d, max(i) AS last FROM {stream}")
        self.assertEqual(row, {"n": self.ROWS, "d": self.ROWS, "last": self.ROWS - 1})

    def send(self, stream, body, headers=(), door="_json"):
        with self.wire(timeout=120) as wire:
            wire.send(request("POST", f"/api/default/{stream}/{door}", body, headers))
            return wire.reply()

    def test_a_large_body_is_stored_whole(self):
        spooled = self.metric("zo_http_spooled_bodies")
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (self.body[i:i + 1_000_003] for i in range(0, len(self.body), 1_000_003)))
        lines = b"\n".join(json.dumps(r).encode() for r in self.records)
        self.assert_stored(self.send("whole", self.body), self.ROWS)
        self.assert_stored(self.send("packed", self.packed, ["Content-Encoding: gzip"]), self.ROWS)
        self.assert_stored(self.send("lines", lines, door="_multi"), self.ROWS)
        with self.wire(timeout=120) as wire:
            wire.send(request("POST", "/api/default/chunked/_json", headers=["Transfer-Encoding: chunked"]) + chunks + b"0\r\n\r\n")
            self.assert_stored(wire.reply(), self.ROWS)
        self.assertEqual(self.metric("zo_http_spooled_bodies") - spooled, 4)
        for stream in ("whole", "packed", "lines", "chunked"):
            self.check_stored(stream)

    def test_a_large_body_that_is_broken_stores_nothing(self):
        end = len(self.body)
        for body, headers, message in ((self.body[:-1], (), f"byte {end - 1}"), (self.body + b"x", (), f"byte {end}"),
                                       (gzip.compress(self.body[:-1], 1), ["Content-Encoding: gzip"], f"byte {end - 1}"),
                                       (self.packed[:-9], ["Content-Encoding: gzip"], "cut off")):
            status, _, reply = self.send("broken", body, headers)
            self.assertEqual(status, 400, reply)
            self.assertIn(message, json.loads(reply)["message"])
        self.assertEqual(self.node.search("SELECT * FROM broken")[1].get("code"), 20002)

    def test_large_bodies_past_their_room_are_503_and_small_ones_are_taken(self):
        refused = self.metric("zo_http_spool_refused")
        half = 33 << 20
        with self.wire() as first, self.wire() as second:
            first.send(request("POST", PATH, b"[" + b" " * half, length=half + 9))
            wait_for(lambda: self.metric("zo_http_spool_bytes") > half - (2 << 20), what="the first body")
            second.send(request("POST", PATH, b" " * half))
            status, headers, body = second.reply()
            self.assertEqual((status, headers["retry-after"]), (503, "1"), body)
            self.assertIn("WEIR_SPOOL_MAX", json.loads(body)["message"])
            second.send(request("POST", PATH, b'[{"a":1}]'))
            self.assert_stored(second.reply())
            first.send(b'{"a":1}]')
            self.assert_stored(first.reply())
        self.assertGreater(self.metric("zo_http_spool_refused"), refused)

    def test_a_body_of_just_a_limit_is_taken_and_past_the_last_one_refused(self):
        deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
        for size in (4096, 4097, 262_144, 262_145, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, 36_000_000, 36_000_001):
            body = b'[{"a":1}' + b" " * (size - 9) + b"]"
            chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
            packer = deflate.copy()
            for data in (
                request("POST", PATH, body), request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + chunked,
                request("POST", PATH, gzip.compress(body, 1), ["Content-Encoding: gzip"]),
                request("POST", PATH, packer.compress(body) + packer.flush(), ["Content-Encoding: deflate"]),
            ):
                with self.wire() as wire:
                    wire.send(data)
                    self.assertEqual(wire.reply()[0], 413 if size > 36_000_000 else 200, size)

    def test_bombs_are_unpacked_beside_other_clients(self):
        bomb = gzip.compress(b"[" + b" " * 30_000_000 + b'{"a":1}]', 9)
        self.assertLess(len(bomb) * 900, 30_000_000)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.send("bomb", bomb, ["Content-Encoding: gzip"])[0])) for _ in range(10)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assert_stored(self.send("beside", b'[{"a":1}]'))
        self.assertEqual(len(answers), 10)
        self.assertLessEqual(set(answers), {200, 503})
        self.assertIn(200, answers)

    def test_members_and_what_follows_them(self):
        pack = gzip.compress
        for body, status in ((pack(b'[{"a":1}') + pack(b"]"), 200), (pack(b"") * 10_000 + pack(b'[{"a":1}]'), 200), (pack(b'[{"a":1}]') + b"\0", 400),
                             (pack(b'[{"a":1}') + pack(b"]")[:-1], 400), (pack(b'[{"a":1}]')[:-5] + b"\0" * 5, 400), (pack(pack(b'[{"a":1}]')), 400), (b"", 400)):
            self.assertEqual(self.send("members", body, ["Content-Encoding: gzip"])[0], status)

    def test_who_goes_away_in_the_middle_leaves_nothing(self):
        for _ in range(5):
            with self.wire() as wire:
                wire.send(request("POST", PATH, b" " * 5_000_000, length=20_000_000))
                wait_for(lambda: self.metric("zo_http_spool_bytes") > 3_000_000, what="a body on disk")

    def test_half_closed_clients_get_their_answers(self):
        body = b" " * 2_500_000 + b'[{"a":1}]'
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[i:i + 9000] for i in range(0, len(body), 9000)))
        self.half_closed(request("POST", PATH, body), 200, count=8)
        self.half_closed(request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + chunks + b"0\r\n\r\n", 200, count=8)

    def test_bodies_without_memory_wait_on_disk_while_a_disk_stalls(self):
        """Whole bodies hold all memory, since the fs process does not answer; what else comes is written and asks no more."""
        body = b"[" + b" " * 9_990 + b'{"a":1}]'
        fs, spooled = self.node.child("fs"), self.metric("zo_http_spooled_bytes")
        stop_process(fs)
        try:
            wires = [self.wire() for _ in range(600)]
            for wire in wires:
                wire.send(request("POST", PATH, body))
            wait_for(lambda: self.metric("zo_http_spooled_bytes") - spooled >= 100 * len(body), what="bodies on disk")
            late = self.wire()
            late.send(request("POST", PATH, headers=["Transfer-Encoding: chunked"]) + b"9\r\n[{\"a\":1}]\r\n0\r\n\r\n")
            wait_for(lambda: (self.metric("zo_http_spooled_bytes") - spooled) % len(body) == 9, what="the late one on disk")
        finally:
            os.kill(fs, signal.SIGCONT)
        for wire in (*wires, late):
            self.assertEqual(wire.reply()[0], 200)
            wire.socket.close()

    def test_bodies_that_stall_take_nothing_from_others(self):
        query = json.dumps({"query": {"sql": "SELECT count(*) AS n FROM beside", "start_time": 1, "end_time": 1 << 60}}).encode()
        self.assert_stored(self.send("beside", b'[{"a":1}]'))
        for size in (10, 20_000):
            stalled = [self.wire() for _ in range(400)]
            for wire in stalled:
                wire.send(request("POST", PATH, b" " * size, length=60_000))
            for _ in range(20):
                self.assert_stored(self.send("beside", b'[{"a":1}]'))
                self.assert_stored(self.send("beside", b" " * 100_000 + b'[{"a":1}]'))
                self.assert_stored(self.send("beside", gzip.compress(b'[{"a":1}]'), ["Content-Encoding: gzip"]))
                with self.wire() as wire:
                    wire.send(request("POST", "/api/default/_search", query, ["Content-Type: application/json"]))
                    self.assertEqual(wire.reply()[0], 200)
            wire = stalled[-1]
            wire.send(b" " * (60_000 - 9 - size) + b'[{"a":1}]')
            self.assert_stored(wire.reply())
            for wire in stalled:
                wire.socket.close()
        self.assertEqual(self.metric("zo_http_body_memory_refused"), 0)

    def test_who_declares_much_and_sends_nothing_takes_nothing(self):
        idle = [self.wire() for _ in range(100)]
        for wire in idle:
            wire.send(request("POST", PATH, length=1_000_000))
        self.assert_stored(self.send("beside", b'[{"a":1}]'))
        self.assert_stored(self.send("beside", b"[" + b" " * 900_000 + b'{"a":2}]'))
        for wire in idle:
            wire.socket.close()

    def test_a_kill_in_the_middle_leaves_nothing_on_disk(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, b" " * 5_000_000, length=20_000_000))
            wait_for(lambda: self.metric("zo_http_spool_bytes") > 3_000_000, what="a body on disk")
            self.node.kill_child("gateway")
        self.assert_stored(self.send("after", b'[{"a":1}]'))


class LongReplyCase(HttpCase):
    ROWS = 5_000 if SANITIZED else 20_000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for start in range(0, cls.ROWS, 5000):
            cls.node.post_json("long", [{"i": i, "pad": "x" * 1000} for i in range(start, start + 5000)])

    def search(self, wire, sql="SELECT i, pad FROM long"):
        body = json.dumps({"query": {"sql": sql, "start_time": 1_000_000, "end_time": 1 << 60, "size": 1_000_000}}).encode()
        wire.send(request("POST", "/api/default/_search", body, ["Content-Type: application/json"]))

    def check(self, reply):
        status, headers, body = reply
        parsed = json.loads(body)
        self.assertEqual((status, headers.get("transfer-encoding")), (200, "chunked"))
        self.assertEqual((len(parsed["hits"]), parsed["total"], parsed["is_partial"]), (self.ROWS, self.ROWS, False))


class LongReplies(LongReplyCase):
    def test_a_long_reply_is_streamed_and_whole(self):
        with self.wire() as wire:
            self.search(wire)
            self.check(wire.reply())
            wire.send(request("GET", "/healthz"))
            self.assertEqual(wire.reply()[0], 200, "the connection goes on")

    def test_a_slow_reader_gets_everything_and_disturbs_nobody(self):
        with self.wire() as slow, self.wire() as quick:
            self.search(slow)
            for _ in range(20):
                slow.more()
                quick.send(request("POST", PATH, b'[{"a":1}]'))
                self.assert_stored(quick.reply())
            self.check(slow.reply())

    def test_many_readers_at_once(self):
        def read():
            with self.wire() as wire:
                self.search(wire)
                replies.append(wire.reply())

        replies = []
        threads = [threading.Thread(target=read) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(replies), 6)
        for reply in replies:
            self.check(reply)

    def test_readers_that_leave_are_noticed(self):
        for _ in range(10):
            with self.wire() as wire:
                self.search(wire)
                wire.until(b"\r\n\r\n")
        with self.wire() as wire:
            self.search(wire)
            self.check(wire.reply())


class ReadersThatDoNotRead(LongReplyCase):
    settings = {"WEIR_HTTP_REPLY_TIMEOUT": "1", "WEIR_QUERY_CONCURRENCY": "64", "ZO_HTTP_WORKER_NUM": "4"}

    def test_their_replies_are_cut_and_others_get_theirs(self):
        wires = [self.wire() for _ in range(6)]  # three times as many as may run
        for wire in wires:  # more than the sockets' buffers hold
            self.search(wire, "SELECT i, pad, pad AS a, pad AS b, pad AS c FROM long")
        with self.wire(timeout=60) as quick:
            self.search(quick, "SELECT count(*) AS i, '' AS pad FROM long")
            self.assertEqual(json.loads(quick.reply()[2])["hits"][0]["i"], self.ROWS)
        wait_for(lambda: self.metric("zo_http_slow_readers") >= 6, what="all of them cut off")
        for wire in wires:
            with self.assertRaises((ConnectionError, ValueError)):
                wire.reply()
            wire.socket.close()


class ReadersThatKeepThePlaceOfOthers(LongReplyCase):
    """For an hour, by the setting."""
    settings = {"WEIR_HTTP_REPLY_TIMEOUT": "3600", "WEIR_QUERY_WAIT": "40"}

    def check_another_query(self, readers):
        wires = [self.wire() for _ in range(readers)]
        cut = self.metric("zo_http_slow_readers")
        for wire in wires:
            self.search(wire, "SELECT i, pad, pad AS a, pad AS b, pad AS c FROM long")
            wire.until(b"\r\n\r\n")
        with self.wire(timeout=60) as other:
            self.search(other, "SELECT count(*) AS i, '' AS pad FROM long")
            self.assertEqual(json.loads(other.reply()[2])["hits"][0]["i"], self.ROWS)
        self.assertGreater(self.metric("zo_http_slow_readers"), cut)
        for wire in wires:
            wire.socket.close()


class ReadersInTheEngine(ReadersThatKeepThePlaceOfOthers):
    settings = {**ReadersThatKeepThePlaceOfOthers.settings, "WEIR_QUERY_CONCURRENCY": "2", "ZO_HTTP_WORKER_NUM": "16"}

    def test_another_query_has_its_turn(self):
        self.check_another_query(2)


class ReadersInTheWorkers(ReadersThatKeepThePlaceOfOthers):
    settings = {**ReadersThatKeepThePlaceOfOthers.settings, "WEIR_QUERY_CONCURRENCY": "64", "ZO_HTTP_WORKER_NUM": "4"}

    def test_another_query_has_its_turn(self):
        self.check_another_query(2)


class SlowReaders(LongReplyCase):
    settings = {"WEIR_HTTP_REPLY_TIMEOUT": "10"}

    def test_who_reads_more_than_the_least_is_not_cut(self):
        """Twenty times as much, through socket buffers that are filled again at long intervals."""
        with self.wire() as wire:
            self.search(wire, "SELECT i, pad, pad AS a, pad AS b, pad AS c FROM long")
            wire.until(b"\r\n\r\n")
            for _ in range(300):
                wire.more(8192)
                time.sleep(0.1)
            hits = json.loads(wire.chunks())["hits"]
        self.assertEqual(len(hits), self.ROWS)
        self.assertEqual(self.metric("zo_http_slow_readers"), 0)


class BaseUri(HttpCase):
    @classmethod
    def setUpClass(cls):
        cls.node = TestNode(ZO_BASE_URI="/weir")
        cls.addClassCleanup(cls.node.destroy)
        cls.node.url += "/weir"
        cls.node.start()

    def test_everything_stands_below_the_base_uri(self):
        self.assertEqual(self.node.raw("GET", "/weir/healthz", auth=None)[0], 200)
        self.assertEqual(self.node.raw("GET", "/healthz", auth=None)[0], 404)
        status, _, body = self.node.raw("POST", "/weir/api/default/app/_json", b'[{"a":1}]')
        self.assertEqual((status, json.loads(body)["status"][0]["name"]), (200, "app"))


class System(HttpCase):
    def test_config_has_what_the_page_needs(self):
        status, headers, body = self.node.raw("GET", "/config", auth=None)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        config = json.loads(body)
        for key in ("version", "instance", "commit_hash", "build_date", "functions_enabled", "default_fts_keys",
                    "telemetry_enabled", "default_functions", "sql_base64_enabled", "timestamp_column",
                    "data_retention_days", "rum", "query_default_limit"):
            self.assertIn(key, config)

    def test_metrics_count_requests(self):
        self.node.post_json("counted", [{"a": 1}])
        counted = re.compile(r'zo_http_incoming_requests\{endpoint="[^"]*_json",status="200",'
                             r'organization="default",stream="counted",stream_type="logs"\} 1')
        wait_for(lambda: counted.search(self.node.raw("GET", "/metrics", auth=None)[2].decode()), what="a count")
        text = self.node.raw("GET", "/metrics", auth=None)[2].decode()
        self.assertRegex(text, r'zo_http_response_time_bucket\{[^}]*le="')

    def test_login(self):
        for password, status, answer in ((PASSWORD, 200, {"status": True, "message": ""}),
                                         ("wrong", 401, {"status": False, "message": "Invalid credentials"})):
            form = json.dumps({"name": EMAIL.upper(), "password": password}).encode()
            got, _, body = self.node.raw("POST", "/auth/login", form, {"Content-Type": "application/json"}, auth=None)
            self.assertEqual((got, json.loads(body)), (status, answer))

    def test_streams_and_their_fields_are_listed(self):
        self.node.post_json("listed", [{"a": 1, "b": "x", "c": 1.5, "d": True}])
        _, _, body = self.node.raw("GET", "/api/default/streams?type=logs&fetchSchema=true&keyword=LIST")
        [stream] = json.loads(body)["list"]
        self.assertEqual((stream["name"], stream["stream_type"], stream["stats"]["doc_num"]), ("listed", "logs", 1))
        types = {f["name"]: f["type"] for f in stream["schema"]}
        self.assertEqual(types, {"_timestamp": "Int64", "a": "Int64", "b": "Utf8", "c": "Float64", "d": "Boolean"})
        for path in ("/api/default/streams/listed/schema", "/api/default/listed/schema?type=logs"):
            self.assertEqual(json.loads(self.node.raw("GET", path)[2])["schema"], stream["schema"])
        self.assertEqual(self.node.raw("GET", "/api/default/streams/nosuch/schema")[0], 404)
        self.assertEqual(self.node.raw("GET", "/api/default/streams?type=bad")[0], 400)
        self.assertEqual(self.node.raw("GET", "/api/nosuch/streams")[0], 404)
        orgs = json.loads(self.node.raw("GET", "/api/organizations")[2])["data"]
        self.assertIn("default", [o["identifier"] for o in orgs])

    def test_a_stop_finishes_requests(self):
        with self.wire() as wire:
            wire.send(request("POST", PATH, b'[{"a":1}]'))
            self.assert_stored(wire.reply())
            began = time.monotonic()
            self.assertEqual(self.node.stop(), 0)
            self.assertLess(time.monotonic() - began, 30)
        self.node.start()


if __name__ == "__main__":
    main()
