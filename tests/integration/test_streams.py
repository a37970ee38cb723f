"""Streams by name: made, listed, described and set up, over HTTP."""
import errno
import itertools
import json
import os
import signal
import subprocess
import threading
import time
import unittest

from weirlib import BINARY, NodeCase, children, kernel_resends, main, now_us, stop_process, wait_for


class Streams(NodeCase):
    settings = {}

    def call(self, method, path, body=None):
        status, _, text = self.node.raw(method, f"/api/default/{path}", json.dumps(body) if body is not None else b"",
                                        {"Content-Type": "application/json"} if body is not None else {})
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()

    def schema(self, name, query=""):
        status, reply = self.call("GET", f"streams/{name}/schema?type=logs{query}")
        self.assertEqual(status, 200, reply)
        return reply

    def test_settings_are_changed_bit_by_bit_and_outlive_a_restart(self):
        self.node.post_json("set", [{"level": "a", "n": 1}])
        self.assertEqual(self.call("PUT", "streams/set/settings?type=logs", {"data_retention": 9, "index_fields": {"add": ["level"]}}), (200, {"code": 200, "message": ""}))
        self.assertEqual(self.call("PUT", "streams/set/settings?type=logs", {"max_query_range": 24})[0], 200)
        self.assertEqual(self.call("PUT", "streams/set/settings?type=logs", {"index_fields": {"add": ["nosuch"]}})[0], 400)
        self.assertEqual(self.call("PUT", "streams/nosuch/settings?type=logs", {})[0], 404)
        self.node.stop()
        self.node.start()
        settings = self.schema("set")["settings"]
        self.assertEqual((settings["data_retention"], settings["max_query_range"], settings["index_fields"]), (9, 24, ["level"]))
        with open(f"{self.node.mount}/default/logs/set/schema.json") as file:
            self.assertEqual(json.load(file)["settings"]["data_retention"], 9)

    def test_match_all_looks_into_the_fields_that_the_settings_name(self):
        self.node.post_json("found", [{"_timestamp": now_us(), "note": "a needle here", "other": "needle"}])
        with self.assertRaises(Exception):
            self.node.hits("SELECT note FROM found WHERE match_all('needle')")
        self.assertEqual(self.call("PUT", "streams/found/settings?type=logs", {"full_text_search_keys": {"add": ["note"]}})[0], 200)
        self.assertEqual(self.node.hits("SELECT note FROM found WHERE match_all('needle')"), [{"note": "a needle here"}])
        self.assertEqual(self.node.hits("SELECT note FROM found WHERE match_all('nowhere')"), [])

    def test_records_are_kept_as_they_came_when_the_settings_say_so(self):
        t = now_us()
        self.node.post_json("kept", [{"_timestamp": t, "a": {"B": 1}}])
        self.assertEqual(self.call("PUT", "streams/kept/settings?type=logs", {"store_original_data": True, "flatten_level": 1})[0], 200)
        record = f'{{"_timestamp": {t + 1}, "a": {{"b": {{"c": "x\\"é"}}}}, "l": [1, 2]}}'
        body = f'[{record},{{"_timestamp":{t + 2},"_original":"mine","@o2-id":9,"_o2_id":"7"}},{{"_timestamp":{t + 3},"_o2_id":"7"}}]'
        self.assertEqual(self.node.raw("POST", "/api/default/kept/_json", body.encode(), {"Content-Type": "application/json"})[0], 200)
        for flushed in (False, True):
            if flushed:
                self.node.flush()
            hits = self.node.hits("SELECT _original, _o2_id, a_b, a FROM kept ORDER BY _timestamp")
            self.assertEqual(hits[0], {"a_b": 1})
            self.assertEqual((hits[1]["_original"], hits[1]["a"], hits[2]["_original"]), (record, '{"b":{"c":"x\\"é"}}', "mine"))
            self.assertEqual(len({h["_o2_id"] for h in hits[1:]} - {"7", "9"}), 3)
            self.assertNotIn("_original", self.node.hits("SELECT * FROM kept ORDER BY _timestamp")[1])

    def test_a_query_over_too_long_a_range_is_cut_to_its_end(self):
        t = now_us()
        self.node.post_json("cutoff", [{"_timestamp": t - 60_000_000, "a": 1}, {"_timestamp": t - 3 * 3_600_000_000, "a": 2}])
        self.assertEqual(self.call("PUT", "streams/cutoff/settings?type=logs", {"max_query_range": 1})[0], 200)

        def ask(hours):
            return self.call("POST", "_search?type=logs", {"query": {"sql": "SELECT a FROM cutoff", "start_time": t - hours * 3_600_000_000, "end_time": t}})[1]

        reply = ask(4)
        self.assertEqual((reply["hits"], reply["is_partial"], reply["new_start_time"], reply["new_end_time"]), ([{"a": 1}], True, t - 3_600_000_000, t))
        self.assertEqual(reply["function_error"], ["Query duration is modified due to query range restriction of 1 hours"])
        self.assertEqual((ask(1)["is_partial"], "new_start_time" in ask(1)), (False, False))

    def test_a_stream_is_made_by_hand_and_takes_records(self):
        body = {"fields": [{"name": "a", "type": "Utf8"}, {"name": "b", "type": "Int64"}], "settings": {"data_retention": 10}}
        self.assertEqual(self.call("POST", "streams/made?type=logs", body), (200, {"code": 200, "message": "stream created"}))
        self.assertEqual(self.call("POST", "streams/made?type=logs", body)[0], 400)
        self.assertEqual(self.call("POST", "streams/bad?type=logs", {"fields": [{"name": "a", "type": "foo"}]}), (400, {"code": 400, "message": "invalid data type: foo"}))
        self.assertEqual(self.call("POST", "streams/bad?type=logs", {"fields": [], "settings": {"data_retention": "x"}})[0], 422)
        self.assertEqual(self.call("GET", "streams/bad/schema?type=logs")[0], 404)
        self.assertEqual({f["name"]: f["type"] for f in self.schema("made")["schema"]}, {"_timestamp": "Int64", "a": "Utf8", "b": "Int64"})
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM made"), [{"n": 0}])
        self.node.post_json("made", [{"a": "x", "b": 7}])
        self.assertEqual(self.node.hits("SELECT a, b FROM made"), [{"a": "x", "b": 7}])

    def test_the_fields_of_a_stream_made_by_hand_are_those_that_records_have(self):
        names = ["a\0b", "Level", "level", "a.b", "_Timestamp", "k" * 1024, "\0"]
        body = {"fields": [{"name": n, "type": "Int64"} for n in names]}
        self.assertEqual(self.call("POST", "streams/named?type=logs", body)[0], 200)
        self.node.post_json("named", [{n: 1 for n in names if n != "_Timestamp"}])
        for flushed in (False, True):
            if flushed:
                self.node.flush()
            hits = self.node.hits("SELECT * FROM named")
            self.assertEqual({k: v for k, v in hits[0].items() if k != "_timestamp"}, {"a_b": 1, "level": 1, "k" * 1024: 1, "_": 1})
        status, reply = self.call("POST", "streams/refused?type=logs", {"fields": [{"name": f"f{i}", "type": "Utf8"} for i in range(50_000)]})
        self.assertEqual((status, reply["message"]), (400, "a stream has at most 50000 fields, with 3145728 bytes of names"))
        for kind, name, of_type in (("logs", "_timestamp", "Utf8"), ("logs", "_TIMESTAMP", "Float64"), ("logs", "k" * 1025, "Utf8"),
                                    ("metrics", "value", "Utf8"), ("metrics", "label", "Int64")):
            status, reply = self.call("POST", f"streams/refused?type={kind}", {"fields": [{"name": name, "type": of_type}]})
            self.assertEqual((status, reply["message"][:8]), (400, "fields: "), reply)
            self.assertEqual(self.call("GET", f"streams/refused/schema?type={kind}")[0], 404)

    def exists(self, name):
        return os.path.isdir(f"{self.node.mount}/default/logs/{name}")

    def delete(self, name, kind="logs"):
        self.assertEqual(self.call("DELETE", f"streams/{name}?type={kind}"), (200, {"code": 200, "message": "stream deleted"}))
        wait_for(lambda: not os.path.isdir(f"{self.node.mount}/default/{kind}/{name}"), what="the directory is gone")

    def test_of_a_deleted_stream_nothing_comes_back(self):
        for i in range(3):
            self.node.post_json("gone", [{"i": i, "old": "x" * 100}])
            if i < 2:
                self.node.flush()
        sealed = self.node.sealed_files("gone")
        names = {os.path.basename(f) for f in sealed}
        self.assertEqual(len(sealed), 2)
        self.delete("gone")
        self.assertEqual(self.call("DELETE", "streams/gone?type=logs")[0], 404)
        self.assertEqual(self.call("GET", "streams/gone/schema?type=logs")[0], 404)
        self.assertEqual(self.call("GET", "streams?type=logs&keyword=gone")[1]["total"], 0)
        wait_for(lambda: not names & self.sealed_on_disk(), what="the files are gone")
        self.node.post_json("gone", [{"i": 9, "new": 1}])
        self.assertEqual(self.node.hits("SELECT * FROM gone")[0].get("old"), None)
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM gone"), [{"n": 1}])
        self.assertEqual({f["name"] for f in self.schema("gone")["schema"]}, {"_timestamp", "i", "new"})
        self.node.kill_everything()
        self.node.start()
        self.assertEqual(self.node.hits("SELECT i FROM gone"), [{"i": 9}])
        self.node.flush()
        self.assertEqual((self.node.hits("SELECT i FROM gone"), len(self.node.sealed_files("gone"))), ([{"i": 9}], 1))
        self.delete("gone")
        self.node.stop()
        self.node.start()
        self.assertFalse(self.exists("gone"))
        with self.assertRaises(Exception):
            self.node.hits("SELECT * FROM gone")

    def sealed_on_disk(self):
        return {f for _, _, files in os.walk(f"{self.node.data_dir}/sealed") for f in files}

    def test_a_query_reads_to_its_end_what_is_deleted_meanwhile(self):
        self.delete_under_a_query("read")

    @unittest.skipUnless(kernel_resends(), "this kernel (before 6.9) does not resend: the query fails with the mount")
    def test_so_it_does_when_the_filesystem_process_dies_meanwhile(self):
        self.delete_under_a_query("readon", lambda: self.node.kill_child("fs"))

    def delete_under_a_query(self, stream, and_then=lambda: None):
        rows = 0
        for part in range(21):
            self.node.post_json(stream, [{"part": part, "i": i, "pad": f"x{i % 97}" * 30} for i in range(2000)])
            rows += 2000
            if part < 20:
                self.node.flush()
        sealed = self.node.sealed_files(stream)
        handles = [open(path, "rb") for path in (sealed[0], *[f for f in self.node.files(stream) if "/text/" not in f])]
        for handle in handles:
            self.addCleanup(handle.close)
        bytes_before = [handle.read() for handle in handles]
        answers = []
        sql = f"SELECT count(*) AS n, max(md5(pad || md5(pad) || r.range)) AS m FROM {stream} a, range(500) r"
        reader = threading.Thread(target=lambda: answers.append(self.node.search(sql)))
        reader.start()

        def snapshots():
            with open(f"{self.node.mount}/.weir/stats.json") as file:
                return json.load(file)["fuse"]["snapshots"]

        wait_for(snapshots, what="the query has its snapshot")
        self.delete(stream)
        self.assertEqual(answers, [], "the query was to be slower than the deletion")
        and_then()
        self.assertEqual(self.node.post_json(stream, [{"new": 1}])[0], 200)
        self.assertEqual(self.node.hits(f"SELECT count(*) AS n FROM {stream}"), [{"n": 1}])
        reader.join()
        status, reply = answers[0]
        self.assertEqual((status, reply.get("is_partial"), [h["n"] for h in reply.get("hits", [])]), (200, False, [500 * rows]), reply)
        for handle, before in zip(handles, bytes_before):
            handle.seek(0)
            self.assertEqual(handle.read(), before)
        names = {os.path.basename(path) for path in sealed}
        wait_for(lambda: not names & self.sealed_on_disk(), what="the files are gone")
        self.assertEqual(self.node.hits(f"SELECT count(*) AS n FROM {stream}"), [{"n": 1}])

    def test_a_deletion_that_was_cut_off_is_done_at_the_next_start(self):
        self.node.post_json("cut", [{"i": 1}])
        self.node.flush()
        self.node.post_json("cut", [{"i": 2}])
        stop_process(children(self.node)["fs"])
        answers = []

        def delete():
            try:
                answers.append(self.call("DELETE", "streams/cut?type=logs"))
            except OSError:
                pass

        caller = threading.Thread(target=delete)
        caller.start()
        time.sleep(0.5)
        self.node.kill_everything()
        caller.join()
        self.assertEqual(answers, [])
        self.node.start()
        self.assertEqual(self.call("GET", "streams/cut/schema?type=logs")[0], 404)
        self.assertFalse(self.exists("cut"))
        self.node.post_json("cut", [{"i": 3}])
        self.assertEqual(self.node.hits("SELECT i FROM cut"), [{"i": 3}])

    def test_figures_of_metrics_are_those_of_what_is_stored(self):
        at, org = now_us() // 1_000_000, "figured"
        for round_ in range(2):
            body = [{"__name__": f"f_{i}", "_timestamp": at - 3600 * hour, "job": "x" * i, "value": round_} for i in range(40) for hour in range(i % 3 + 1)]
            status, _, text = self.node.raw("POST", f"/api/{org}/ingest/metrics/_json", json.dumps(body).encode())
            self.assertEqual(status, 200, text)
            if round_ == 0:
                self.node.flush()
        listed = self.node.raw("GET", f"/api/{org}/streams?type=metrics")
        stats = {s["name"]: s["stats"] for s in json.loads(listed[2])["list"]}
        self.assertEqual(len(stats), 40)
        for i in range(40):
            hours = i % 3 + 1
            first, last = (at - 3600 * (hours - 1)) * 1_000_000, at * 1_000_000
            got = {key: stats[f"f_{i}"][key] for key in ("doc_num", "file_num", "doc_time_min", "doc_time_max")}
            self.assertEqual(got, {"doc_num": 2 * hours, "file_num": 2 * hours, "doc_time_min": first, "doc_time_max": last}, i)
            one = json.loads(self.node.raw("GET", f"/api/{org}/streams/f_{i}/schema?type=metrics")[2])
            self.assertEqual(one["stats"], stats[f"f_{i}"])
        summary = json.loads(self.node.raw("GET", f"/api/{org}/summary")[2])["streams"]
        self.assertEqual((summary["num_streams"], summary["total_records"]), (40, 2 * sum(i % 3 + 1 for i in range(40))))
        sealed = sum(os.path.getsize(path) for path in self.node.sealed_files(".parts", org, "metrics"))
        self.assertAlmostEqual(summary["total_compressed_size"], sealed / 2**20, delta=0.01)

    def test_a_metric_is_deleted_alone(self):
        at = now_us() // 1_000_000
        for round_ in range(2):
            body = [{"__name__": name, "job": "a", "_timestamp": at, "value": round_} for name in ("m_gone", "m_stays")]
            self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(body).encode(), {"Content-Type": "application/json"})
            if round_ == 0:
                self.node.flush()
        self.delete("m_gone", "metrics")
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM metrics.m_stays"), [{"n": 2}])
        self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps([{"__name__": "m_gone", "job": "b", "value": 7}]).encode(), {"Content-Type": "application/json"})
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT value FROM metrics.m_gone"), [{"value": 7.0}])
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM metrics.m_stays"), [{"n": 2}])

    def test_writers_and_readers_live_through_deletions(self):
        stop, failures, accepted = threading.Event(), [], []

        def write():
            while not stop.is_set():
                status, _, text = self.node.raw("POST", "/api/default/busy/_json", json.dumps([{"pad": "y" * 2000}] * 20).encode(), {"Content-Type": "application/json"})
                (accepted if status == 200 else failures if status != 503 else []).append((status, text))

        def read():
            while not stop.is_set():
                status, _, text = self.node.raw("POST", "/api/default/_search", json.dumps({"query": {"sql": "SELECT count(*) AS n FROM busy", "start_time": 1, "end_time": now_us() + 10**9}}).encode(), {"Content-Type": "application/json"})
                if status not in (200, 400, 503):
                    failures.append((status, text))

        threads = [threading.Thread(target=f) for f in (write, write, read)]
        for t in threads:
            t.start()
        for i in range(12):
            time.sleep(0.2)
            if i % 3 == 0:
                self.node.flush()
            self.assertIn(self.call("DELETE", "streams/busy?type=logs")[0], (200, 404))
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(failures[:3], [])
        self.assertGreater(len(accepted), 10)
        self.call("DELETE", "streams/busy?type=logs")
        self.node.post_json("busy", [{"last": 1}])
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM busy"), [{"n": 1}])
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM busy"), [{"n": 1}])

    def test_new_fields_that_meet_a_deletion_are_stored_or_sent_again(self):
        stopping, statuses, errnos = threading.Event(), set(), set()
        self.node.post_json("fleeting", [{"a": 1}])

        def post(k):
            for i in itertools.count():
                if stopping.is_set():
                    break
                status, reply = self.node.post_json("fleeting", [{"id": i, f"f{k}_{i % 50}": 1}])
                statuses.add((status, reply["message"] if status != 200 else ""))

        def write():
            for i in itertools.count():
                if stopping.is_set():
                    break
                try:
                    with open(f"{self.node.mount}/default/logs/fleeting/ingest", "ab", 0) as file:
                        file.write(b'{"w%d":1}\n' % (i % 50))
                except FileNotFoundError as error:
                    if error.filename is None:  # of write(2), not of open(2)
                        errnos.add(error.errno)
                except OSError as error:
                    errnos.add(error.errno)

        threads = [threading.Thread(target=post, args=(k,)) for k in range(2)] + [threading.Thread(target=write)]
        for t in threads:
            t.start()
        for _ in range(100):
            time.sleep(0.02)
            self.call("DELETE", "streams/fleeting?type=logs")
        stopping.set()
        for t in threads:
            t.join()
        self.assertEqual({s for s, _ in statuses} - {200, 503}, set(), statuses)
        self.assertIn((200, ""), statuses)
        self.assertLessEqual(errnos, {errno.ESTALE})

    def delete_while_sealing(self, store, kind):
        """Flushes while streams brief0 to brief3 are written and deleted; none may fail."""
        stopping, refused = threading.Event(), []

        def write_and_delete(k):
            for n in itertools.count():
                if stopping.is_set():
                    break
                store(f"brief{n % 4}")
                if n % 5 == k:
                    status, reply = self.call("DELETE", f"streams/brief{n // 5 % 4}?type={kind}")
                    refused.extend([reply] if status not in (200, 404) else [])

        writers = [threading.Thread(target=write_and_delete, args=(k,)) for k in range(3)]
        for w in writers:
            w.start()
        try:
            for _ in range(60):
                time.sleep(0.02)
                self.node.flush()
        finally:
            stopping.set()
            for w in writers:
                w.join()
        self.assertEqual(refused, [])
        self.node.stop()
        fsck = subprocess.run([BINARY, "fsck", "--data", self.node.data_dir], capture_output=True, text=True)
        self.assertEqual(fsck.returncode, 0, fsck.stdout + fsck.stderr)
        self.node.start()

    def test_what_is_deleted_while_it_is_sealed_fails_no_flush_and_leaves_nothing(self):
        self.delete_while_sealing(lambda name: self.node.post_json(name, [{"a": 1}]), "logs")

    def test_a_metric_that_is_deleted_while_it_is_sealed_fails_no_flush(self):
        sent = []

        def store(name):
            body = [{"__name__": name, "value": 1}, {"__name__": "brief_kept", "value": 1}]
            status, _, text = self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(body).encode())
            kept = json.loads(text)["status"][-1] if status == 200 else {}
            sent.extend([1] * kept.get("successful", 0))

        self.delete_while_sealing(store, "metrics")
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM metrics.brief_kept"), [{"n": len(sent)}])
        self.assertGreater(len(sent), 60)

    def test_a_deletion_that_the_fs_process_did_not_hear_of_is_ended_by_the_next_gateway(self):
        self.node.post_json("unheard", [{"a": 1}])
        self.node.flush()
        self.node.post_json("unheard", [{"a": 2}])
        folder = f"{self.node.mount}/default/logs/unheard"
        self.assertTrue(os.path.isdir(folder))
        fs = self.node.child("fs")
        stop_process(fs)
        try:
            asked = threading.Thread(target=lambda: self.assertRaises(OSError, self.call, "DELETE", "streams/unheard?type=logs"))
            asked.start()
            wait_for(lambda: self.call("GET", "streams/unheard/schema?type=logs")[0] == 404, what="the mark of deletion")
            os.kill(self.node.child("gateway"), signal.SIGKILL)
            asked.join()
        finally:
            os.kill(fs, signal.SIGCONT)
        wait_for(lambda: not os.path.exists(folder), what="the stream is gone from the mount")
        self.node.wait_ready()
        self.node.flush()
        self.node.post_json("unheard", [{"a": 3}])
        self.assertEqual(self.node.hits("SELECT a FROM unheard"), [{"a": 3}])

    def test_lists_are_filtered_sorted_and_cut(self):
        for name, rows in (("list_b", 3), ("list_a", 5), ("list_c", 1)):
            self.node.post_json(name, [{"i": i, "name": name} for i in range(rows)])

        def names(query):
            status, reply = self.call("GET", f"streams?type=logs&keyword=list_{query}")
            self.assertEqual((status, reply["total"]), (200, 3))
            return [s["name"][-1] for s in reply["list"]]

        table = {"": "abc", "&sort=name&asc=false": "cba", "&sort=doc_num": "abc", "&sort=doc_num&asc=true": "cba", "&offset=1&limit=1": "b", "&offset=9": ""}
        self.assertEqual({q: "".join(names(q)) for q in table}, table)
        for flushed in (False, True):
            if flushed:
                self.node.flush()
            listed = self.call("GET", "streams?type=logs&keyword=list_a&fetchSchema=true")[1]["list"][0]
            self.assertEqual((listed["stats"]["doc_num"], listed["total_fields"], len(listed["schema"])), (5, 3, 3))
        self.assertEqual([f["name"] for f in self.schema("list_a", "&keyword=a")["schema"]], ["_timestamp", "name"])
        self.assertEqual([f["name"] for f in self.schema("list_a", "&offset=1&limit=1")["schema"]], ["i"])
        self.assertEqual(self.call("GET", "streams?type=bad")[0], 400)


if __name__ == "__main__":
    main()
