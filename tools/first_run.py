"""Starts a single node, feeds it data of this very machine, and says what to try (tools/run).

With --check it does the same in a scratch folder and verifies every step: over HTTP, on the mount,
after kill -9 of each process, and after a stop. Python's standard library only.
"""
import argparse
import base64
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

EMAIL = "root@example.com"
PASSWORD = "Complexpass#123"
FEED_SECONDS = 5
LONG_AGO_HOURS = "876000"  # the package log may be years old


class Failed(Exception):
    """What a person can act upon; shown without a traceback."""


class Node:
    """One `weir serve` process, its URL and its mount."""

    def __init__(self, binary, data_dir, port, log_path=None):
        self.binary = os.path.abspath(binary)
        self.data_dir = os.path.abspath(data_dir)
        self.mount = os.path.join(self.data_dir, "mnt")
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = log_path or os.path.join(os.path.dirname(self.data_dir), "weir.log")
        self.log_start = 0  # where this start's lines begin
        self.env = dict(
            os.environ,
            ZO_DATA_DIR=self.data_dir,
            ZO_HTTP_ADDR="127.0.0.1",
            ZO_HTTP_PORT=str(port),
            ZO_ROOT_USER_EMAIL=EMAIL,
            ZO_ROOT_USER_PASSWORD=PASSWORD,
            ZO_INGEST_ALLOWED_UPTO=LONG_AGO_HOURS,
        )
        self.process = None

    def start(self):
        os.makedirs(os.path.dirname(self.log_path), mode=0o711, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                [self.binary, "serve"], env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_ready()

    def wait_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(self.why_ended())
            try:
                if self.request("GET", "/healthz")[0] == 200 and os.path.isdir(f"{self.mount}/.weir"):
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.02)
        raise Failed(f"weir serve was not ready in {seconds} s:\n{self.log_tail()}")

    def log_tail(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return b"".join(log.readlines()[-20:]).decode(errors="replace")

    def why_ended(self):
        """How the node ended, with the reasons that its log gives, each once."""
        code = self.process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        reasons = dict.fromkeys(re.findall(r' ERROR .* reason="?((?:[^"\\]|\\.)*)', self.log_tail()))
        return "\n  ".join([f"weir serve ended ({how})", *reasons, f"all it said is in {short(self.log_path)}"])

    def stop(self):
        """SIGTERM; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def request(self, method, path, body=None):
        headers = {
            "Authorization": "Basic " + base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()
        }
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        req = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(req, timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def send(self, stream, records):
        """Post records to a stream; returns how many were stored."""
        stored = 0
        for start in range(0, len(records), 5000):
            status, text = self.request("POST", f"/api/default/{stream}/_json", records[start : start + 5000])
            if status != 200:
                raise Failed(f"POST {stream}/_json: {status} {text}")
            counts = json.loads(text)["status"][0]
            if counts["failed"]:
                raise Failed(f"POST {stream}/_json: {text}")
            stored += counts["successful"]
        return stored

    def sql(self, sql, size=100):
        now = int(time.time() * 1e6)
        status, text = self.request(
            "POST",
            "/api/default/_search",
            {"query": {"sql": sql, "start_time": 1_000_000, "end_time": now + 86_400_000_000, "size": size}},
        )
        if status != 200:
            raise Failed(f"{sql}: {status} {text}")
        return json.loads(text)["hits"]


# --- data of this machine -------------------------------------------------------------------------


def package_records():
    """The package manager's own log: one record a line."""
    records = []
    try:
        with open("/var/log/dpkg.log", errors="replace") as log:
            for line in log.readlines()[-20000:]:
                words = line.split()
                if len(words) < 3:
                    continue
                record = {"_timestamp": f"{words[0]}T{words[1]}", "action": words[2], "log": line.rstrip("\n")}
                if words[2] in ("install", "upgrade", "remove", "purge", "configure") and len(words) > 3:
                    record["package"] = words[3].split(":")[0]
                records.append(record)
    except OSError:
        pass
    return records


def process_records():
    """The process table: one record a process."""
    fields = ["pid", "ppid", "user", "pcpu", "pmem", "rss", "nlwp", "stat", "comm", "args"]
    lines = subprocess.run(
        ["ps", "-eo", ",".join(f + "=" for f in fields[:-1]) + ",args="], capture_output=True, text=True, check=True
    ).stdout.splitlines() if shutil.which("ps") else []
    records = []
    for line in lines:
        words = line.split(None, len(fields) - 1)
        if len(words) < len(fields):
            continue
        record = dict(zip(fields, words))
        for key in ("pid", "ppid", "rss", "nlwp"):
            record[key] = int(record[key])
        for key in ("pcpu", "pmem"):
            record[key] = float(record[key])
        records.append(record)
    return records


METRIC_LINE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')


def metric_records(text):
    """A node's own /metrics as records of a logs stream."""
    records = []
    for line in text.splitlines():
        match = METRIC_LINE.match(line)
        if not match:
            continue
        name, labels, value = match.groups()
        record = {"name": name, "value": float(value)}
        for key, quoted in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
            record["label_" + key] = quoted
        records.append(record)
    return records


class Journal:
    """The systemd journal where there is one, else the kernel's own log: what is new since last asked."""

    def __init__(self):
        self.cursor = None
        self.has_journal = shutil.which("journalctl") is not None
        self.kernel_seen = 0

    def records(self):
        found = self.from_journal() if self.has_journal else []
        return found or self.from_kernel()

    def from_journal(self):
        command = ["journalctl", "-o", "json", "--no-pager", "-q"]
        command += [f"--after-cursor={self.cursor}"] if self.cursor else ["-n", "5000"]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        records = []
        for line in result.stdout.splitlines():
            entry = json.loads(line)
            self.cursor = entry.pop("__CURSOR", self.cursor)
            entry["_timestamp"] = int(entry.pop("__REALTIME_TIMESTAMP", 0))
            entry["log"] = str(entry.pop("MESSAGE", ""))
            records.append({k: v for k, v in entry.items() if not k.startswith("__")})
        return records

    def from_kernel(self):
        result = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace", check=False)
        lines = result.stdout.splitlines()
        fresh, self.kernel_seen = lines[self.kernel_seen :], len(lines)
        booted = time.time() - float(open("/proc/uptime").read().split()[0])
        records = []
        for line in fresh:
            match = re.match(r"^\[\s*([\d.]+)\] (.*)", line)
            if match:
                when = int((booted + float(match.group(1))) * 1e6)
                records.append({"_timestamp": when, "facility": "kernel", "log": match.group(2)})
        return records


def feed_once(node, journal, first):
    """One round; returns {stream: records stored}."""
    sources = {"journal": journal.records(), "processes": process_records()}
    sources["weir_metrics"] = metric_records(node.request("GET", "/metrics")[1])
    if first:
        sources["packages"] = package_records()
    return {stream: node.send(stream, records) for stream, records in sources.items() if records}


# --- the two ways to run --------------------------------------------------------------------------


def short(path):
    """The path from here when it lies below, else whole."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside


def told(stored):
    return ", ".join(f"{n} {stream}" for stream, n in stored.items())


def show_welcome(node, stored):
    folder = os.path.join("$PWD", short(os.path.dirname(node.binary)))
    print(f"""
Weir is running. Records of this machine so far:
  {told(stored)}

  URL    {node.url}
  user   {EMAIL}, password {PASSWORD}
  mount  {short(node.mount)}
  log    {short(node.log_path)}

To try in another terminal (README.md has a longer tour):

  cd {os.getcwd()}
  export ZO_ROOT_USER_EMAIL={EMAIL} \\
    ZO_ROOT_USER_PASSWORD='{PASSWORD}' WEIR_URL={node.url}
  PATH={folder}:$PATH logs={short(node.mount)}/default/logs
  weir ls
  ls -R $logs/processes
  tail -F $logs/processes/current.ndjson | jq -c '{{pid,comm,pcpu}}'
  weir query 'SELECT comm, max(rss) AS rss_kb
    FROM processes GROUP BY comm ORDER BY rss_kb DESC LIMIT 5'

Ctrl-C stops it and unmounts.""", flush=True)


def refuse_taken_port(port):
    """Before the start, so that nothing is sent to whoever listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            other = f"ZO_HTTP_PORT={port + 10} ./tools/run takes another, ss -ltnp says who has this one"
            raise Failed(f"port {port}: {error.strerror}\n{other}") from error


def refuse_taken_data(node):
    """A node that runs here is said before its port, which another port would not mend."""
    try:
        with open(os.path.join(node.data_dir, "lock"), encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = int(lock.read() or 0)
                os.kill(owner, 0)
                raise Failed(
                    f"Weir is running here already: process {owner}, data in {short(node.data_dir)}\n"
                    f"Ctrl-C in its terminal or kill {owner} stops it; for a second one:\n"
                    "ZO_HTTP_PORT=5090 ZO_DATA_DIR=data/second ./tools/run"
                ) from None
    except (OSError, ValueError):
        pass  # none has been here, or its owner has just died: the node itself knows more


def feed_until(stop, node, journal):
    """Rounds of data until `stop`; a round that fails is said once, and the next is tried."""
    failing = False
    while not stop.wait(FEED_SECONDS):
        if node.process.poll() is not None:
            raise Failed(node.why_ended())
        try:
            feed_once(node, journal, first=False)
            if failing:
                print("data flows again", flush=True)
            failing = False
        except (OSError, http.client.HTTPException, Failed) as error:
            if not failing:
                print(f"no data for now, trying again: {error}", flush=True)
            failing = True


def run(binary):
    port = os.environ.get("ZO_HTTP_PORT") or "5080"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise Failed(f"ZO_HTTP_PORT={port}: expected a number, 1 to 65535")
    port = int(port)
    data_dir = os.environ.get("ZO_DATA_DIR") or "data/weir"
    node = Node(binary, data_dir, port, log_path=os.path.abspath(os.path.join(data_dir, "weir.log")))
    node.mount = os.environ.get("WEIR_MOUNT_DIR") or node.mount
    journal = Journal()
    stop = threading.Event()
    refuse_taken_data(node)
    refuse_taken_port(port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print("starting a node ...", flush=True)
    try:
        node.start()
        show_welcome(node, feed_once(node, journal, first=True))
        feed_until(stop, node, journal)
    finally:
        if node.process and node.process.poll() is None:
            print("\nstopping ...", flush=True)
            code = node.stop()
    print(f"stopped; the mount is gone. The data stays in {short(node.data_dir)}:")
    print("./tools/run goes on with it.")
    return code


def expect(truth, what):
    print(("ok    " if truth else "FAIL  ") + what, flush=True)
    if not truth:
        raise SystemExit(1)


def mounted_lines(node, stream):
    """Every line of a stream's files, read from the mount."""
    lines = []
    for folder, _, names in os.walk(f"{node.mount}/default/logs/{stream}"):
        for name in sorted(names):
            if name.endswith(".ndjson") and name != "current.ndjson":
                with open(os.path.join(folder, name), "rb") as file:
                    lines += file.read().splitlines()
    return lines


def children(node):
    """{name: pid} of the processes below the supervisor."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
                words = cmdline.read().split(b"\0")
        except OSError:
            continue
        if parent == node.process.pid and len(words) > 1:
            found[words[1].decode()] = int(pid)
    return found


def check_counts(node, stored, when):
    for stream, count in stored.items():
        answered = node.sql(f'SELECT count(*) AS n FROM "{stream}"')[0]["n"]
        lines = mounted_lines(node, stream)
        if not answered == count == len(lines):
            expect(False, f"{when}: {stream}: {count} acknowledged, {answered} by SQL, {len(lines)} lines on the mount")
    expect(stored, f"{when}: all {sum(stored.values())} records, by SQL and as lines")


def check_kills(node, stored):
    for name in ("engine", "gateway", "fs"):
        before = children(node).get(name)
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while children(node).get(name) in (None, before) and time.monotonic() < deadline:
            time.sleep(0.02)
        node.wait_ready()
        check_counts(node, stored, f"after kill -9 of {name}")
        stored["probe"] = stored.get("probe", 0) + node.send("probe", [{"log": f"after {name}", "n": 1}])
    check_counts(node, stored, "after writing again")


def check_mount(node):
    lines = mounted_lines(node, "processes")
    expect(all(json.loads(line)["_timestamp"] > 0 for line in lines), "every line is one JSON object with a time")
    found = subprocess.run(
        ["grep", "-rlF", "weir", f"{node.mount}/default/logs/processes"], capture_output=True, check=False
    )
    expect(found.returncode == 0, "grep -r finds our own processes on the mount")
    try:
        open(f"{node.mount}/default/new", "w").close()
        expect(False, "the mount is read-only")
    except OSError as error:
        expect(error.errno == 30, "a stray write gets EROFS")


def check(binary):
    scratch = tempfile.mkdtemp(prefix="weir-check-")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = Node(binary, os.path.join(scratch, "weir"), port)
    node.env.pop("WEIR_MOUNT_DIR", None)
    try:
        began = time.monotonic()
        node.start()
        print(f"ok    ready after {time.monotonic() - began:.2f} s", flush=True)
        stored = feed_once(node, Journal(), first=True)
        expect(sum(stored.values()) > 0, f"fed {told(stored)}")
        check_counts(node, stored, "at once")
        check_mount(node)
        top = node.sql("SELECT comm, max(rss) AS rss_kb FROM processes GROUP BY comm ORDER BY rss_kb DESC LIMIT 3")
        expect(
            len(top) == 3 and top[0]["rss_kb"] >= top[2]["rss_kb"],
            "SQL over HTTP: the most memory have " + ", ".join(row["comm"] for row in top),
        )
        check_kills(node, stored)
        os.killpg(node.process.pid, signal.SIGKILL)
        node.process.wait()
        node.start()
        check_counts(node, stored, "after kill -9 of everything")
        expect(node.stop() == 0, "SIGTERM stops the node with exit code 0")
        mounts = open("/proc/self/mountinfo").read()
        expect(f" {node.mount} " not in mounts, "nothing is left mounted")
        node.start()
        check_counts(node, stored, "after an orderly restart")
        expect(node.stop() == 0, "and it stops again")
        print("all is well")
        return 0
    finally:
        node.stop()
        subprocess.run(["fusermount3", "-uzq", node.mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(scratch, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    try:
        sys.exit(check(args.binary) if args.check else run(args.binary))
    except KeyboardInterrupt:
        sys.exit(130)
    except PermissionError as why:
        sys.exit(f"tools/run: {why.filename}: {why.strerror}\nIf root made it: sudo ./tools/run; ZO_DATA_DIR names another folder")
    except OSError as why:
        sys.exit(f"tools/run: {why.filename}: {why.strerror}\nZO_DATA_DIR names another folder" if why.filename else f"tools/run: {why}")
    except Failed as why:
        sys.exit(f"tools/run: {why}")


if __name__ == "__main__":
    main()
