"""Measures the figures that the README records.

usage: tests/bench/run_bench.py [FIGURE ...]     (all figures when none is named)
Each figure prints one line of JSON; ratios compare runs of one invocation. Nothing is asserted.
"""
import argparse
import base64
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
os.environ.setdefault("WEIR_BINARY", os.path.join(HERE, "../../build/release/weir"))
from weirlib import EMAIL, PASSWORD, TestNode, children, wait_for  # noqa: E402

AUTH = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()


def build_load():
    path = os.path.join(tempfile.gettempdir(), f"weir-load-{os.getuid()}")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"{HERE}/load.c", "-o", path, "-lpthread"], check=True)
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


FIGURES = {f.__name__: f for f in (latency, throughput, visibility, start, full, query)}


def main():
    global LOAD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[[], *FIGURES], default=[])
    args = parser.parse_args()
    LOAD = build_load()
    print(json.dumps({"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}))
    for name in args.figures or FIGURES:
        print(json.dumps({name: FIGURES[name]()}), flush=True)


if __name__ == "__main__":
    main()
