"""Replays transcripts of real OpenObserve servers against a node.

Topics of searches are replayed at the very time of the recording, so that every bucket and every time is the recorded
one; the node then takes records of that age. The others are replayed now, and their times are not compared.
"""
import base64
import datetime
import gzip
import json
import os
import re
import time

from golden_compare import compare, recorded_times
from weirlib import SHARED

GOLDEN = os.path.join(SHARED, "golden")
PLACEHOLDER = re.compile(r"\{\{(now_(?:us|ms|s|ns)|rfc3339|strftime|cap)([+-]\d+)?(?::([^}]*))?(?: ([*/]) (\d+))?\}\}")
UNITS = {"now_us": 1, "now_ms": 1000, "now_s": 1_000_000, "now_ns": None}
LONG_AGO_HOURS = "876000"
# The `now` of a recording in microseconds: said by a reply, else some milliseconds before the first one.
RECORDED_AT = {
    "search_basic": 1_795_387_949_234_000,
    "search_request_fields": 1_795_387_954_862_325,
    "search_errors": 1_795_387_958_031_000,
    "search_functions": 1_795_387_961_697_000,
    "search_around_values_partition": 1_795_387_971_218_060,
    "after_flush_to_parquet": 1_795_388_221_317_000,
    "search_limits": 1_795_388_625_853_620,
}


def settings(topic):
    """What the node of a topic needs."""
    return {"ZO_INGEST_ALLOWED_UPTO": LONG_AGO_HOURS} if topic in RECORDED_AT else {}


class Clock:
    """The fixed `now` of one topic, and what earlier replies gave."""

    def __init__(self, topic):
        self.is_recorded = topic in RECORDED_AT
        self.now_us = RECORDED_AT.get(topic, int(time.time() * 1e6))
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


# ---- requests ----

def numbered_records(now_us):
    return json.dumps([{"_timestamp": now_us - 3_000_000_000 + i * 1_000_000, "i": i, "g": f"g{i % 1500}"} for i in range(2500)])


def long_search(now_us):
    sql = 'SELECT i FROM "glim" LIMIT 1' + " " * 3_000_000
    return json.dumps({"query": {"sql": sql, "start_time": now_us - 3_600_000_000, "end_time": now_us}})


# Bodies that the recording only describes, by the beginning of the description.
DESCRIBED = {
    "(generated: JSON array of 2500 objects": numbered_records,
    '(209715202 bytes: "[", blanks, "]")': lambda now_us: "[" + " " * 209_715_200 + "]",
    '(104857601 bytes: "[", blanks, "]")': lambda now_us: "[" + " " * 104_857_599 + "]",
    "(valid search request, its sql followed by 3,000,000 blanks)": long_search,
}


def request_body(request, clock):
    body = request.get("body")
    if body is None:
        return b""
    if request.get("body_encoding") == "base64" or (isinstance(body, dict) and "__base64__" in body):
        return base64.b64decode(body["__base64__"] if isinstance(body, dict) else body)
    for beginning, make in DESCRIBED.items():
        if isinstance(body, str) and body.startswith(beginning):
            return make(clock.now_us).encode()
    return clock.fill(body if isinstance(body, str) else json.dumps(body)).encode()


# ---- replies ----

def plain(response):
    """The recorded body, unpacked when it was recorded compressed."""
    body = response.get("body")
    if isinstance(body, dict) and response.get("headers", {}).get("content-encoding") == "gzip":
        return json.loads(gzip.decompress(base64.b64decode(body["__base64__"])))
    return body


def numbers(value):
    """A string that is nothing but a time stands for a number."""
    if isinstance(value, dict):
        return {k: v if k == "zo_sql_key" else numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [numbers(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"1[78]\d{14,17}", value):
        return int(value)
    return value


def expected_body(case, clock):
    body = plain(case["response"])
    if body is None:
        return None
    return numbers(json.loads(clock.fill(json.dumps(body if clock.is_recorded else recorded_times(body)))))


def parse(text, headers):
    if headers.get("content-encoding") == "gzip":
        text = gzip.decompress(text)
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")


def capture(case, body, clock):
    for name, path in (case.get("capture") or {}).items():
        value = body
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) and part.isdigit() else (value or {}).get(part) if isinstance(value, dict) else None
        clock.captured[name] = value


def replay(node, topic):
    """Yields (case, difference or None, (status, body)) of each case of a topic, in order."""
    with open(os.path.join(GOLDEN, f"{topic}.json"), encoding="utf-8") as file:
        cases = json.load(file)
    clock = Clock(topic)
    for case in cases:
        request = case.get("request")
        if request is None and case.get("wait_seconds"):
            node.flush()
        if request is None or case["response"].get("status") is None:
            continue
        try:
            status, headers, text = node.raw(request["method"], clock.fill(request["path"]), request_body(request, clock),
                                             dict(request.get("headers") or {}), auth=None)
        except OSError as error:
            yield case, f"no reply: {error}", (None, None)
            continue
        got = parse(text, headers)
        capture(case, got, clock)
        yield case, compare(case, case["response"]["status"], expected_body(case, clock), status, got), (status, got)


__all__ = ["GOLDEN", "replay", "settings"]
