"""Real logs come back byte for byte, through _search and through the files on the mount."""
import json
import os
import random
import sys

from weirlib import SHARED, NodeCase, main, now_us, read_parquet

LOGHUB = os.path.join(SHARED, "data", "loghub")


def unicode_lines():
    """Lines of our own: every plane, control characters, escapes, and long ones."""
    rng = random.Random(7)
    lines = []
    for plane in range(17):
        points = [cp for cp in (plane * 0x10000 + rng.randrange(0x10000) for _ in range(400)) if not 0xD800 <= cp < 0xE000]
        lines.append(f"plane {plane} " + "".join(map(chr, points)))
    lines += [f"control {i:02x} <{chr(i)}>" for i in list(range(32)) + [0x7F, 0x85, 0xA0, 0x2028, 0x2029, 0xFEFF, 0xFFFE]]
    lines += ['quote " backslash \\ slash / braces {}[] comma , colon :', "\\u0041 \\n not escapes", "a\u0000b", "", " ", "\t"]
    lines += ["e\u0301 \u00e9 \U0001F469\u200D\U0001F4BB \U0010FFFF", "x" * 100_000, "é" * 300_000, "\U0001F30A" * 50_000]
    return lines


class ByteForByte(NodeCase):
    def send_and_compare(self, stream, values):
        base = now_us()
        for start in range(0, len(values), 500):
            records = [{"_timestamp": base + i, "log": values[i]} for i in range(start, min(start + 500, len(values)))]
            status, reply = self.node.post_json(stream, records)
            self.assertEqual((status, reply["status"][0]["failed"]), (200, 0), reply)
        self.compare(stream, base, values, "as lines")
        self.node.flush()
        self.compare(stream, base, values, "sealed")
        self.compare_parquet(stream, base, values)

    def compare(self, stream, base, values, when):
        hits = self.node.hits(f'SELECT _timestamp, log FROM "{stream}" ORDER BY _timestamp', size=len(values) + 10)
        self.assertEqual(len(hits), len(values))
        for i, (hit, value) in enumerate(zip(hits, values)):
            self.assertEqual((hit["_timestamp"], hit.get("log")), (base + i, value), f"row {i} by _search, {when}")
        lines = sorted(self.node.lines(stream), key=lambda r: r["_timestamp"])
        self.assertEqual([line["log"] for line in lines], values, when)

    def compare_parquet(self, stream, base, values):
        rows = []
        for path in self.node.sealed_files(stream):
            found = read_parquet(path)
            if found is None:
                print("the Parquet files are not compared: tools/test-python failed", file=sys.stderr)
                return
            self.assertEqual(found[0]["compression"], ["ZSTD"])
            rows += found[1]
        rows.sort(key=lambda row: row["_timestamp"])
        self.assertEqual([(row["_timestamp"], row["log"]) for row in rows], [(base + i, v) for i, v in enumerate(values)])

    def test_every_unicode_plane_control_characters_and_long_lines(self):
        self.send_and_compare("unicode", unicode_lines())

    def test_escaped_and_raw_forms_of_a_character_are_one(self):
        for i, text in enumerate(["\u00e9", "\U0001F30A", "\x7f", "/"]):
            raw = json.dumps([{"log": text}], ensure_ascii=False).encode()
            escaped = json.dumps([{"log": text}], ensure_ascii=True).encode()
            self.node.post_json(f"forms{i}", raw)
            self.node.post_json(f"forms{i}", escaped)
            self.assertEqual([line["log"] for line in self.node.lines(f"forms{i}")], [text, text])


def add_loghub_tests():
    for name in sorted(os.listdir(LOGHUB)):
        if not name.endswith(".log"):
            continue

        def test(self, path=os.path.join(LOGHUB, name), stream=name[:-4].lower()):
            with open(path, encoding="ascii", newline="") as file:
                self.send_and_compare(stream, file.read().split("\n")[:-1])

        setattr(ByteForByte, f"test_loghub_{name[:-4].lower()}", test)


if os.path.isdir(LOGHUB):
    add_loghub_tests()
else:
    print(f"loghub logs are not at {LOGHUB}: those cases are left out", file=sys.stderr)

if __name__ == "__main__":
    main()
