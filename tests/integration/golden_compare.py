"""Compares a reply with a recorded one: status, code, and what was stored or returned.

`compare` gives None or one line that says what differs. What varies from run to run (VOLATILE) and the texts of
errors are not compared. The order of hits is compared where the recording says by what they are ordered.
"""
import itertools
import json
import re

VOLATILE = {
    "took", "took_detail", "trace_id", "scan_size", "idx_scan_size", "peak_memory_usage", "cached_ratio", "result_cache_ratio",
    "created_at", "instance", "storage_size", "compressed_size", "index_size", "id", "hash", "token", "passcode", "__hash__", "_o2_id",
    "scan_records", "original_size", "doc_time_min", "doc_time_max", "file_num", "error_detail", "message", "error", "function_error",
    "streaming_id", "rum_token",
}
BESIDE_HITS = (
    "total", "from", "size", "is_partial", "histogram_interval", "order_by", "order_by_metadata", "is_histogram_eligible",
    "new_start_time", "new_end_time", "converted_histogram_query", "response_type", "work_group", "columns",
)
TIMES_OF_RECORDING = (1_795_300_000_000_000, 1_795_400_000_000_000)
TEXT_OF_RECORDING = re.compile(r"2026-11-2[23]T\d\d:\d\d:\d\d(\.\d+)?Z?")
LEFT_OUT = re.compile(r"\.\.\. (\d+) hits left out \.\.\.")
ANY = "(a time of the recording)"


def recorded_times(value):
    """A time of the recording itself cannot be the same in a replay: ANY stands for it."""
    if isinstance(value, dict):
        return {k: recorded_times(v) for k, v in value.items()}
    if isinstance(value, list):
        return [recorded_times(v) for v in value]
    if isinstance(value, int) and TIMES_OF_RECORDING[0] < value < TIMES_OF_RECORDING[1]:
        return ANY
    if isinstance(value, str) and TEXT_OF_RECORDING.fullmatch(value):
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


def essence(value):
    """What is compared of a reply; 7.0 is another number than 7."""
    if isinstance(value, dict):
        return {k: essence(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [essence(v) for v in value]
    if isinstance(value, float):
        return f"the double {value!r}"
    return value


def unordered(value):
    """A list as one that is alike for every order; a list of lists (of time ranges) has one."""
    if not isinstance(value, list) or any(isinstance(item, list) for item in value):
        return value
    return sorted(json.dumps(item, sort_keys=True) for item in value)


def statement(case):
    """The SQL of a case, without what stands in parentheses."""
    match = re.search(r'"sql": ?"((?:[^"\\]|\\.)*)"', str((case.get("request") or {}).get("body")))
    sql, before = match.group(1) if match else "", None
    while sql != before:
        before, sql = sql, re.sub(r"\([^()]*\)", "", sql)
    return sql


def order_of(case, want):
    """The columns by which the recorded hits are ordered; None: they may come in any order."""
    if "/_around" in case["request"]["path"]:
        return ["_timestamp"]
    return [column for column, _ in want["order_by_metadata"]] if "order_by_metadata" in want else None


def without_added_time(case, hits):
    """The recorded hits without a _timestamp that the statement does not name."""
    selected = re.split(r"\sfrom\s", statement(case), flags=re.I)[0]
    if re.search(r"(select|distinct|,)\s+(\w+\.)?\*|\b_timestamp\b", selected, re.I) or not isinstance(hits, list):
        return hits
    return [{k: v for k, v in hit.items() if k != "_timestamp"} if isinstance(hit, dict) else hit for hit in hits]


def ties(hits, order):
    """The hits as groups that are alike in all columns of the order, which the hits must show."""
    shown = [column for column in order if any(column in hit for hit in hits)]
    groups = itertools.groupby(hits, lambda hit: [hit.get(column) for column in shown] if shown else id(hit))
    return [unordered(list(group)) for _, group in groups]


def same_hits(want, got, order):
    if not isinstance(want, list) or not isinstance(got, list) or want == got:
        return want == got
    if unordered(want) != unordered(got):
        return False
    return order is None or ties(want, order) == ties(got, order)


def same_cut_hits(want, got, order):
    """The recording shows the first and the last hits and how many it leaves out."""
    at = next(i for i, hit in enumerate(want) if isinstance(hit, str))
    left_out = int(LEFT_OUT.fullmatch(want[at]).group(1))
    head, tail = want[:at], want[at + 1:]
    if not isinstance(got, list) or len(got) != len(head) + left_out + len(tail):
        return False
    if order is None:
        return all(set(hit) == set(head[0]) for hit in got)
    return head == got[:at] and tail == got[len(got) - len(tail):]


def same_cut_values(want, got):
    """Of `_values` the recording shows the first values, and how many there are."""
    if not isinstance(got, list) or len(want) != len(got):
        return False
    for w, g in zip(want, got):
        shown = w["values"]
        if len(g["values"]) != w.get("values_returned", len(shown)) or shown != g["values"][:len(shown)]:
            return False
    return True


def hits_match(want, got, order):
    if isinstance(want, list) and any(isinstance(hit, str) and LEFT_OUT.fullmatch(hit) for hit in want):
        return same_cut_hits(want, got, order)
    if isinstance(want, list) and any(isinstance(hit, dict) and "values_returned" in hit for hit in want):
        return same_cut_values(want, got)
    return same_hits(want, got, order)


def gathered(case, hits):
    """The elements of array_agg(DISTINCT x) have no order, unless the statement gives one."""
    sql = str((case.get("request") or {}).get("body")).lower()
    if "array_agg(distinct" not in sql or "order by" in sql or not isinstance(hits, list):
        return hits
    return [{k: unordered(v) for k, v in hit.items()} if isinstance(hit, dict) else hit for hit in hits]


def compare_search(case, want, got):
    order = order_of(case, want)
    hits, found = gathered(case, essence(want["hits"])), gathered(case, essence(got.get("hits")))
    bare = gathered(case, essence(without_added_time(case, want["hits"])))
    if not hits_match(hits, found, order) and not hits_match(bare, found, order):
        return "another order of hits" if hits_match(bare, found, None) else "other hits"
    for key in BESIDE_HITS:
        if want.get(key) != got.get(key):
            return f"{key} {json.dumps(got.get(key))}, not {json.dumps(want.get(key))}"
    missing = sorted(set(want) - set(got) - VOLATILE)
    if missing:
        return f"without {', '.join(missing)}"
    return None if hits_match(hits, found, order) else "an added _timestamp"


def compare_members(want, got):
    left, right = essence(want), essence(got)
    for key in sorted(set(left) | set(right)):
        if unordered(left.get(key)) != unordered(right.get(key)):
            return f"{key}: {json.dumps(right.get(key))[:200]}, not {json.dumps(left.get(key))[:200]}"
    return None


def compare_error(want, got):
    """Of an error of a search, what its message begins with, and whether the engine's own words stand beside it."""
    if want.get("code", 0) < 20000:
        return None
    phrase = want["message"].split(":")[0]
    if not got.get("message", "").startswith(phrase):
        return f"message {got.get('message')}, not {want['message']}"
    if bool(got.get("error_detail")) != bool(want.get("error_detail")):
        return f"error_detail {json.dumps(got.get('error_detail'))}, not {json.dumps(want.get('error_detail'))}"
    return None


def compare_counted(case, want_status, want, got_status, got):
    if want_status != got_status:
        return f"status {got_status}, not {want_status}"
    if not isinstance(want, dict) or not isinstance(got, dict):
        if isinstance(want, list) and isinstance(got, list):
            return None if unordered(essence(want)) == unordered(essence(got)) else "another list"
        return None if isinstance(want, type(got)) or want in (None, "") else f"another kind of body: {type(got).__name__}"
    if want.get("code") != got.get("code"):
        return f"code {got.get('code')}, not {want.get('code')}"
    if want_status >= 400:
        return compare_error(want, got)
    return compare_search(case, want, got) if "hits" in want else compare_members(want, got)


def uncounted(want, got):
    """`got` without the rows that it counts where `want` counts none: of statistics, which the reference fills later."""
    if isinstance(want, dict) and isinstance(got, dict):
        return {k: 0 if k in ("doc_num", "records") and want.get(k) == 0 else uncounted(want.get(k), v) for k, v in got.items()}
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [uncounted(w, g) for w, g in zip(want, got)]
    return got


def compare(case, want_status, want, got_status, got):
    """None, or what differs."""
    counted = allow(want, got)
    difference = compare_counted(case, want_status, want, got_status, uncounted(want, counted))
    return difference or ("statistics of what is stored" if uncounted(want, counted) != counted else None)


__all__ = ["compare", "essence", "recorded_times", "unordered"]
