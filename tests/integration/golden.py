"""Replays transcripts of real OpenObserve servers against a node and compares the replies.

A case is equal when status, code and the stored or returned values are; what varies from run to run
(times, ids, sizes, texts of parser errors) is not compared. Differences that are wanted stand in
golden_differences.json, each with its reason; what is neither equal nor listed there is wrong.
"""
import base64
import datetime
import json
import os
import re
import time

from weirlib import SHARED

GOLDEN = os.path.join(SHARED, "golden")
VOLATILE = {
    "took", "took_detail", "trace_id", "scan_size", "idx_scan_size", "peak_memory_usage", "cached_ratio", "result_cache_ratio",
    "created_at", "instance", "storage_size", "compressed_size", "index_size", "id", "hash", "token", "passcode", "__hash__", "_o2_id",
    "order_by_metadata", "order_by", "is_histogram_eligible", "scan_records", "histogram_interval", "new_start_time", "new_end_time",
    "doc_time_min", "doc_time_max", "file_num", "error_detail", "message", "error", "function_error", "columns", "work_group",
    "converted_histogram_query", "response_type", "streaming_output", "streaming_id",
}
PLACEHOLDER = re.compile(r"\{\{(now_(?:us|ms|s|ns)|rfc3339|strftime|cap)([+-]\d+)?(?::([^}]*))?(?: ([*/]) (\d+))?\}\}")
RECORDED = (1_795_300_000_000_000, 1_795_400_000_000_000)
SEARCHED_AT_US = 1_795_387_940_000_000  # about when the topics of searches were recorded
PHASE_US = 600_000_000
RECORDED_TEXT = re.compile(r"2026-11-2[23]T\d\d:\d\d:\d\dZ?")
ANY = "(a time of the recording)"
UNITS = {"now_us": 1, "now_ms": 1000, "now_s": 1_000_000, "now_ns": None}


def in_phase(now_us):
    """The last moment that cuts into buckets as the recorded one did: the same second of ten minutes, and no hour begins
    within the twelve minutes of records before it."""
    now_us -= (now_us - SEARCHED_AT_US) % PHASE_US
    return now_us - PHASE_US if now_us // PHASE_US % 6 == 0 else now_us


class Clock:
    """The fixed `now` of one topic, and what earlier replies gave."""

    def __init__(self, topic):
        self.now_us = int(time.time() * 1e6)
        if topic.startswith("search_"):
            self.now_us = in_phase(self.now_us)
        self.captured = {}

    def value(self, match):
        kind, offset, text, operator, factor = match.groups()
        offset = int(offset or 0)
        if kind == "cap":
            return str(self.captured.get(text, ""))
        if kind in ("rfc3339", "strftime"):
            moment = datetime.datetime.fromtimestamp((self.now_us + offset) / 1e6, datetime.timezone.utc)
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ" if kind == "rfc3339" else text)
        value = (self.now_us * 1000 if kind == "now_ns" else self.now_us // UNITS[kind]) + offset
        if operator:
            value = value * int(factor) if operator == "*" else value // int(factor)
        return str(value)

    def fill(self, text):
        return PLACEHOLDER.sub(self.value, text)


def request_body(request, clock):
    body = request.get("body")
    if body is None:
        return b""
    if request.get("body_encoding") == "base64" or (isinstance(body, dict) and "__base64__" in body):
        return base64.b64decode(body["__base64__"] if isinstance(body, dict) else body)
    return clock.fill(body if isinstance(body, str) else json.dumps(body)).encode()


def expected_body(case, clock):
    body = case["response"].get("body")
    if body is None:
        return None
    filled = json.loads(PLACEHOLDER.sub(clock.value, json.dumps(recorded_times(body))))
    return numbers(filled)


def recorded_times(value):
    """A time of the recording itself cannot be the same in a replay: ANY stands for it."""
    if isinstance(value, dict):
        return {k: recorded_times(v) for k, v in value.items()}
    if isinstance(value, list):
        return [recorded_times(v) for v in value]
    if isinstance(value, int) and RECORDED[0] < value < RECORDED[1]:
        return ANY
    if isinstance(value, str) and RECORDED_TEXT.fullmatch(value):
        return ANY
    return value


def allow(want, got):
    """`got` with ANY where `want` has it."""
    if want == ANY and isinstance(got, (int, str)):
        return ANY
    if isinstance(want, dict) and isinstance(got, dict):
        return {k: allow(want.get(k), v) for k, v in got.items()}
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [allow(w, g) for w, g in zip(want, got)]
    return got


def numbers(value):
    """A string that is nothing but a time stands for a number."""
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [numbers(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"1[78]\d{14,17}", value):
        return int(value)
    return value


def essence(value, skip=frozenset()):
    """What is compared of a reply."""
    if isinstance(value, dict):
        return {k: essence(v, skip) for k, v in value.items() if k not in VOLATILE and k not in skip}
    if isinstance(value, list):
        return [essence(v, skip) for v in value]
    if isinstance(value, float):
        return float(f"{value:.12g}")
    return value


def sort_key(value):
    return json.dumps(value, sort_keys=True)


def compare_hits(want, got, sql):
    if not isinstance(want, list) or not isinstance(got, list):
        return want == got
    if want == got:
        return True
    return sorted(map(sort_key, want)) == sorted(map(sort_key, got))


def uncounted(want, got):
    """`got` without the rows that it counts where `want` counts none: of statistics, which the reference fills later."""
    if isinstance(want, dict) and isinstance(got, dict):
        return {k: 0 if k == "doc_num" and want.get(k) == 0 else uncounted(want.get(k), v) for k, v in got.items()}
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [uncounted(w, g) for w, g in zip(want, got)]
    return got


def compare(case, want_status, want, got_status, got):
    """None, or what differs."""
    counted = allow(want, got)
    difference = compare_counted(case, want_status, want, got_status, uncounted(want, counted))
    return difference or ("statistics of what is stored" if uncounted(want, counted) != counted else None)


def compare_counted(case, want_status, want, got_status, got):
    if want_status != got_status:
        return f"status {got_status}, not {want_status}"
    if not isinstance(want, dict) or not isinstance(got, dict):
        if isinstance(want, list) and isinstance(got, list):
            return None if sorted(map(sort_key, essence(want))) == sorted(map(sort_key, essence(got))) else "another list"
        return None if isinstance(want, type(got)) or want in (None, "") else f"another kind of body: {type(got).__name__}"
    if want.get("code") != got.get("code"):
        return f"code {got.get('code')}, not {want.get('code')}"
    if want_status >= 400:
        return None
    if "hits" in want:
        if not compare_hits(essence(want["hits"]), essence(got.get("hits")), case):
            bare = [{k: v for k, v in hit.items() if k != "_timestamp"} if isinstance(hit, dict) else hit for hit in want["hits"]]
            return "an added _timestamp" if compare_hits(essence(bare), essence(got.get("hits")), case) else "other hits"
        for key in ("total", "from", "size", "is_partial"):
            if key in want and want[key] != got.get(key):
                return f"{key} {got.get(key)}, not {want[key]}"
        missing = sorted(set(want) - set(got) - VOLATILE)
        return f"without {', '.join(missing)}" if missing else None
    left, right = essence(want), essence(got)
    if left == right:
        return None
    for key in sorted(set(left) | set(right)):
        if left.get(key) != right.get(key) and not (isinstance(left.get(key), list) and isinstance(right.get(key), list)
                                                    and sorted(map(sort_key, left[key])) == sorted(map(sort_key, right[key]))):
            return f"{key}: {json.dumps(right.get(key))[:200]}, not {json.dumps(left.get(key))[:200]}"
    return None


def capture(case, body, clock):
    for name, path in (case.get("capture") or {}).items():
        value = body
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) and part.isdigit() else (value or {}).get(part) if isinstance(value, dict) else None
        clock.captured[name] = value


def parse(text):
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")


def replay(node, topic):
    """Yields (case, difference or None, reply) of each case of a topic, in order."""
    with open(os.path.join(GOLDEN, f"{topic}.json"), encoding="utf-8") as file:
        cases = json.load(file)
    clock = Clock(topic)
    for case in cases:
        request = case.get("request")
        if request is None or case["response"].get("status") is None:
            continue
        headers = dict(request.get("headers") or {})
        body = request_body(request, clock)
        path = clock.fill(request["path"])
        try:
            status, _, text = node.raw(request["method"], path, body, headers, auth=None)
        except OSError as error:
            yield case, f"no reply: {error}", None
            continue
        got = parse(text)
        capture(case, got, clock)
        yield case, compare(case, case["response"]["status"], expected_body(case, clock), status, got), (status, got)


__all__ = ["GOLDEN", "replay"]
