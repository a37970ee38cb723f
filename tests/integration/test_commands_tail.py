"""weir ls and weir tail: what stands on a mount, and what comes."""
import json
import os
import pty
import re
import resource
import select
import subprocess
import tempfile
import threading
import unittest

from test_commands import weir
from weirlib import BINARY, NodeCase, TestNode, main, now_us, wait_for

ESCAPE = "\x1b["


def on_terminal(*args, **env):
    """What a command prints on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BINARY, *args], stdout=theirs, stderr=subprocess.DEVNULL, env=dict(os.environ, TERM="xterm", **env))
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:
        pass  # the other side is closed
    os.close(ours)
    assert process.wait() == 0, text
    return text.decode()


class Follower:
    """A `weir tail -f` whose lines are collected."""

    def __init__(self, test, node, *args, open_files=None):
        limit = open_files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files)))
        self.process = subprocess.Popen([BINARY, "tail", "-f", "--mount", node.mount, *args], preexec_fn=limit,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=lambda: self.lines.extend(iter(self.read_line, None)))
        self.thread.start()
        test.addCleanup(self.stop)

    def read_line(self):
        return self.process.stdout.readline() or None

    def stop(self):
        self.process.kill()
        self.thread.join()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def numbers(self):
        return [json.loads(line)["n"] for line in list(self.lines)]


class Ls(NodeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.now = now_us()
        old = [{"_timestamp": cls.now - 2 * 3_600_000_000 + i, "n": i} for i in range(5)]
        cls.node.post_json("app", old)
        cls.node.flush()
        cls.node.post_json("app", [{"n": 5}])
        cls.node.post_json("other", [{"n": 1}], org="two")

    def ls(self, *args):
        return weir("ls", "--mount", self.node.mount, *args)

    def test_streams_are_listed_with_their_sums(self):
        rows = [json.loads(line) for line in self.ls("--json").stdout.splitlines()]
        self.assertEqual([(r["org"], r["type"], r["stream"], r["files"], r["rows"]) for r in rows],
                         [("default", "logs", "app", 2, 6), ("two", "logs", "other", 1, 1)])
        self.assertEqual(rows[0]["min_ts"], self.now - 2 * 3_600_000_000)
        text = self.ls()
        self.assertRegex(text.stdout, r"(?m)^ +2 +6 .* default/logs/app$")
        self.assertIn("2 streams, 3 files, 7 rows", text.stderr)

    def test_the_list_can_be_narrowed(self):
        self.assertEqual(self.ls("--names").stdout.split(), ["app", "two/logs/other"])
        self.assertEqual(self.ls("--names", "--org", "two").stdout.split(), ["two/logs/other"])
        self.assertEqual(self.ls("--names", "--type", "metrics").stdout, "")

    def test_files_have_state_rows_and_the_size_that_stat_says(self):
        rows = [json.loads(line) for line in self.ls("--json", "app").stdout.splitlines()]
        self.assertEqual([(r["state"], r["rows"]) for r in rows], [("sealed", 5), ("active", 1)])
        for row in rows:
            self.assertEqual(row["size_bytes"], os.stat(f"{self.node.mount}/default/logs/app/{row['file']}").st_size)

    def test_hours_are_headed_by_their_path(self):
        text = self.ls("app").stdout
        self.assertEqual(len(re.findall(r"(?m)^default/logs/app/\d{4}/\d\d/\d\d/\d\d:$", text)), 2)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)

    def test_a_time_range_leaves_out_older_hours(self):
        rows = [json.loads(line) for line in self.ls("--json", "--last", "30m", "app").stdout.splitlines()]
        self.assertEqual([r["state"] for r in rows], ["active"])

    def test_a_stream_is_named_in_three_ways(self):
        for name in ("other", "logs/other", "two/logs/other"):
            self.assertEqual(self.ls("--org", "two", name).returncode, 0, name)

    def test_mistakes_say_what_to_do(self):
        self.assertIn("weir ls lists them", self.ls("nosuch").stderr)
        self.assertEqual(self.ls("nosuch").returncode, 1)
        self.assertEqual(self.ls("../../etc").returncode, 1)
        nowhere = weir("ls", "--mount", "/nonexistent")
        self.assertEqual(nowhere.returncode, 1)
        self.assertIn("/nonexistent", nowhere.stderr)

    def test_no_name_of_a_copy_commands_the_terminal(self):
        with tempfile.TemporaryDirectory() as copy:
            os.makedirs(f"{copy}/.weir")
            os.makedirs(f"{copy}/o\x1b[2J/logs/s\x1b]0;pwn\x07/2026/11/23/09")
            shown = weir("ls", "--mount", copy)
            self.assertIn("o\\x1b[2J/logs/s\\x1b]0;pwn\\x07\n", shown.stdout, shown)
            for args in (["ls"], ["tail"]):
                shown = weir(*args, "--mount", copy, "o\x1b[2J/logs/nosuch")
                self.assertIn("o\\x1b[2J/logs/nosuch", shown.stderr)

    def test_the_mount_of_the_settings_is_found(self):
        self.assertEqual(weir("ls", "--names", env={"ZO_DATA_DIR": self.node.data_dir}).stdout.split(), ["app", "two/logs/other"])

    def test_colours_are_for_terminals_only(self):
        self.assertNotIn(ESCAPE, self.ls().stdout)
        self.assertIn(ESCAPE, self.ls("--color", "always").stdout)
        self.assertIn(ESCAPE, on_terminal("ls", "--mount", self.node.mount))
        self.assertNotIn(ESCAPE, on_terminal("ls", "--mount", self.node.mount, NO_COLOR="1"))
        self.assertNotIn(ESCAPE, on_terminal("ls", "--mount", self.node.mount, "--color=never"))


class Tail(NodeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.now = now_us()
        records = [{"_timestamp": cls.now - (400 - i) * 30_000_000, "n": i} for i in range(400)]
        cls.node.post_json("app", records[::2])
        cls.node.flush()
        cls.node.post_json("app", records[1::2])

    def tail(self, stream, *args):
        return weir("tail", "--mount", self.node.mount, stream, *args)

    def test_the_newest_lines_come_in_order_over_files_and_hours(self):
        for count in (0, 1, 10, 399, 400, 5000):
            lines = self.tail("app", "-n", str(count), "--json").stdout.splitlines()
            self.assertEqual([json.loads(line)["n"] for line in lines], list(range(400))[400 - min(count, 400):], count)

    def test_a_line_is_shown_as_time_level_message_and_fields(self):
        at = self.now // 1_000_000 * 1_000_000 + 123_000
        self.node.post_json("shown", [{"_timestamp": at, "severity": "Warning", "msg": "disk\x1b[2J full\nsoon", "host": "a b", "n": 1}])
        line = self.tail("shown").stdout
        self.assertRegex(line, r'^\d\d:\d\d:\d\d\.123 WARN  disk\\x1b\[2J full\\nsoon host="a b" n=1\n$')
        self.assertNotIn("host", self.tail("shown", "--short").stdout)

    def test_levels_have_colours_on_a_terminal(self):
        self.node.post_json("coloured", [{"level": "error", "log": "x"}])
        self.assertIn("\x1b[31mERROR", on_terminal("tail", "--mount", self.node.mount, "coloured"))
        self.assertNotIn(ESCAPE, self.tail("coloured").stdout)

    def test_long_lines_are_whole(self):
        text = "x" * 300_000
        self.node.post_json("long", [{"n": i, "log": text} for i in range(5)])
        lines = self.tail("long", "-n", "3", "--json").stdout.splitlines()
        self.assertEqual([(json.loads(line)["n"], json.loads(line)["log"]) for line in lines], [(i, text) for i in (2, 3, 4)])

    def test_metrics_can_be_read_too(self):
        self.node.raw("POST", "/api/default/ingest/metrics/_json",
                      json.dumps([{"__name__": "cpu", "__type__": "gauge", "value": 1.5, "_timestamp": self.now}]).encode())
        self.assertIn("value=1.5", self.tail("metrics/cpu").stdout)

    def test_a_stream_that_is_not_there_is_named(self):
        result = self.tail("nosuch")
        self.assertEqual(result.returncode, 1)
        self.assertIn("default/logs/nosuch", result.stderr)

    def test_following_ends_when_the_reader_goes_though_no_line_comes(self):
        follower = subprocess.Popen([BINARY, "tail", "-f", "--mount", self.node.mount, "app"], stdout=subprocess.PIPE)
        self.assertTrue(follower.stdout.readline())
        follower.stdout.close()
        self.assertEqual(follower.wait(timeout=30), 0)

    def test_too_many_lines_are_refused(self):
        self.assertEqual(self.tail("app", "-n", "100000000").returncode, 2)


class Follow(unittest.TestCase):
    def test_nothing_is_lost_or_doubled_over_seals_hours_and_a_restart(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        count = 0

        def send(records, hours_back=0):
            nonlocal count
            at = now_us() - hours_back * 3_600_000_000
            node.post_json("app", [{"_timestamp": at + i, "n": count + i} for i in range(records)])
            count += records

        send(3)
        follower = Follower(self, node, "--json", "-n", "2", "app")
        wait_for(lambda: follower.numbers() == [1, 2], what="the last two lines")
        send(100)
        send(10, hours_back=2)
        wait_for(lambda: sorted(follower.numbers()) == list(range(1, count)), what="the lines that came")
        node.flush()
        send(100)
        wait_for(lambda: sorted(follower.numbers()) == list(range(1, count)), what="the lines after a seal")
        node.stop()
        node.start()
        send(100)
        wait_for(lambda: sorted(follower.numbers()) == list(range(1, count)), what="the lines after a restart")

    def test_a_stream_may_begin_empty_handed(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.post_json("app", [{"n": 0}])
        follower = Follower(self, node, "--json", "-n", "0", "app")

        def something_came():
            node.post_json("app", [{"n": 1}])  # the first ones may stand below where following began
            return follower.numbers()

        wait_for(something_came, what="a new line")
        self.assertNotIn(0, follower.numbers())


class FollowOldHours(NodeCase):
    """A record of any age may come, and so a file of any hour."""
    settings = {"ZO_INGEST_ALLOWED_UPTO": "1000"}
    hours_back = (0, 5, 7, 24, 48, 900)

    def send(self, stream, first, hours=hours_back):
        """One record for each of the hours, numbered from `first` on; returns the numbers."""
        now = now_us()
        status, reply = self.node.post_json(stream, [{"_timestamp": now - h * 3_600_000_000, "n": first + i} for i, h in enumerate(hours)])
        self.assertEqual((status, reply["status"][0]["failed"]), (200, 0), reply)
        return list(range(first, first + len(hours)))

    def follow(self, stream, shown, **how):
        """A follower that has begun: it has shown the newest line, which is `shown`."""
        follower = Follower(self, self.node, "--json", "-n", "1", stream, **how)
        wait_for(lambda: follower.numbers() == [shown], what="the last line")
        return follower

    def expect(self, follower, numbers):
        wait_for(lambda: len(follower.numbers()) >= len(numbers), what=f"{numbers}, not only {follower.numbers()}")
        self.assertEqual(sorted(follower.numbers()), sorted(numbers))

    def test_the_first_files_of_their_hours(self):
        self.send("first", 0, [0])
        follower = self.follow("first", 0)
        expected = [0] + self.send("first", 1)
        self.expect(follower, expected)
        expected += self.send("first", 100)
        self.expect(follower, expected)

    def test_hours_that_were_sealed_before_and_while_it_follows(self):
        self.send("sealed", 0)
        self.node.flush()
        follower = self.follow("sealed", 0)
        expected = [0] + self.send("sealed", 100)
        self.expect(follower, expected)
        self.node.flush()
        expected += self.send("sealed", 200)
        self.node.flush()  # also what was sealed before it was seen
        expected += self.send("sealed", 300)
        self.expect(follower, expected)

    def test_files_that_grew_before(self):
        self.send("grown", 0)
        follower = self.follow("grown", 0)
        expected = [0] + self.send("grown", 100)
        self.expect(follower, expected)
        self.node.flush()
        expected += self.send("grown", 200)
        self.expect(follower, expected)

    def test_samples_of_any_age(self):
        def send(value, years):
            body = [{"__name__": "old", "__type__": "gauge", "value": value, "_timestamp": now_us() - years * 31_536_000_000_000}]
            self.assertEqual(self.node.raw("POST", "/api/default/ingest/metrics/_json", json.dumps(body).encode())[0], 200)

        send(0, 0)
        follower = Follower(self, self.node, "--json", "-n", "1", "metrics/old")
        wait_for(lambda: len(follower.lines) == 1, what="the last line")
        for years in range(1, 5):
            send(years, years)
        wait_for(lambda: len(follower.lines) >= 5, what="the samples")
        self.assertEqual(sorted(json.loads(line)["value"] for line in follower.lines), [0, 1, 2, 3, 4])

    def test_more_growing_files_than_may_be_open_are_said_and_never_new(self):
        self.send("many", 0, range(40))
        follower = self.follow("many", 0, open_files=32)
        self.assertTrue(select.select([follower.process.stderr], [], [], 30)[0], "nothing is said")
        self.assertRegex(follower.process.stderr.readline(), r"^weir tail: \d+ files of older hours cannot be followed: Too many open files\n$")
        expected = [0] + self.send("many", 100, range(3))
        self.expect(follower, expected)
        self.node.flush()
        expected += self.send("many", 200, [*range(3), 700])
        self.expect(follower, expected)


if __name__ == "__main__":
    main()
