"""weir query remembers what a person asked: listed, asked again, bounded, without passwords."""
import http.server
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import unittest

from weirlib import BINARY, now_us

PASSWORD = "hunter2#secret"


class Node(http.server.BaseHTTPRequestHandler):
    """Answers each query with one row and remembers it."""

    asked = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        Node.asked.append((self.path, body))
        text = b'{"took":1,"hits":[{"n":1}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class History(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="weir-test-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.file = f"{self.home}/.local/state/weir/query_history"
        Node.asked.clear()

    def run_weir(self, *args, terminal=True, stdin=None, **env):
        """Run `weir query`, its standard input a terminal or not."""
        full = {k: v for k, v in os.environ.items() if not k.startswith(("ZO_", "WEIR_", "XDG_"))}
        full.update({"HOME": self.home, "ZO_ROOT_USER_EMAIL": "a@example.com", "ZO_ROOT_USER_PASSWORD": PASSWORD,
                     "WEIR_URL": f"http://127.0.0.1:{self.server.server_port}"}, **env)
        master, slave = pty.openpty() if terminal else (None, None)
        try:
            return subprocess.run([BINARY, "query", *args], env=full, capture_output=True, text=True,
                                  **({"stdin": slave} if terminal else {"input": stdin or ""}), timeout=60)
        finally:
            for fd in (master, slave):
                if fd is not None:
                    os.close(fd)

    def history(self, *args):
        """The listing, a command a line."""
        result = self.run_weir("--history", *args, terminal=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [re.sub(r"^ *\d+  \S+ \S+  ", "", line) for line in result.stdout.splitlines()]

    def test_what_a_person_asks_is_listed_as_it_can_be_typed(self):
        statements = ["SELECT 1", "SELECT 'it''s' AS a -- naïve 🌊", "SELECT *\n\tFROM \"x\" WHERE a = '\\'"]
        for sql in statements:
            self.assertEqual(self.run_weir("--last", "168h", "-n", "7", "--org", "acme", sql).returncode, 0)
        listed = self.history()
        self.assertEqual(len(listed), 3)
        for sql, line in zip(statements, listed):
            words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
            self.assertEqual(words.split("\0")[:-1], ["weir", "query", "--last=7d", "--org=acme", "--size=7", sql])
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.file)).st_mode), 0o700)

    def test_scripts_leave_nothing_unless_they_ask_for_it(self):
        self.run_weir("SELECT 1", terminal=False)
        self.assertFalse(os.path.exists(self.file))
        other = f"{self.home}/deep/er/history"
        self.run_weir("SELECT 2", terminal=False, WEIR_HISTORY=other)
        with open(other) as file:
            self.assertEqual(json.loads(file.read())["args"], ["SELECT 2"])
        self.run_weir("SELECT 3", WEIR_HISTORY="")
        self.assertFalse(os.path.exists(self.file))

    def test_xdg_state_home_is_heeded(self):
        self.run_weir("SELECT 1", XDG_STATE_HOME=f"{self.home}/state")
        self.assertTrue(os.path.exists(f"{self.home}/state/weir/query_history"))

    def test_again_asks_the_last_or_a_numbered_one_with_what_is_given_now(self):
        self.run_weir("--last", "1h", "--type", "metrics", "SELECT 1")
        self.run_weir("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "SELECT 2")
        self.run_weir("--again")
        self.assertEqual(Node.asked[-1], Node.asked[-2])
        self.run_weir("-a", "1", "--org", "acme")
        path, body = Node.asked[-1]
        self.assertEqual((path, body["sql"]), ("/api/acme/_search?type=metrics", "SELECT 1"))
        self.assertEqual(body["end_time"] - body["start_time"], 3600_000_000)
        self.run_weir("--again", "2", "--last", "7d")
        self.assertEqual(Node.asked[-1][1]["sql"], "SELECT 2")
        self.assertLess(abs(Node.asked[-1][1]["end_time"] - now_us()), 60_000_000)
        self.assertEqual(self.history("--", "SELECT 2")[-1], "weir query --last=7d 'SELECT 2'")

    def test_again_without_such_an_entry_says_so(self):
        for args, code, text in ((["--again"], 1, "history is empty"), (["--again", "9"], 1, "number 9"),
                                 (["--again", "SELECT 1"], 2, "expected a number")):
            result = self.run_weir(*args)
            self.assertEqual((result.returncode, text in result.stderr), (code, True), result.stderr)
        self.assertEqual(Node.asked, [])

    def test_files_and_standard_input_can_be_asked_again_from_elsewhere(self):
        with open(f"{self.home}/report.sql", "w") as file:
            file.write("SELECT 3")
        relative = os.path.relpath(f"{self.home}/report.sql")
        self.run_weir("--file", relative)
        self.assertEqual(self.history(), [f"weir query --file={self.home}/report.sql"])
        self.run_weir("--file", "-", terminal=False, stdin="SELECT 4", WEIR_HISTORY=self.file)
        self.run_weir("-a")
        self.assertEqual([body["sql"] for _, body in Node.asked], ["SELECT 3", "SELECT 4", "SELECT 4"])

    def test_a_statement_that_begins_with_a_dash_is_none_of_the_options(self):
        self.run_weir("--", "--last words\nSELECT 5")
        self.run_weir("-a")
        self.assertEqual(Node.asked[-1][1]["sql"], "--last words\nSELECT 5")

    def test_no_password_is_kept(self):
        self.run_weir("--url", f"http://me:{PASSWORD}@127.0.0.1:{self.server.server_port}", "SELECT 1")
        with open(self.file) as file:
            text = file.read()
        self.assertNotIn("hunter2", text)
        self.assertIn(f"--url=http://127.0.0.1:{self.server.server_port}", text)

    def test_no_part_of_a_password_with_an_at_in_it_is_kept(self):
        self.run_weir("--url", f"http://me:p@ss@word@127.0.0.1:{self.server.server_port}", "SELECT 1")
        self.run_weir("--url", "http://127.0.0.1:9/a@b", "SELECT 2")
        self.assertEqual(self.history(), [f"weir query --url=http://127.0.0.1:{self.server.server_port} 'SELECT 1'",
                                          "weir query --url=http://127.0.0.1:9/a@b 'SELECT 2'"])

    def test_a_named_file_is_closed_to_others(self):
        named = f"{self.home}/named"
        with open(named, "w"):
            pass
        os.chmod(named, 0o644)
        self.run_weir("SELECT 1", WEIR_HISTORY=named)
        self.assertEqual(stat.S_IMODE(os.stat(named).st_mode), 0o600)

    def test_the_same_twice_is_kept_once(self):
        for _ in range(3):
            self.run_weir("SELECT 1")
        self.assertEqual(len(self.history()), 1)

    def test_it_is_bounded_and_numbers_stay(self):
        os.makedirs(os.path.dirname(self.file))
        with open(self.file, "w") as file:
            for i in range(1, 1001):
                file.write(json.dumps({"n": i, "at": now_us(), "args": [f"SELECT {i}"]}) + "\n")
        self.run_weir("SELECT 1001")
        with open(self.file) as file:
            kept = [json.loads(line) for line in file]
        self.assertEqual((len(kept), kept[0]["n"], kept[-1]["n"]), (501, 501, 1001))
        self.assertEqual(self.history("-n", "2"), ["weir query 'SELECT 1000'", "weir query 'SELECT 1001'"])
        self.run_weir("--again", "777")
        self.assertEqual(Node.asked[-1][1]["sql"], "SELECT 777")
        self.run_weir("SELECT '" + "x" * 100_000 + "'")
        self.assertEqual(len(self.history("-n", "1000")), 502)

    def test_lines_that_are_none_do_not_fill_it_for_ever(self):
        os.makedirs(os.path.dirname(self.file))
        most = 4 << 20
        for junk in ("x" * (most - 1) + "\n", "junk\n" * (most // 5), "y" * most):
            with open(self.file, "w") as file:
                file.write(junk)
            for i in (1, 2):
                self.assertEqual(self.run_weir(f"SELECT {i}").stderr, "")
            self.assertLessEqual(os.stat(self.file).st_size, most // 2 + 1000)
            self.assertEqual(self.history(), ["weir query 'SELECT 1'", "weir query 'SELECT 2'"])

    def test_a_torn_line_is_passed_over(self):
        os.makedirs(os.path.dirname(self.file))
        with open(self.file, "w") as file:
            file.write('not json\n{"n":7,"at":1,"args":["SELECT 7"]}\n{"n":8,"at":1,"ar')
        self.run_weir("SELECT 9")
        self.assertEqual(self.history(), ["weir query 'SELECT 7'", "weir query 'SELECT 9'"])

    def test_a_history_that_cannot_be_kept_is_said_and_the_answer_comes(self):
        result = self.run_weir("SELECT 1", HOME="/dev/null")
        self.assertEqual((result.returncode, result.stdout), (0, '{"n":1}\n'))
        self.assertIn("WEIR_HISTORY", result.stderr)

    def test_two_ranges_are_refused(self):
        self.assertEqual(self.run_weir("--last", "1h", "--from", "2026-01-01T00:00:00Z", "SELECT 1").returncode, 2)


if __name__ == "__main__":
    unittest.main()
