"""Measures the figures that the README records.

usage: tests/bench/run_bench.py [FIGURE ...]     (all figures when none is named)
Each figure prints one line of JSON; ratios compare runs of one invocation. Nothing is asserted.
"""
import argparse
import base64
import collections
import contextlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
os.environ.setdefault("WEIR_BINARY", os.path.join(HERE, "../../build/release/weir"))
from weirlib import EMAIL, PASSWORD, ROOT, TestNode, children, wait_for  # noqa: E402

AUTH = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()


def build(name):
    path = os.path.join(tempfile.gettempdir(), f"weir-{name}-{os.getuid()}")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"{HERE}/{name}.c", "-o", path, "-lpthread"], check=True)
    return path


LOAD = None


def load(node, *args):
    command = [LOAD, args[0], str(node.port), AUTH, *map(str, args[1:])]
    return json.loads(subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True).stdout)


def hwm_mb(node):
    """Sum of VmHWM of all processes of the node, and each."""
    pids = {"supervisor": node.process.pid, **children(node)}
    each = {}
    for name, pid in pids.items():
        with open(f"/proc/{pid}/status") as status:
            each[name] = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    return {"sum_mb": round(sum(each.values()), 1), **{k: round(v, 1) for k, v in each.items()}}


def rss_mb(node):
    total = 0
    for pid in [node.process.pid, *children(node).values()]:
        with open(f"/proc/{pid}/status") as status:
            total += int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024
    return round(total, 1)


def cpu_seconds(node):
    pids = {"supervisor": node.process.pid, **children(node)}
    tick = os.sysconf("SC_CLK_TCK")
    used = {}
    for name, pid in pids.items():
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        used[name] = (int(fields[11]) + int(fields[12])) / tick
    return used


class Running:
    def __init__(self, **settings):
        self.node = TestNode(**settings)

    def __enter__(self):
        self.node.start()
        return self.node

    def __exit__(self, *_):
        self.node.destroy()


def latency():
    """1,000 requests a second of one record over 64 connections; the same over 1,000 streams."""
    with Running() as node:
        load(node, "paced", 64, 1000, 2, 1000)  # streams exist, caches are warm
        one = load(node, "paced", 64, 1000, 15, 1)
        many = load(node, "paced", 64, 1000, 15, 1000)
    return {"one_stream": one, "thousand_streams": many, "p99_ratio": round(many["p99_ms"] / one["p99_ms"], 2)}


def throughput():
    """1 MB bodies of 15-field records over 4 connections, 2 GB; memory after it."""
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 50)
        before = cpu_seconds(node)
        result = load(node, "bulk", 4, 1_000_000, 2000)
        after = cpu_seconds(node)
        result["cpu_s"] = {k: round(after[k] - before[k], 2) for k in after}
        result["memory"] = hwm_mb(node)
    return result


def visibility():
    """From the 200 until a read() on the mount and a _search show the record."""
    with Running() as node:
        node.post_json("seen", [{"i": 0}])
        node.hits("SELECT count(*) AS n FROM seen")
        path = node.files("seen")[0]
        reads, searches = [], []
        with open(path, "rb") as file:
            file.read()
            for i in range(1, 201):
                node.post_json("seen", [{"i": i}])
                began = time.perf_counter()
                wait_for(lambda: file.read(), what="the line")
                reads.append((time.perf_counter() - began) * 1000)
        for i in range(201, 301):
            node.post_json("seen", [{"i": i}])
            began = time.perf_counter()
            assert node.hits("SELECT max(i) AS i FROM seen") == [{"i": i}], "an answer without the record"
            searches.append((time.perf_counter() - began) * 1000)
    return {
        "read_ms": {"median": round(statistics.median(reads), 3), "max": round(max(reads), 3)},
        "search_ms": {"median": round(statistics.median(searches), 3), "max": round(max(searches), 3)},
        "search_missing": 0,
    }


def start():
    """Ready on an empty directory, and with 4 GB of journal to recover."""
    empty = []
    for _ in range(5):
        node = TestNode()
        began = time.perf_counter()
        node.start()
        empty.append(time.perf_counter() - began)
        node.destroy()
    node = TestNode()
    try:
        node.start()
        load(node, "bulk", 4, 1_000_000, 4000)
        node.kill_everything()
        began = time.perf_counter()
        node.start()
        full = time.perf_counter() - began
    finally:
        node.destroy()
    return {"empty_s": round(statistics.median(empty), 3), "after_4_gb_s": round(full, 3)}


def full():
    """WEIR_JOURNAL_MAX of 1 GiB reached: 503, nothing lost, reads and queries go on."""
    with Running(WEIR_JOURNAL_MAX="1GiB") as node:
        result = load(node, "bulk", 4, 1_000_000, 1600)
        status = node.post_json("bulk", [{"late": 1}])[0]
        began = time.perf_counter()
        rows = node.hits("SELECT count(*) AS n FROM bulk")[0]["n"]
        result = {
            "acknowledged": result["records"],
            "rows": rows,
            "refused_requests": result["errors"],
            "status_when_full": status,
            "count_s": round(time.perf_counter() - began, 2),
            "memory": hwm_mb(node),
        }
    return result


def query():
    """SQL over what is still lines: 200 MB of 15-field records."""
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 200)
        took = {}
        for name, sql in {
            "count": "SELECT count(*) AS n FROM bulk",
            "by level": "SELECT level, count(*) AS n FROM bulk GROUP BY level",
            "latest 100": "SELECT * FROM bulk ORDER BY _timestamp DESC LIMIT 100",
            "substring": "SELECT count(*) AS n FROM bulk WHERE str_match(log, 'orders/77')",
            "match_all": "SELECT count(*) AS n FROM bulk WHERE match_all('upstream 404')",
        }.items():
            began = time.perf_counter()
            node.hits(sql)
            took[name] = round(time.perf_counter() - began, 3)
        return {"seconds": took, "memory": hwm_mb(node)}


# ---- sealing: against the pinned DuckDB alone, in the same run ----

READ_JSON = "read_json([{files}], format='newline_delimited')"


def build_bare_duckdb():
    folder = subprocess.run([f"{ROOT}/tools/fetch-duckdb"], check=True, capture_output=True, text=True).stdout.strip()
    path = os.path.join(tempfile.gettempdir(), f"weir-bare-duckdb-{os.getuid()}")
    subprocess.run(["cc", "-O2", f"-I{folder}/include", f"{HERE}/bare_duckdb.c", "-o", path, f"-L{folder}/lib", "-lduckdb",
                    f"-Wl,-rpath,{folder}/lib"], check=True)
    return path


def bare_duckdb(*statements, repeat=1, threads=2):
    command = [build_bare_duckdb(), str(threads), str(repeat), *statements]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def quoted(paths):
    return ",".join(f"'{p}'" for p in paths)


def size_of(paths):
    return sum(os.path.getsize(p) for p in paths)


def copy_lines(node, stream, folder):
    """The lines of a stream, as plain files beside the node; their paths."""
    copies = []
    for i, path in enumerate(node.files(stream)):
        copies.append(f"{folder}/{i}.ndjson")
        shutil.copyfile(path, copies[-1])
    return copies


def seal():
    """Ingest over HTTP with sealing to the end, against DuckDB's read_json + COPY TO of the same lines."""
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 100, 1)
        node.flush()
        before, began = cpu_seconds(node), time.perf_counter()
        result = load(node, "bulk", 4, 1_000_000, 1000, 1)
        acknowledged = time.perf_counter() - began
        node.flush()
        took = time.perf_counter() - began
        cpu = {k: round(v - before[k], 2) for k, v in cpu_seconds(node).items() if k in before}
        texts = node.files("bulk")
        lines_mb = size_of(texts) / 1.1 / 1e6
        with tempfile.TemporaryDirectory(dir=node.scratch) as folder:
            copies = copy_lines(node, "bulk", folder)
            copy = f"COPY (SELECT * FROM {READ_JSON.format(files=quoted(copies))}) TO '{folder}/bare.parquet' (FORMAT parquet, COMPRESSION zstd)"
            [bare] = bare_duckdb(copy)
            bare_rate = size_of(copies) / 1e6 / bare
        rate = lines_mb / took
        return {"lines_mb": round(lines_mb), "to_the_end_mb_per_s": round(rate, 1), "acknowledged_mb_per_s": round(lines_mb / acknowledged, 1),
                "duckdb_mb_per_s": round(bare_rate, 1), "ratio": round(rate / bare_rate, 2), "cpu_s": cpu, "client": result, "memory": hwm_mb(node)}


def seal_memory():
    """Resident memory while 5 GB come in and are sealed."""
    with Running() as node:
        samples = []
        for _ in range(5):
            load(node, "bulk", 4, 1_000_000, 1000, 1)
            samples.append(rss_mb(node))
        node.flush()
        samples.append(rss_mb(node))
        journal = sum(e.stat().st_size for e in os.scandir(f"{node.data_dir}/journal")) / 1e6
        return {"rss_mb_after_each_gb": samples, "peak": hwm_mb(node), "journal_mb_at_the_end": round(journal)}


def seal_streams():
    """10,000 streams at equal volume against one: acknowledging and sealing; then one record each."""
    figures = {}
    for streams in (1, 10_000):
        with Running() as node:
            load(node, "bulk", 4, 100_000, streams * 0.1 if streams > 1 else 100, streams)
            node.flush()
            before = cpu_seconds(node)
            result = load(node, "bulk", 4, 100_000, 1000, streams)
            began = time.perf_counter()
            node.flush()
            cpu = {k: round(v - before[k], 2) for k, v in cpu_seconds(node).items() if k in before}
            figures[f"{streams} streams"] = {"acknowledged_mb_per_s": result["mb_per_s"], "flush_s": round(time.perf_counter() - began, 2),
                                             "cpu_s": cpu, "memory": hwm_mb(node)}
    with Running() as node:
        load(node, "paced", 64, 2000, 5, 10_000)
        before = cpu_seconds(node)
        node.flush()
        figures["one record each, 10,000 seals: cpu_s"] = round(sum(cpu_seconds(node).values()) - sum(before.values()), 1)
    return figures


def read_rate(path):
    """MB/s of a sequential read in 1 MiB blocks."""
    began = time.perf_counter()
    size = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            size += len(block)
    return size / 1e6 / (time.perf_counter() - began)


def drop_caches():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("1")


def sealed_read():
    """A sealed file through the mount against the file itself: cold (median of 9, in turns) and warm."""
    figures = {}
    for features in ("all", "none"):
        with Running(ZO_MAX_FILE_SIZE_ON_DISK="2000", WEIR_FUSE_FEATURES=features) as node:
            load(node, "bulk", 4, 1_000_000, 500, 1)
            node.flush()
            path = max(node.sealed_files("bulk"), key=os.path.getsize)
            name = os.path.basename(path)
            native = next(os.path.join(d, name) for d, _, names in os.walk(f"{node.data_dir}/sealed") if name in names)
            cold, rates = {"native": [], "mount": []}, {}
            read_rate(path)  # the first open after a start reads the whole file, to compare it with its sum
            for _ in range(9):
                for kind, file in (("native", native), ("mount", path)):
                    drop_caches()
                    cold[kind].append(read_rate(file))
            for kind, file in (("native", native), ("mount", path)):
                rates[f"{kind}_cold"] = statistics.median(cold[kind])
                rates[f"{kind}_warm"] = max(read_rate(file) for _ in range(5))
            figures[features] = {"mb": round(os.path.getsize(path) / 1e6), **{k: round(v) for k, v in rates.items()},
                                 "cold_ratio": round(rates["mount_cold"] / rates["native_cold"], 2),
                                 "warm_ratio": round(rates["mount_warm"] / rates["native_warm"], 2)}
    return figures


def find_seconds(folder):
    """Seconds of the quicker of two `find` over a tree that has been walked before, and the files it sees."""
    command = ["find", folder, "-type", "f", "-size", "+0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    best = None
    for _ in range(2):
        began = time.perf_counter()
        seen = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.count(b"\n")
        took = time.perf_counter() - began
        best = min(best or took, took)
    return best, seen


def copy_tree(source, target):
    """The same names and folders on the local disk, each file of one byte."""
    for folder, _, names in os.walk(source):
        here = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(here, exist_ok=True)
        for name in names:
            with open(os.path.join(here, name), "wb") as file:
                file.write(b"x")


def many_parts():
    """100,000 sealed parts in the index: ready, `find` over the mount against the local disk, memory of the fs process."""
    tool = os.path.join(os.path.dirname(os.environ["WEIR_BINARY"]), "tests/bench_parts")
    subprocess.run(["ninja", "-C", os.path.dirname(os.environ["WEIR_BINARY"]), "bench_parts"], check=True, stdout=subprocess.DEVNULL)
    with Running() as node, tempfile.TemporaryDirectory(prefix="weir-bench-tree-") as disk:
        node.post_json("old", [{"i": i, "pad": "x" * 100} for i in range(100)])
        node.flush()
        node.stop()
        subprocess.run([tool, node.data_dir, "100000"], check=True)
        began = time.perf_counter()
        node.start()
        ready = time.perf_counter() - began
        parts = f"{node.mount}/default/logs/old/"
        year = [d for d in os.listdir(parts) if d.isdigit()]
        before = hwm_mb(node)["fs"]
        mounted = [find_seconds(parts + d) for d in year]
        for d in year:
            copy_tree(parts + d, os.path.join(disk, d))
        local, _ = find_seconds(disk)
        took, seen = sum(m[0] for m in mounted), sum(m[1] for m in mounted)
        first = hwm_mb(node)["fs"]
        for _ in range(3):
            for d in year:
                find_seconds(parts + d)
        return {"ready_s": round(ready, 3), "files": seen, "find_s": round(took, 2), "find_on_disk_s": round(local, 2),
                "find_ratio": round(took / local, 2), "fs_mb_before": before, "fs_mb_after_find": first, "fs_mb_after_nine_more": hwm_mb(node)["fs"]}


QUERIES = {
    "count by level": "SELECT level, count(*) AS n FROM {t} GROUP BY level",
    "minute histogram": "SELECT {h} AS m, count(*) AS n FROM {t} GROUP BY m ORDER BY m",
    "latest 100": "SELECT * FROM {t} ORDER BY _timestamp DESC LIMIT 100",
    "substring": "SELECT count(*) AS n FROM {t} WHERE log LIKE '%orders/77%'",
    "by pod, p99": "SELECT kubernetes_pod_name, count(*) AS n, approx_quantile(duration_ms, 0.99) AS p FROM {t} GROUP BY 1 ORDER BY n DESC LIMIT 20",
}


def sealed_query():
    """SQL over 1 GB of lines, sealed: over HTTP and mount against the pinned DuckDB on the same files on disk."""
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 1000, 1)
        node.flush()
        names = {os.path.basename(p) for p in node.sealed_files("bulk")}
        native = [os.path.join(d, n) for d, _, files in os.walk(f"{node.data_dir}/sealed") for n in files if n in names]
        table = f"read_parquet([{quoted(native)}])"
        bare = bare_duckdb(*[q.format(t=table, h="time_bucket(INTERVAL 1 minute, make_timestamp(_timestamp))") for q in QUERIES.values()], repeat=3)
        figures = {}
        for (name, sql), alone in zip(QUERIES.items(), bare):
            took = []
            for _ in range(3):
                began = time.perf_counter()
                node.hits(sql.format(t="bulk", h="histogram(_timestamp, '1 minute')"))
                took.append(time.perf_counter() - began)
            allowed = 1.2 * alone + 0.001 * len(native)
            figures[name] = {"s": round(min(took), 3), "duckdb_s": round(alone, 3), "of_what_is_allowed": round(min(took) / allowed, 2)}
        return {"files": len(native), "parquet_mb": round(size_of(native) / 1e6), "queries": figures, "memory": hwm_mb(node)}


def sealed_size():
    """Parquet against zstd -3 of the same lines: the logs of ../shared/data/loghub, and Kubernetes-like ones."""
    figures = {}
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 100, 1)
        loghub = os.path.join(ROOT, "../shared/data/loghub")
        for name in sorted(os.listdir(loghub)) if os.path.isdir(loghub) else []:
            with open(os.path.join(loghub, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().split("\n")[:-1]
            base = int(time.time() * 1e6)
            for start in range(0, len(lines), 2000):
                node.post_json("loghub", [{"_timestamp": base + start + i, "source": name, "log": line} for i, line in enumerate(lines[start:start + 2000])])
        node.flush()
        for stream in ("bulk", "loghub"):
            texts = node.files(stream)
            if not texts:
                continue
            packed = subprocess.run(f"cat {' '.join(texts)} | zstd -3 -c | wc -c", shell=True, check=True, capture_output=True).stdout
            parquet = size_of(node.sealed_files(stream))
            figures[stream] = {"lines_mb": round(size_of(texts) / 1e6, 1), "zstd_mb": round(int(packed) / 1e6, 2), "parquet_mb": round(parquet / 1e6, 2),
                               "ratio": round(parquet / int(packed), 2)}
    return figures


def metrics_size():
    """10,000 series of 8 labels, 600 points each, as one part: bytes a sample, labels included."""
    series, points = 10_000, 600
    with Running(ZO_MAX_FILE_SIZE_ON_DISK="60000", ZO_MAX_FILE_RETENTION_TIME="36000", WEIR_JOURNAL_MAX="8GiB") as node:
        hour = int(time.time()) // 3600 * 3600_000_000
        for point in range(0, points, 5):
            for first in range(0, series, 5000):
                body = [{"__name__": f"metric_{s % 100:03}", "job": f"job-{s % 7}", "instance": f"10.0.{s % 50}.{s % 200}:9100", "pod": f"pod-{s:05}",
                         "namespace": f"ns-{s % 20}", "node": f"node-{s % 40}", "container": "main", "cluster": "eu-1", "le": f"{s % 12}",
                         "_timestamp": hour + p * 5_000_000, "value": s * 10 + p * (s % 17)}
                        for s in range(first, first + 5000) for p in range(point, point + 5)]
                status, _, text = node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(body).encode(), timeout=300)
                assert status == 200, text
        node.flush()
        parts = node.sealed_files(".parts", kind="metrics")
        took = []
        for _ in range(5):
            began = time.perf_counter()
            status, reply = node.search("SELECT count(*) AS n, sum(value) AS s FROM metric_050", path="/api/default/_search?type=metrics")
            took.append(time.perf_counter() - began)
            assert status == 200 and reply["hits"][0]["n"] == points * series // 100, reply
        return {"samples": series * points, "files": len(parts), "mb": round(size_of(parts) / 1e6, 2),
                "bytes_per_sample": round(size_of(parts) / (series * points), 3), "one_name_s": round(min(took), 4)}


def crowd():
    """10,000 open handles, 1,000 streams and 64 queries at once, beside ingest: memory of each process, and what fails."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Running() as node:
        load(node, "bulk", 4, 1_000_000, 200)
        load(node, "paced", 64, 1000, 3, 1000)
        node.flush()
        load(node, "paced", 64, 1000, 3, 1000)
        names = [s for s in os.listdir(f"{node.mount}/default/logs") if node.files(s)]
        sealed = node.sealed_files(names[0])
        paths = [p for s in names for p in node.files(s)[:1]] + sealed
        with contextlib.ExitStack() as handles:
            began = time.perf_counter()
            opened = [handles.enter_context(open(paths[i % len(paths)], "rb", buffering=0)) for i in range(10_000)]
            open_s = time.perf_counter() - began
            for file in opened[::10]:
                file.read(65536)
            took, failed = [], collections.Counter()

            def ask(i):
                sql = ("SELECT log, count(*) AS n FROM bulk GROUP BY log ORDER BY n DESC LIMIT 10", "SELECT * FROM bulk ORDER BY log LIMIT 100",
                       "SELECT count(*) AS n FROM bulk AS a JOIN bulk AS b ON a.trace_id = b.trace_id")[i % 3]
                for _ in range(3):
                    start = time.perf_counter()
                    status, reply = node.search(sql)
                    took.append(time.perf_counter() - start)
                    if status != 200:
                        failed[f"{status}: {reply['message'][:80]}"] += 1

            askers = [threading.Thread(target=ask, args=(i,)) for i in range(64)]
            for asker in askers:
                asker.start()
            ingest = load(node, "paced", 16, 200, 10, 1000)
            for asker in askers:
                asker.join()
            memory = hwm_mb(node)
        return {"handles": len(opened), "streams": len(names), "open_s": round(open_s, 2), "queries": len(took), "query_median_s": round(statistics.median(took), 2),
                "query_max_s": round(max(took), 2), "failed": dict(failed), "ingest_p99_ms": ingest["p99_ms"], "memory": memory}


def names_part(node, org, names):
    """One part of that many names, each with 50 series of 20 points; labels are other ones in each."""
    at = int(time.time() * 1e6)
    for first in range(0, names, 20):
        body = [{"__name__": f"metric_{i:04}", "job": "a", "instance": f"10.0.{i % 250}.{s}:9100", "pod": f"pod-{i}-{s}", "_timestamp": at - p * 15_000_000, "value": i + s + p}
                for i in range(first, min(first + 20, names)) for s in range(50) for p in range(20)]
        status, _, text = node.raw("POST", f"/api/{org}/ingest/metrics/_json", json.dumps(body).encode(), timeout=300)
        assert status == 200, text


def least_ms(action, values):
    took = []
    for value in values:
        began = time.perf_counter()
        action(value)
        took.append((time.perf_counter() - began) * 1000)
    return round(min(took), 1)


def metrics_names():
    """One name of a part of 10, 200 and 2,000 names: by SQL and by its text file, the quickest of 20."""
    figures = {}
    with Running(ZO_MAX_FILE_SIZE_ON_DISK="60000", ZO_MAX_FILE_RETENTION_TIME="36000") as node:
        sizes = {"n10": 10, "n200": 200, "n2000": 2000}
        for org, names in sizes.items():
            names_part(node, org, names)
        node.flush()

        def ask(org):
            status, reply = node.search("SELECT count(*) AS n, sum(value) AS s FROM metric_0007 WHERE pod <> 'x'", path=f"/api/{org}/_search?type=metrics")
            assert status == 200 and reply["hits"][0]["n"] == 1000, reply

        def read(path):
            with open(path, "rb") as file:
                assert file.read().count(b"\n") == 1000

        for org, names in sizes.items():
            assert len(node.sealed_files(".parts", org, "metrics")) == 1
            texts = [os.path.join(d, f) for i in range(10) for d, _, files in os.walk(f"{node.mount}/{org}/metrics/metric_{i:04}") for f in files if f.endswith(".ndjson")]
            figures[f"{names} names"] = {"sql_ms": least_ms(lambda _, o=org: ask(o), range(20)), "text_ms": least_ms(read, texts)}
    return figures


def journal():
    """The journal without FUSE and HTTP, next to a plain loop of write and fdatasync on the same disk."""
    build = os.path.dirname(os.path.abspath(os.environ["WEIR_BINARY"]))
    subprocess.run(["cmake", "--build", build, "--target", "bench_journal"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        lines = subprocess.run([f"{build}/tests/bench_journal", folder], check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in lines.stdout.splitlines()]


def append(node, stream, *args):
    path = f"{node.mount}/default/logs/{stream}/ingest"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    command = [build("append"), path, *map(str, args)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    stored = node.hits(f"SELECT count(*) AS n FROM {stream}")[0]["n"]
    assert stored == result["writes"] * result["lines"], (stored, result)
    return result


def many_handles(node, count):
    """Handles of one file, each with half a line for a while."""
    path = f"{node.mount}/default/logs/handles/ingest"
    os.makedirs(os.path.dirname(path))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    before, began = rss_mb(node), time.perf_counter()
    fds = [os.open(path, os.O_WRONLY | os.O_APPEND) for _ in range(count)]
    opened = time.perf_counter()
    for fd in fds:
        os.write(fd, b'{"half":')
    held = rss_mb(node)
    wrote = time.perf_counter()
    for i, fd in enumerate(fds):
        os.write(fd, b"%d}\n" % i)
    ended = time.perf_counter()
    for fd in fds:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    stored = node.hits("SELECT count(DISTINCT half) AS n FROM handles")[0]["n"]
    return {"handles": count, "records": stored, "open_us": round((opened - began) / count * 1e6, 1),
            "write_us": round((ended - wrote) / count * 1e6, 1), "memory_mb": [before, held, rss_mb(node)]}


def ingest_file():
    """Appends to the file ingest: 200-byte lines, not fsynced; then 10,000 handles."""
    with Running() as node:
        append(node, "warm", 1, 1, 1)
        before = cpu_seconds(node)
        one = append(node, "one", 1, 1, 5)
        after = cpu_seconds(node)
        one["cpu_us_a_write"] = {k: round((after[k] - before[k]) / one["writes"] * 1e6, 1) for k in after}
        return {"one_writer": one, "twenty_single": append(node, "single", 20, 1, 10),
                "twenty_blocks": append(node, "blocks", 20, 20, 10), "many_handles": many_handles(node, 10000)}


FIGURES = {f.__name__: f for f in (latency, throughput, visibility, start, full, query, journal, seal, seal_memory, seal_streams, sealed_read,
                                   sealed_query, sealed_size, metrics_size, metrics_names, many_parts, crowd, ingest_file)}


def main():
    global LOAD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], default=[])
    args = parser.parse_args()
    LOAD = build("load")
    print(json.dumps({"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}))
    for name in args.figures or FIGURES:
        print(json.dumps({name: FIGURES[name]()}), flush=True)


if __name__ == "__main__":
    main()
