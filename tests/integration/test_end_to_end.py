"""A record comes in, stands in a file on the mount, and is asked in SQL."""
import json
import os
import subprocess
import time

from weirlib import NodeCase, children, gzip, main, now_us, wait_for


class EndToEnd(NodeCase):
    def test_a_second_node_on_the_same_data_is_refused_and_leaves_the_first_alone(self):
        before, inode = children(self.node), os.stat(self.node.mount).st_ino
        second = subprocess.run([self.node.binary, "serve"], env=self.node.env, capture_output=True, text=True, timeout=60)
        self.assertEqual(second.returncode, 78, second.stderr)
        self.assertIn("is in use by process", second.stderr)
        self.assertEqual((children(self.node), os.stat(self.node.mount).st_ino), (before, inode))
        self.assertTrue(os.path.isdir(f"{self.node.mount}/.weir"))

    def test_a_record_is_a_line_and_a_row(self):
        status, reply = self.node.post_json("first", [{"level": "info", "n": 1, "log": "hello"}])
        self.assertEqual(status, 200)
        self.assertEqual(reply, {"code": 200, "status": [{"name": "first", "successful": 1, "failed": 0}]})
        [line] = self.node.lines("first")
        self.assertEqual({k: line[k] for k in ("level", "n", "log")}, {"level": "info", "n": 1, "log": "hello"})
        [hit] = self.node.hits("SELECT * FROM first")
        self.assertEqual(hit, line)

    def test_a_line_starts_with_its_time_and_nothing_is_pretty_printed(self):
        t = now_us()
        self.node.post_json("shape", [{"b": "x", "_timestamp": t, "a": {"c": [1, 2]}}])
        [path] = self.node.files("shape")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b'{"_timestamp":%d,"b":"x","a_c":"[1,2]"}\n' % t)

    def test_the_stream_is_found_under_both_spellings(self):
        status, reply = self.node.post_json("K8sLogs", [{"log": "x"}], {"Content-Type": "json"})
        self.assertEqual((status, reply["status"][0]["name"]), (200, "k8slogs"))
        for name in ("k8slogs", "K8sLogs", '"K8sLogs"'):
            self.assertEqual(self.node.hits(f"SELECT count(*) AS n FROM {name}"), [{"n": 1}])

    def test_gzip_bodies_are_taken(self):
        body = gzip.compress(json.dumps([{"log": "zipped %d" % i} for i in range(100)]).encode())
        status, reply = self.node.post_json("zipped", body, {"Content-Encoding": "gzip"})
        self.assertEqual((status, reply["status"][0]["successful"]), (200, 100))

    def test_a_single_object_is_one_record(self):
        status, reply = self.node.post_json("single", {"log": "alone"})
        self.assertEqual((status, reply["status"][0]["successful"]), (200, 1))

    def test_records_go_to_the_hour_of_their_time(self):
        now = now_us()
        self.node.post_json("hours", [{"_timestamp": now - h * 3_600_000_000, "h": h} for h in range(4)])
        self.assertEqual(len(self.node.files("hours")), 4)
        for path in self.node.files("hours"):
            with open(path) as file:
                t = json.loads(file.readline())["_timestamp"] / 1e6
            self.assertIn(time.strftime("/%Y/%m/%d/%H/", time.gmtime(t)), path)

    def test_what_was_acknowledged_is_in_the_next_answer(self):
        for i in range(50):
            self.node.post_json("fresh", [{"i": i}])
            self.assertEqual(self.node.hits("SELECT count(*) AS n, max(i) AS i FROM fresh"), [{"n": i + 1, "i": i}])
            self.assertEqual(len(self.node.lines("fresh")), i + 1)

    def test_tail_follows_a_growing_file(self):
        self.node.post_json("tailed", [{"i": 0}])
        path = f"{self.node.mount}/default/logs/tailed/current.ndjson"
        tail = subprocess.Popen(["tail", "-s", "0.1", "-n", "+1", "-f", path], stdout=subprocess.PIPE)
        try:
            os.set_blocking(tail.stdout.fileno(), False)
            seen = b""
            for i in range(1, 6):
                self.node.post_json("tailed", [{"i": i}])

            def all_seen():
                nonlocal seen
                seen += tail.stdout.read() or b""
                return seen.count(b"\n") == 6

            wait_for(all_seen, what="six lines in tail -f")
            self.assertEqual([json.loads(line)["i"] for line in seen.splitlines()], list(range(6)))
        finally:
            tail.kill()
            tail.wait()
            tail.stdout.close()

    def test_the_usual_tools_read_the_mount(self):
        self.node.post_json("tools", [{"i": i, "word": "needle" if i % 10 == 0 else "hay"} for i in range(1000)])
        top = f"{self.node.mount}/default/logs/tools"

        def sh(command):
            return subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout.strip()

        self.assertEqual(sh(f"grep -rh needle --include='0*.ndjson' {top}/2* | wc -l"), "100")
        self.assertEqual(sh(f"cat $(find {top}/2* -name '*.ndjson' -type f) | wc -l"), "1000")
        self.assertEqual(sh(f"jq -s 'map(.i) | add' $(find {top}/2* -name '*.ndjson')"), "499500")
        self.assertGreater(int(sh(f"du -sb {top} | cut -f1")), 30000)
        self.assertEqual(sh(f"cp -r {top} {self.node.scratch}/copy && diff -r {top} {self.node.scratch}/copy && echo same"), "same")
        self.assertIn("_timestamp", sh(f"less -F {top}/current.ndjson | head -n 1"))

    def test_the_status_files_are_there(self):
        base = f"{self.node.mount}/.weir"
        for name in ("health.json", "stats.json", "nodes.json", "config.json"):
            with open(f"{base}/{name}") as file:
                json.load(file)
        with open(f"{base}/config.json") as file:
            self.assertNotIn("Complexpass", file.read())
        self.assertTrue(open(f"{base}/version").read().strip())

    def test_schema_json_names_the_fields(self):
        self.node.post_json("schema", [{"a": 1, "b": "x", "c": 1.5, "d": True}])
        with open(f"{self.node.mount}/default/logs/schema/schema.json") as file:
            schema = json.load(file)
        types = {f["name"]: f["type"] for f in schema["fields"]}
        self.assertEqual(types, {"_timestamp": "Int64", "a": "Int64", "b": "Utf8", "c": "Float64", "d": "Boolean"})

    def test_everything_else_is_read_only(self):
        self.node.post_json("ro", [{"a": 1}])
        [path] = self.node.files("ro")
        for action in (
            lambda: open(path, "ab"),
            lambda: os.unlink(path),
            lambda: os.rename(path, path + "x"),
            lambda: os.mkdir(os.path.dirname(path) + "/new"),
            lambda: os.truncate(path, 0),
            lambda: os.symlink("/etc/passwd", os.path.dirname(path) + "/link"),
        ):
            with self.assertRaises(OSError) as caught:
                action().close()
            self.assertEqual(caught.exception.errno, 30)

    def test_types_widen_and_old_rows_follow(self):
        self.node.post_json("widen", [{"v": 7, "_timestamp": now_us()}])
        self.node.post_json("widen", [{"v": "seven", "_timestamp": now_us()}])
        self.assertEqual(sorted(h["v"] for h in self.node.hits("SELECT v FROM widen")), ["7", "seven"])

    def test_health_metrics_and_config(self):
        self.assertEqual(self.node.raw("GET", "/healthz", auth=None)[2], b'{"status":"ok"}')
        self.assertEqual(self.node.raw("HEAD", "/healthz", auth=None)[0], 200)
        self.node.post_json("metered", [{"a": 1}])
        text = self.node.raw("GET", "/metrics", auth=None)[2].decode()
        self.assertIn("zo_ingest_records", text)
        self.assertIn("zo_http_incoming_requests", text)
        config = json.loads(self.node.raw("GET", "/config", auth=None)[2])
        self.assertEqual(config["timestamp_column"], "_timestamp")


if __name__ == "__main__":
    main()
