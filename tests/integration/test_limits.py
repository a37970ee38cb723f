"""Past its limits a node says so and loses nothing."""
import base64
import json
import os
import socket
import threading
import time
import unittest

from weirlib import EMAIL, PASSWORD, NodeCase, TestNode, main, now_us, wait_for


class JournalFull(NodeCase):
    settings = {"WEIR_JOURNAL_MAX": "256MiB"}

    def test_a_full_journal_is_503_and_everything_else_goes_on(self):
        pad = "x" * 1000
        stored = 0
        status = 200
        staging = f"{self.node.data_dir}/staging"
        os.rename(staging, f"{staging}.away")  # no seal succeeds, so nothing frees the journal
        for _ in range(500):
            status, reply = self.node.post_json("filled", [{"i": i, "pad": pad} for i in range(1000)])
            if status != 200:
                break
            stored += reply["status"][0]["successful"]
        self.assertEqual(status, 503, "the journal never became full")
        same = json.dumps([{"i": i, "pad": pad} for i in range(1000)]).encode()
        status, headers, _ = self.node.raw("POST", "/api/default/filled/_json", same)
        self.assertEqual(status, 503)
        self.assertIn("retry-after", headers)
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM filled"), [{"n": stored}])
        self.assertEqual(len(self.node.lines("filled")), stored)
        self.node.kill_everything()
        os.rename(f"{staging}.away", staging)
        self.node.start()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM filled"), [{"n": stored}])
        wait_for(lambda: self.node.post_json("filled", [{"i": 1}])[0] == 200, 60, "room in the journal again")
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM filled"), [{"n": stored + 1}])


class Queries(NodeCase):
    settings = {"ZO_QUERY_TIMEOUT": "1", "WEIR_QUERY_SIZE_MAX": "5000"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for start in range(0, 20000, 5000):
            cls.node.post_json("many", [{"i": i} for i in range(start, start + 5000)])

    def test_a_query_past_its_deadline_is_stopped(self):
        began = time.monotonic()
        status, reply = self.node.search("SELECT count(*) AS n FROM many a, many b, many c WHERE a.i * b.i + c.i = 7")
        self.assertEqual((status, reply["code"]), (408, 20010), reply)
        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM many"), [{"n": 20000}])

    def test_a_size_past_the_limit_is_400(self):
        self.assertEqual(self.node.search("SELECT * FROM many", size=5001)[0], 400)
        self.assertEqual(self.node.search("SELECT * FROM many LIMIT 5001")[0], 400)

    def test_size_and_from_page_through(self):
        seen = []
        for start in range(0, 20000, 4000):
            seen += [h["i"] for h in self.node.hits("SELECT i FROM many ORDER BY i", **{"from": start, "size": 4000})]
        self.assertEqual(seen, list(range(20000)))

    def test_a_client_that_goes_away_cancels_its_query(self):
        body = json.dumps({"query": {"sql": "SELECT count(*) FROM many a, many b, many c WHERE a.i * b.i = c.i",
                                     "start_time": 1_000_000, "end_time": now_us() + 1_000_000}}).encode()
        auth = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.node.port)) as s:
                s.sendall(f"POST /api/default/_search HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: self.node.search("SELECT count(*) AS n FROM many")[0] == 200, what="an answer after the cancelled ones")


class SlowQueries(NodeCase):
    def test_what_an_operator_asks_is_answered_while_64_of_them_run(self):
        for start in range(0, 20000, 5000):
            self.node.post_json("many", [{"i": i} for i in range(start, start + 5000)])
        body = json.dumps({"query": {"sql": "SELECT count(*) FROM many a, many b, many c WHERE a.i * b.i + c.i = 7",
                                     "start_time": 1_000_000, "end_time": now_us() + 1_000_000}}).encode()
        auth = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
        slow = [socket.create_connection(("127.0.0.1", self.node.port)) for _ in range(64)]
        for s in slow:
            s.sendall(f"POST /api/default/_search HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\n"
                      f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        login = json.dumps({"name": EMAIL, "password": PASSWORD}).encode()
        for _ in range(5):
            for method, path, form in (("GET", "/healthz", b""), ("GET", "/metrics", b""), ("GET", "/config", b""), ("POST", "/auth/login", login),
                                       ("GET", "/node/status", b""), ("GET", "/api/default/streams", b""), ("POST", "/api/default/beside/_json", b'[{"a":1}]')):
                status, _, reply = self.node.raw(method, path, form, {"Content-Type": "application/json"})
                self.assertEqual(status, 200, (path, reply[:200]))
        for s in slow:
            s.setblocking(False)
            with self.assertRaises(BlockingIOError, msg="it still runs"):
                s.recv(1)
            s.close()
        wait_for(lambda: self.node.search("SELECT count(*) AS n FROM many")[0] == 200, what="an answer after the cancelled ones")


class QueriesThatWait(NodeCase):
    settings = {"WEIR_QUERY_CONCURRENCY": "1", "WEIR_QUERY_WAIT": "1", "ZO_HTTP_WORKER_NUM": "4"}

    def send(self, sql):
        body = json.dumps({"query": {"sql": sql, "start_time": 1_000_000, "end_time": now_us() + 1_000_000}}).encode()
        auth = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
        s = socket.create_connection(("127.0.0.1", self.node.port), timeout=60)
        self.addCleanup(s.close)
        s.sendall(f"POST /api/default/_search HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {auth}\r\nConnection: close\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return s

    def test_one_that_waited_too_long_for_its_turn_is_503(self):
        for start in range(0, 20000, 5000):
            self.node.post_json("many", [{"i": i} for i in range(start, start + 5000)])
        endless = self.send("SELECT count(*) FROM many a, many b, many c WHERE a.i * b.i + c.i = 7")
        wait_for(lambda: self.node.search("SELECT i FROM many LIMIT 1")[0] == 503, what="the engine to be busy")
        others = [self.send("SELECT i FROM many LIMIT 1") for _ in range(8)]  # more than may wait for the engine
        for s in others:
            reply = b"".join(iter(lambda: s.recv(65536), b""))
            head, _, text = reply.rpartition(b"\r\n\r\n")
            self.assertIn(b"503 ", head)
            self.assertIn(b"\r\nretry-after: ", head.lower())
            self.assertIn(b"WEIR_QUERY_WAIT", text)
        endless.setblocking(False)
        with self.assertRaises(BlockingIOError, msg="it still runs"):
            endless.recv(1)
        endless.close()
        wait_for(lambda: self.node.search("SELECT i FROM many LIMIT 1")[0] == 200, what="an answer after the endless one")



class QueriesOfTwoTurns(NodeCase):
    settings = {"WEIR_QUERY_CONCURRENCY": "1", "WEIR_QUERY_WAIT": "1"}

    def test_the_time_that_a_query_runs_is_no_waiting(self):
        self.node.post_json("few", [{"i": i} for i in range(2000)])
        for times in (2 ** n for n in range(20)):
            sql = f"SELECT a.i FROM few a, few b, few c WHERE a.i * b.i + c.i = -7 AND c.i < {times}"
            began = time.monotonic()
            self.node.hits(sql)
            if time.monotonic() - began > 1.3:
                break
        done = threading.Event()

        def ask_again_and_again():
            while not done.is_set():
                self.node.search("SELECT count(*) FROM few a, few b WHERE a.i * b.i = 7")

        threads = [threading.Thread(target=ask_again_and_again) for _ in range(2)]
        for t in threads:
            t.start()
        try:
            for _ in range(2):  # its count is a second statement, for which it has to wait
                status, reply = self.node.search(sql, track_total_hits=True)
                self.assertEqual(status, 200, reply)
        finally:
            done.set()
            for t in threads:
                t.join()


class QueriesThatTakeTurns(NodeCase):
    settings = {"WEIR_QUERY_CONCURRENCY": "1"}

    def test_the_time_of_waiting_is_told(self):
        self.node.post_json("few", [{"i": i} for i in range(2000)])
        waited = []

        def ask():
            status, reply = self.node.search("SELECT count(*) AS n FROM few a, few b WHERE a.i * b.i = 7")
            detail = reply["took_detail"]
            self.assertEqual((status, detail["total"]), (200, detail["wait_in_queue"] + detail["search_took"]))
            waited.append(detail["wait_in_queue"])

        def ask_at_once():
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            return max(waited) > 0

        wait_for(ask_at_once, what="one that waited")
        self.assertEqual(len(waited) % 4, 0)


class ManyStreams(unittest.TestCase):
    def test_a_thousand_streams_from_many_clients(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()

        def write(worker):
            for i in range(100):
                assert node.post_json(f"s{worker * 100 + i}", [{"i": i}])[0] == 200

        threads = [threading.Thread(target=write, args=(w,)) for w in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(os.listdir(f"{node.mount}/default/logs")), 1000)
        self.assertEqual(sum(len(node.lines(f"s{i}")) for i in range(1000)), 1000)
        self.assertEqual(node.stop(), 0)


class SmallJournal(unittest.TestCase):
    def test_a_body_of_several_batches_is_stored_whole_or_not_at_all(self):
        node = TestNode(WEIR_JOURNAL_MAX="128M")
        self.addCleanup(node.destroy)
        node.start()
        now = now_us()
        for count, want in ((180_000, 503), (40_000, 200)):
            body = json.dumps([{"_timestamp": now + n, "pad": "x" * 1000} for n in range(count)]).encode()
            status, _, reply = node.raw("POST", "/api/default/whole/_json", body)
            self.assertEqual(status, want, reply[:200])
        self.assertEqual(node.hits("SELECT count(*) AS n FROM whole"), [{"n": 40_000}])
        self.assertEqual(node.stop(), 0)

    def test_bodies_of_several_batches_and_small_ones_do_not_take_each_others_room(self):
        """Nothing is sealed meanwhile, so together they have more than the journal takes."""
        node = TestNode(WEIR_JOURNAL_MAX="192M")
        self.addCleanup(node.destroy)
        node.start()
        os.rename(f"{node.data_dir}/staging", f"{node.data_dir}/staging.away")
        now, answers, small = now_us(), {}, {"stored": 0, "refused": 0}

        def send_large(stream, count):
            body = b"".join(b'{"_timestamp":%d,"i":%d,"pad":"%s"}\n' % (now + n, n, b"x" * 400) for n in range(count))
            answers[stream] = (count, node.raw("POST", f"/api/default/{stream}/_multi", body, timeout=120))

        large = [threading.Thread(target=send_large, args=(f"large{n}", count)) for n, count in enumerate((60_000, 110_000, 90_000, 70_000, 120_000, 80_000))]
        for thread in large:
            thread.start()
        while any(thread.is_alive() for thread in large):
            status, reply = node.post_json("small", [{"i": i, "pad": "x" * 1000} for i in range(1000)])
            self.assertIn(status, (200, 503), reply)
            small["stored" if status == 200 else "refused"] += 1
        for stream, (count, (status, _, reply)) in answers.items():
            self.assertIn(status, (200, 503), reply)
            if status == 200:
                self.assertEqual(node.hits(f"SELECT count(*) AS n, count(DISTINCT i) AS d FROM {stream}"), [{"n": count, "d": count}])
            else:
                self.assertIn("WEIR_JOURNAL_MAX", json.loads(reply)["message"])
                found, reply = node.search(f"SELECT count(*) AS n FROM {stream}")
                self.assertTrue(found == 400 or reply["hits"] == [{"n": 0}], (stream, reply))
        self.assertEqual({status for _, (status, _, _) in answers.values()}, {200, 503})
        self.assertEqual(node.hits("SELECT count(*) AS n FROM small"), [{"n": small["stored"] * 1000}])
        os.rename(f"{node.data_dir}/staging.away", f"{node.data_dir}/staging")
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    main()
