"""Lines become Parquet, and nobody who reads or asks can tell the moment."""
import filecmp
import glob
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import unittest

from weirlib import SANITIZED, NodeCase, TestNode, children, main, now_us, read_parquet, stop_process, text_of, wait_for

MB = 1 << 20
HOUR_US = 3_600_000_000


def xattr(path, name):
    return os.getxattr(path, f"user.weir.{name}").decode()


def varied_records(count, seed=1):
    rng = random.Random(seed)
    base = now_us() - count
    for i in range(count):
        record = {"_timestamp": base + i, "level": rng.choice(["info", "warn", "error"]), "n": i, "log": f"line {i} é \" \\ \n \U0001F30A"}
        if i % 3 == 0:
            record["ratio"] = rng.uniform(-1e6, 1e6)
        if i % 5 == 0:
            record["ok"] = i % 2 == 0
        if i % 7 == 0:
            record["big"] = 2**63 + i
        if i % 11 == 0:
            record["k8s"] = {"pod": f"pod-{i % 13}", "list": [1, {"a": None}]}
        yield record


def sparse_records(count, fields=400, seed=2):
    """Each record has 7 of the fields; values of all types."""
    rng = random.Random(seed)
    base = now_us() - count
    for i in range(count):
        record = {"_timestamp": base + i, "seq": i}
        for f in sorted(rng.sample(range(fields), 7)):
            record[f"f{f:03}"] = [f"text \" {rng.randrange(90)} é", -i, i + 0.5, i % 2 == 0, 2**63 + i][f % 5]
        yield record


class Seal(NodeCase):
    settings = {}

    def test_a_flush_replaces_lines_by_parquet_and_the_answers_stay(self):
        self.node.post_json("plain", list(varied_records(3000)))
        [active] = self.node.files("plain")
        size = os.path.getsize(active)
        before = self.node.lines("plain")
        sql = ["SELECT * FROM plain ORDER BY _timestamp", "SELECT level, count(*) AS n, sum(ratio) AS s FROM plain GROUP BY level ORDER BY level",
               "SELECT n, big FROM plain WHERE big IS NOT NULL ORDER BY n", "SELECT count(*) AS n FROM plain WHERE str_match(log, '12')",
               "SELECT k8s_pod, max(n) AS m FROM plain WHERE ok GROUP BY 1 ORDER BY 1"]
        answers = [self.node.hits(q, size=5000) for q in sql]
        self.node.flush()
        self.assertEqual(self.node.files("plain"), [text_of(self.node.sealed_files("plain")[0])])
        [parquet] = self.node.sealed_files("plain")
        self.assertEqual(parquet, active.replace(".ndjson", ".parquet"))
        for q, answer in zip(sql, answers):
            self.assertEqual(self.node.hits(q, size=5000), answer, q)
        with open(text_of(parquet), "rb") as file:
            after = [json.loads(line) for line in file]
        self.assertEqual(after, before)
        self.assertEqual(os.path.getsize(text_of(parquet)), size)

    def test_extended_attributes_tell_what_a_sealed_file_holds(self):
        t = now_us()
        self.node.post_json("attributes", [{"_timestamp": t + i, "a": i} for i in range(10)])
        [active] = self.node.files("attributes")
        self.assertEqual((xattr(active, "state"), xattr(active, "rows")), ("active", "10"))
        self.node.flush()
        [parquet] = self.node.sealed_files("attributes")
        self.assertEqual([xattr(parquet, k) for k in ("state", "rows", "min_ts", "max_ts")], ["sealed", "10", str(t), str(t + 9)])
        digest = subprocess.run(["sha256sum", parquet], check=True, capture_output=True, text=True).stdout.split()[0]
        self.assertEqual(xattr(parquet, "sha256"), digest)

    def test_an_independent_reader_finds_the_types_the_field_numbers_and_the_facts(self):
        self.node.post_json("readable", list(varied_records(500)))
        rows = self.node.lines("readable")
        self.node.flush()
        found = read_parquet(self.node.sealed_files("readable")[0])
        if found is None:
            self.skipTest("tools/test-python failed")
        facts, read = found
        self.assertEqual(read, rows)
        types = {name: kind for name, kind, _ in facts["columns"]}
        self.assertEqual({k: types[k] for k in ("_timestamp", "level", "n", "ratio", "ok", "big")},
                         {"_timestamp": "int64", "level": "string", "n": "int64", "ratio": "double", "ok": "bool", "big": "uint64"})
        numbers = [number for _, _, number in facts["columns"]]
        self.assertEqual(len(set(numbers) - {""}), len(numbers))
        with open(f"{self.node.mount}/default/logs/readable/schema.json") as file:
            fields = {f["name"]: str(f["number"]) for f in json.load(file)["fields"]}
        self.assertEqual({name: number for name, _, number in facts["columns"]}, fields)
        self.assertEqual((facts["metadata"]["records"], facts["metadata"]["min_ts"]), ("500", str(rows[0]["_timestamp"])))

    def test_fields_that_few_records_have_share_a_column(self):
        records = list(sparse_records(3000))
        self.node.post_json("rare", records)
        queries = ["SELECT * FROM rare ORDER BY _timestamp", "SELECT count(f390) AS n, min(f391) AS a, max(f392) AS b, max(f394) AS c FROM rare",
                   "SELECT seq, f397 FROM rare WHERE f397 > 100 ORDER BY f397", "SELECT f395, count(*) AS n FROM rare GROUP BY f395 ORDER BY n DESC, f395"]
        before = [self.node.hits(q, size=5000) for q in queries]
        self.assertEqual(before[0], records)
        self.node.flush()
        self.assertEqual([self.node.hits(q, size=5000) for q in queries], before)
        [part] = self.node.sealed_files("rare")
        with open(text_of(part), encoding="utf-8") as text:
            self.assertEqual([json.loads(line) for line in text], records)
        found = read_parquet(part)
        if found:
            facts, _ = found
            names = [name for name, _, _ in facts["columns"]]
            self.assertEqual((names[-1], len(names) < 60, facts["columns"][-1][1]), ("rare-fields", True, "string"))
        self.node.post_json("rare", [{"f397": "a text from now on"}])
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM rare WHERE f397 = '-103' OR f397 = 'a text from now on'")[0]["n"] > 0, True)

    def test_a_second_flush_has_nothing_to_do_and_late_records_open_a_new_part(self):
        t = now_us()
        self.node.post_json("late", [{"_timestamp": t, "a": 1}])
        self.node.flush()
        self.node.flush()
        self.assertEqual(len(self.node.sealed_files("late")), 1)
        self.node.post_json("late", [{"_timestamp": t - 10, "a": 2}])
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM late"), [{"n": 2}])
        self.node.flush()
        self.assertEqual(len(self.node.sealed_files("late")), 2)
        self.assertEqual([h["a"] for h in self.node.hits("SELECT a FROM late ORDER BY _timestamp")], [2, 1])

    def test_an_open_handle_goes_on_reading_the_same_bytes(self):
        self.node.post_json("handle", [{"i": i, "pad": "x" * 500} for i in range(2000)])
        [active] = self.node.files("handle")
        with open(active, "rb") as file:
            first = file.read(1000)
            self.node.flush()
            self.assertFalse(os.path.basename(active) in os.listdir(os.path.dirname(active)))
            rest = file.read()
            file.seek(0)
            self.assertEqual(file.read(), first + rest)
        self.assertEqual((first + rest).count(b"\n"), 2000)

    def test_the_type_of_a_field_changes_before_and_after_a_seal(self):
        t = now_us()
        values = [True, 7, 2**63 + 5, 1.5, "seven"]
        for i, value in enumerate(values):
            self.node.post_json("types", [{"_timestamp": t + i, "v": value, f"only{i}": i}])
            if i % 2 == 0:
                self.node.flush()
            hits = self.node.hits("SELECT v FROM types ORDER BY _timestamp")
            self.assertEqual(len(hits), i + 1)
        hits = self.node.hits("SELECT * FROM types ORDER BY _timestamp")
        self.assertEqual([h["v"] for h in hits][-1], "seven")
        before = hits
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT * FROM types ORDER BY _timestamp"), before)
        self.assertEqual([h.get(f"only{i}") for i, h in enumerate(before)], list(range(5)))

    def test_each_type_after_each_other_reads_the_same_rare_or_not_sealed_or_not(self):
        values = [False, 9007199254740993, 2**64 - 1, -5, 1.5, 1e22, "abc", "a\0b"]
        pairs = list(itertools.product(values, values))
        t = now_us() - 100
        before, after = [{"_timestamp": t + 50 * k} | {f"v{i}": pair[k] for i, pair in enumerate(pairs)} for k in (0, 1)]
        crowd = {f"p{i}": 1 for i in range(16)}
        others = [{"_timestamp": t + n, "n": n} for n in range(1, 12)]
        sql = "SELECT " + ", ".join(f"v{i}" for i in range(len(pairs))) + " FROM {} WHERE v0 IS NOT NULL ORDER BY _timestamp"

        def answer(stream):
            """As the reply has it: there, 1, 1.0 and true differ."""
            return [{name: json.dumps(value) for name, value in hit.items()} for hit in self.node.hits(sql.format(stream))]

        self.node.post_json("pairs_lines", [before])
        self.node.post_json("pairs_lines", [after])
        want = answer("pairs_lines")
        self.assertEqual(len(want), 2)
        self.node.post_json("pairs_plain", [before])
        self.node.post_json("pairs_rare", [crowd | before] + others)
        self.node.flush()
        for stream, is_rare in (("pairs_plain", False), ("pairs_rare", True)):
            [part] = self.node.sealed_files(stream)
            found = read_parquet(part)
            if found:
                names = {name for name, _, _ in found[0]["columns"]}
                self.assertEqual([f"v{i}" in names for i in range(len(pairs))], [not is_rare] * len(pairs))
            with open(text_of(part), encoding="utf-8") as text:
                self.assertEqual(json.dumps(json.loads(text.readline()), sort_keys=True), json.dumps(before | crowd if is_rare else before, sort_keys=True))
            self.node.post_json(stream, [after])
        for is_sealed in (False, True):
            for stream in ("pairs_lines", "pairs_plain", "pairs_rare"):
                self.assertEqual(answer(stream), want, (stream, is_sealed))
            self.node.flush()

    def test_counting_in_a_loop_never_disagrees_with_what_was_acknowledged(self):
        sent = acknowledged = 0
        stop = threading.Event()
        failures = []

        def write():
            nonlocal sent, acknowledged
            while not stop.is_set():
                sent += 50
                status, reply = self.node.post_json("loop", [{"i": i, "pad": "y" * 200} for i in range(50)])
                if status != 200 or reply["status"][0]["failed"]:
                    failures.append((status, reply))
                acknowledged += 50

        def seal():
            while not stop.is_set():
                self.node.flush()

        threads = [threading.Thread(target=write), threading.Thread(target=seal)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: acknowledged > 0)
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline:
                low = acknowledged
                [hit] = self.node.hits("SELECT a.n AS a, b.n AS b FROM (SELECT count(*) AS n FROM loop) a, (SELECT count(*) AS n FROM loop) b")
                self.assertEqual(hit["a"], hit["b"])
                self.assertGreaterEqual(hit["a"], low)
                self.assertLessEqual(hit["a"], sent)
                folders = {os.path.dirname(p) for p in self.node.sealed_files("loop")}
                for folder in folders:
                    ids = [name.split(".")[0] for name in os.listdir(folder)]
                    self.assertEqual(len(ids), len(set(ids)), "a name stands twice")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM loop"), [{"n": acknowledged}])
        self.assertEqual(self.node.files("loop"), [text_of(p) for p in self.node.sealed_files("loop")])
        rows = sum(int(xattr(p, "rows")) for p in self.node.sealed_files("loop"))
        self.assertEqual(rows, acknowledged)

    def test_the_text_view_is_read_by_ordinary_programs(self):
        self.node.post_json("viewed", [{"i": i, "log": f"needle {i} " + "z" * (i % 300)} for i in range(20_000)])
        [active] = self.node.files("viewed")
        copy = os.path.join(self.node.scratch, "copy.ndjson")
        shutil.copyfile(active, copy)
        self.node.flush()
        [text] = self.node.files("viewed")
        self.assertTrue(filecmp.cmp(text, copy, shallow=False))

        def run(*command):
            return subprocess.run(command, check=True, capture_output=True).stdout

        self.assertEqual(run("wc", "-l", text).split()[0], b"20000")
        self.assertEqual(run("tail", "-n", "3", text), run("tail", "-n", "3", copy))
        self.assertEqual(run("grep", "-c", "needle 1999[0-9] ", text), b"10\n")
        found = run("grep", "-rl", "needle 19999 ", f"{self.node.mount}/default/logs/viewed").decode().split()
        self.assertEqual(found, [text])
        run("cmp", text, copy)
        with open(text, "rb") as file, open(copy, "rb") as same:
            rng = random.Random(3)
            size = os.path.getsize(copy)
            for _ in range(100):
                at, n = rng.randrange(size), rng.randrange(1, 100_000)
                file.seek(at)
                same.seek(at)
                self.assertEqual(file.read(n), same.read(n))

    def test_the_kernel_keeps_a_listing_for_as_long_as_it_is_right(self):
        def readdirs():
            with open(f"{self.node.mount}/.weir/stats.json") as file:
                return json.load(file)["fuse"]["readdirs"]

        def names():
            return sorted(os.path.basename(f) for f in self.node.sealed_files("kept"))

        t = now_us()
        self.node.post_json("kept", [{"_timestamp": t, "a": 1}])
        self.node.flush()
        [part] = self.node.sealed_files("kept")
        hour = os.path.dirname(part)
        self.assertEqual(os.listdir(hour), [os.path.basename(part)])
        before = readdirs()
        for _ in range(10):
            self.assertEqual(os.listdir(hour), [os.path.basename(part)])
        self.assertEqual(readdirs(), before)
        for i in range(5):
            self.node.post_json("kept", [{"_timestamp": t + i, "a": i}])
            self.assertEqual(len(os.listdir(hour)), i + 2)
            self.node.flush()
            self.assertEqual({n.split(".")[1] for n in os.listdir(hour)}, {"parquet"})
        self.assertEqual((len(os.listdir(hour)), sorted(os.listdir(hour))), (6, names()))

    def test_trees_are_copied_whole(self):
        t = now_us()
        for hour in range(3):
            self.node.post_json("copied", [{"_timestamp": t - hour * HOUR_US, "i": i} for i in range(100)])
        self.node.flush()
        source = f"{self.node.mount}/default/logs/copied"
        for command in (["cp", "-a", source, f"{self.node.scratch}/cp"], ["rsync", "-a", f"{source}/", f"{self.node.scratch}/rsync"]):
            if shutil.which(command[0]):
                subprocess.run(command, check=True, capture_output=True)
                same = subprocess.run(["diff", "-r", source, command[-1]], capture_output=True, text=True)
                self.assertEqual((same.returncode, same.stdout), (0, ""), command)

    def test_a_query_reads_only_the_parts_of_its_time(self):
        t = now_us()
        for hour in range(4):
            self.node.post_json("pruned", [{"_timestamp": t - hour * HOUR_US, "i": i} for i in range(10)])
        self.node.flush()
        status, reply = self.node.search("SELECT count(*) AS n FROM pruned", start=t - 1000, end=t + 1000)
        self.assertEqual((status, reply["hits"], reply["scan_records"]), (200, [{"n": 10}], 10))
        status, reply = self.node.search("SELECT count(*) AS n FROM pruned", start=t - 10 * HOUR_US, end=t + 1000)
        self.assertEqual((status, reply["hits"], reply["scan_records"]), (200, [{"n": 40}], 40))

    def test_metrics_of_an_hour_are_one_part_with_a_view_a_name(self):
        t = now_us()
        body = []
        for name in ("up", "http_requests_total", "Mixed_Case"):
            for series in range(5):
                body += [{"__name__": name, "job": f"j{series}", "instance": "i", "_timestamp": t - i * 1000, "value": i + series / 8} for i in range(20)]
        status, _, text = self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(body).encode())
        self.assertEqual(status, 200, text)
        path = "/api/default/_search?type=metrics"
        sql = "SELECT job, count(*) AS n, sum(value) AS s FROM http_requests_total GROUP BY job ORDER BY job"
        status, before = self.node.search(sql, path=path)
        self.assertEqual((status, len(before["hits"])), (200, 5), before)
        rows = self.node.search("SELECT * FROM up ORDER BY _timestamp, job", path=path, size=200)[1]["hits"]
        self.node.flush()
        self.assertEqual(self.node.search(sql, path=path)[1]["hits"], before["hits"])
        self.assertEqual(self.node.search("SELECT * FROM up ORDER BY _timestamp, job", path=path, size=200)[1]["hits"], rows)
        parts = self.node.sealed_files(".parts", kind="metrics")
        self.assertEqual(len(parts), 1)
        identity = os.path.basename(parts[0]).split(".")[0]
        for name in ("up", "http_requests_total", "Mixed_Case"):
            views = [p for p in subprocess.run(["find", f"{self.node.mount}/default/metrics/{name}", "-name", "*.ndjson"], check=True,
                                               capture_output=True, text=True).stdout.split() if "current" not in p]
            self.assertEqual([os.path.basename(v) for v in views], [f"{identity}.ndjson"])
            with open(views[0], "rb") as file:
                lines = [json.loads(line) for line in file]
            self.assertEqual((len(lines), {line["__name__"] for line in lines}), (100, {name}))
            self.assertEqual(os.path.getsize(views[0]), len(open(views[0], "rb").read()))


class SealWithoutFeatures(Seal):
    settings = {"WEIR_FUSE_FEATURES": "none"}


class SealByItself(unittest.TestCase):
    def setUp(self):
        self.node = TestNode(ZO_MAX_FILE_SIZE_ON_DISK="1", ZO_MAX_FILE_RETENTION_TIME="3", WEIR_JOURNAL_MAX=str(256 * MB))
        self.addCleanup(self.node.destroy)
        self.node.start()

    def test_size_and_age_are_reason_enough(self):
        self.node.post_json("size", [{"i": i, "pad": "p" * 1000} for i in range(1500)])
        wait_for(lambda: self.node.sealed_files("size"), what="a seal by size")
        self.node.post_json("age", [{"i": 1}])
        wait_for(lambda: self.node.sealed_files("age"), what="a seal by age")
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM size"), [{"n": 1500}])
        self.assertEqual(self.node.stop(), 0)

    def test_the_journal_stays_small_while_a_slow_stream_lives_beside_a_fast_one(self):
        sent, slow = 0, 0
        pad = "".join(random.Random(1).choices("abcdefghijklmnop", k=900))
        body = json.dumps([{"i": i, "pad": pad[i % 50 :]} for i in range(1000)]).encode()
        while sent < 600_000:  # more than twice what the journal holds
            status, reply = self.node.post_json("fast", body)
            if status == 503:
                time.sleep(0.05)
                continue
            self.assertEqual(status, 200, reply)
            sent += 1000
            if sent % 20_000 == 0:
                wait_for(lambda: self.node.post_json("slow", [{"i": slow}])[0] == 200, 60, "room for the slow stream")
                slow += 1
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM fast"), [{"n": sent}])
        self.assertEqual(self.node.hits("SELECT count(*) AS n, count(DISTINCT i) AS d FROM slow"), [{"n": slow, "d": slow}])
        used = sum(os.path.getsize(f"{self.node.data_dir}/journal/{f}") for f in os.listdir(f"{self.node.data_dir}/journal"))
        self.assertLessEqual(used, 256 * MB)
        self.assertEqual(os.listdir(f"{self.node.data_dir}/staging"), [])

    def test_everything_is_there_after_a_restart_and_after_kill_9(self):
        for i in range(20):
            self.node.post_json("again", [{"i": i, "j": j, "pad": "q" * 300} for j in range(500)])
        wait_for(lambda: self.node.sealed_files("again"))
        for stop in (self.node.stop, self.node.kill_everything):
            stop()
            self.node.start()
            self.assertEqual(self.node.hits("SELECT count(*) AS n, count(DISTINCT i * 1000 + j) AS d FROM again"), [{"n": 10_000, "d": 10_000}])
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM again"), [{"n": 10_000}])


class Reindex(NodeCase):  # nothing is sealed by itself meanwhile
    def test_an_index_made_anew_answers_equally(self):
        t = now_us()
        self.node.post_json("anew_rare", list(sparse_records(3000)))
        self.node.post_json("anew_gone", [{"a": 1}])
        for i in range(10):
            self.node.post_json("anew", [{"_timestamp": t - j * 60_000_000 * 20, "i": i, "j": j, "pad": "q" * 300} for j in range(14)])
            self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps([{"__name__": f"anew_{i}", "job": "a", "value": i}]).encode())
            if i in (3, 8):
                self.node.flush()
        queries = ["SELECT * FROM anew ORDER BY _timestamp, i", "SELECT count(*) AS n, min(i) AS a, max(j) AS b FROM anew",
                   "SELECT count(f394) AS n, max(f395) AS a, min(f396) AS b, max(f397) AS c, max(f399) AS d FROM anew_rare"]

        def answers():
            tree = subprocess.run(["find", f"{self.node.mount}/default", "-printf", "%P %s\n"], check=True, capture_output=True, text=True).stdout
            rows = [self.node.hits(q, size=1000) for q in queries]
            return rows, sorted(line for line in tree.split("\n") if ".json" not in line and not line.endswith(" 0"))

        self.assertEqual(self.node.raw("DELETE", "/api/default/streams/anew_gone?type=logs")[0], 200)
        before = answers()
        self.node.stop()
        shutil.rmtree(f"{self.node.data_dir}/index")
        done = subprocess.run([self.node.binary, "reindex"], env=self.node.env, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        checked = subprocess.run([self.node.binary, "fsck", "--data", self.node.data_dir], env=self.node.env, capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""), checked.stdout)
        self.node.start()
        self.assertEqual(answers(), before)


class Stopping(unittest.TestCase):
    def sealed_after_stop(self, streams, **settings):
        """Parts on the disk after a stop that finds the engine busy until then."""
        node = TestNode(ZO_HTTP_SHUTDOWN_TIMEOUT="60", **settings)
        self.addCleanup(node.destroy)
        node.start()
        engine = node.child("engine")
        stop_process(engine)
        for i in range(streams):
            self.assertEqual(node.post_json(f"stop_{i}", [{"n": n, "pad": "x" * 500} for n in range(20)])[0], 200)
        posted = time.monotonic()
        wait_for(lambda: time.monotonic() - posted > 2, what="an age of two seconds")
        os.kill(engine, signal.SIGCONT)
        self.assertEqual(node.stop(), 0)
        self.assertEqual(os.listdir(f"{node.data_dir}/staging"), [])
        return len(glob.glob(f"{node.data_dir}/sealed/*/*.parquet"))

    def test_a_stop_seals_what_is_due_and_nothing_else(self):
        self.assertEqual(self.sealed_after_stop(40, ZO_MAX_FILE_RETENTION_TIME="1"), 40)
        self.assertEqual(self.sealed_after_stop(10), 0)


class ManyNames(NodeCase):
    def test_more_names_than_one_part_takes_become_several(self):
        names, at = 9000, now_us() // 1_000_000
        for first in range(0, names, 3000):
            samples = [{"__name__": f"many_{i}", "__type__": "gauge", "_timestamp": at, "value": i} for i in range(first, first + 3000)]
            status, _, text = self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(samples).encode())
            self.assertEqual(status, 200, text)
        self.node.flush()
        self.assertEqual(len(self.node.sealed_files(".parts", kind="metrics")), 2)
        for i in (0, 8191, 8192, names - 1):
            status, reply = self.node.search(f"SELECT value FROM many_{i}", path="/api/default/_search?type=metrics")
            self.assertEqual((status, [h["value"] for h in reply["hits"]]), (200, [i]))


class CutOff(NodeCase):
    def test_a_seal_that_was_cut_off_leaves_nothing_in_staging(self):
        """A metrics part has another name at each try."""
        staging = f"{self.node.data_dir}/staging"
        at = now_us() // 1_000_000
        for victim in ("engine", "gateway"):
            samples = [{"__name__": "cut", "__type__": "gauge", "victim": victim, "series": str(i), "_timestamp": at, "value": i} for i in range(40_000)]
            for first in range(0, len(samples), 10_000):
                status, _, text = self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(samples[first:first + 10_000]).encode())
                self.assertEqual(status, 200, text)

            def flush():
                try:
                    self.node.raw("PUT", "/node/flush", timeout=60)
                except OSError:
                    pass  # the gateway is gone: that is the point

            flushing = threading.Thread(target=flush)
            flushing.start()
            wait_for(lambda: any(n.endswith(".parquet") for n in os.listdir(staging)), 30, "a staged file")
            self.node.kill_child(victim)
            flushing.join()
            self.node.flush()
            wait_for(lambda: os.listdir(staging) == [], 10, "an empty staging folder")
            status, reply = self.node.search(f"SELECT count(*) AS n FROM cut WHERE victim = '{victim}'", path="/api/default/_search?type=metrics")
            self.assertEqual((status, reply["hits"]), (200, [{"n": len(samples)}]))


class AnotherEngine(NodeCase):
    def test_a_flush_after_the_engine_died_is_done_by_the_next_one(self):
        for i in range(3):
            self.node.post_json("again", [{"i": i}])
            self.node.flush()
            self.node.kill_child("engine")
            wait_for(lambda: self.node.search("SELECT i FROM again")[0] == 200, what="the next engine")
        self.node.post_json("again", [{"i": 3}])
        self.node.flush()
        self.assertEqual(self.node.hits("SELECT count(*) AS n FROM again"), [{"n": 4}])


class ManySeals(NodeCase):
    @unittest.skipIf(SANITIZED, "a sanitizer keeps what was freed")
    def test_the_engine_remembers_nothing_of_the_parts_it_has_sealed(self):
        def resident_mb():
            engine = children(self.node)["engine"]
            with open(f"/proc/{engine}/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

        after = []
        for _ in range(3):
            for i in range(200):
                self.node.post_json(f"many_{i}", [{"n": n, "text": os.urandom(500).hex()} for n in range(200)])
            self.node.flush()
            after.append(resident_mb())
        self.assertLess(after[2] - after[0], 8, after)


class Damage(unittest.TestCase):
    """A byte turns over on the disk: a query does without the part, and says so."""

    def setUp(self):
        self.node = TestNode()
        self.addCleanup(self.node.destroy)
        self.node.start()
        for part in range(3):
            self.node.post_json("bad", [{"_timestamp": now_us(), "part": part, "log": "x" * 200} for _ in range(2000)])
            self.node.flush()
        self.stored = sorted(glob.glob(f"{self.node.data_dir}/sealed/*/*.parquet"))

    def flip(self, path):
        with open(path, "r+b") as file:
            file.seek(600)
            byte = file.read(1)[0]
            file.seek(600)
            file.write(bytes([byte ^ 1]))

    def assert_partial(self, sql, hits, part, **query):
        status, reply = self.node.search(sql, **query)
        self.assertEqual((status, reply["is_partial"]), (200, True), reply)
        self.assertEqual(len(reply["hits"]) if isinstance(hits, int) else reply["hits"], hits)
        self.assertIn(os.path.basename(part), reply["function_error"][0])
        return reply

    def test_a_query_runs_again_without_the_damaged_part(self):
        self.flip(self.stored[1])
        self.node.kill_child("fs")
        self.assert_partial("SELECT part, count(*) AS n FROM bad GROUP BY part ORDER BY part",
                            [{"part": 0, "n": 2000}, {"part": 2, "n": 2000}], self.stored[1])
        self.assert_partial("SELECT * FROM bad", 4000, self.stored[1], size=10000)
        reply = self.assert_partial("SELECT * FROM bad", [{"zo_sql_num": 4000}], self.stored[1], size=0, track_total_hits=True)
        self.assertEqual((reply["total"], reply["scan_files"]), (4000, 2))

    def test_a_file_that_is_gone_is_left_out_and_taken_again_when_it_is_back(self):
        os.rename(self.stored[0], self.stored[0] + ".away")
        self.node.kill_child("fs")
        self.assert_partial("SELECT count(*) AS n FROM bad", [{"n": 4000}], self.stored[0])
        os.rename(self.stored[0] + ".away", self.stored[0])
        status, reply = self.node.search("SELECT count(*) AS n FROM bad")
        self.assertEqual((status, reply["hits"], reply["is_partial"]), (200, [{"n": 6000}], False))
        self.assertNotIn("function_error", reply)

    def test_a_lost_sum_is_no_damage_and_is_made_again(self):
        sums = [path.replace(".parquet", ".sum") for path in self.stored]
        os.unlink(sums[0])
        with open(sums[1], "r+b") as file:
            file.truncate(10)
        self.node.kill_child("fs")
        status, reply = self.node.search("SELECT count(*) AS n FROM bad")
        self.assertEqual((status, reply["hits"], reply["is_partial"]), (200, [{"n": 6000}], False))
        self.assertTrue(os.path.getsize(sums[0]) > 10 and os.path.getsize(sums[1]) > 10)


if __name__ == "__main__":
    main()
