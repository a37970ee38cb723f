"""The weir binary's commands: config, query, and how serve refuses."""
import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import socket
import struct
import subprocess
import tempfile
import termios
import unittest

from weirlib import BINARY, EMAIL, PASSWORD, ROOT, NodeCase, TestNode, main, wait_for


def weir(*args, env=None, timeout=60):
    full = {k: v for k, v in os.environ.items() if not k.startswith(("ZO_", "WEIR_"))}
    full["WEIR_HISTORY"] = ""
    full.update(env or {})
    return subprocess.run([BINARY, *args], env=full, capture_output=True, text=True, timeout=timeout, check=False)


class Config(unittest.TestCase):
    def test_text_shows_value_and_origin(self):
        out = weir("config", env={"ZO_HTTP_PORT": "5099"}).stdout
        self.assertRegex(out, r"ZO_HTTP_PORT +5099 +environment")
        self.assertRegex(out, r"ZO_QUERY_TIMEOUT +600 +default")

    def test_secrets_are_masked(self):
        for form in ([], ["--json"], ["--markdown"], ["--help-texts"]):
            self.assertNotIn("hunter2", weir("config", *form, env={"ZO_ROOT_USER_PASSWORD": "hunter2"}).stdout)

    def test_json_is_whole(self):
        doc = json.loads(weir("config", "--json").stdout)
        self.assertEqual(doc["ZO_HTTP_PORT"]["value"], 5080)
        self.assertEqual(doc["ZO_HTTP_PORT"]["max"], 65535)

    def test_the_readme_shows_the_table(self):
        with open(os.path.join(ROOT, "README.md")) as readme:
            self.assertIn(weir("config", "--markdown").stdout, readme.read())

    def test_a_value_out_of_range_is_fatal_with_name_value_and_range(self):
        for name, value in (("ZO_HTTP_PORT", "70000"), ("ZO_HTTP_PORT", "x"), ("ZO_QUERY_TIMEOUT", "-1"),
                            ("WEIR_JOURNAL_MAX", "99999999999999999999"), ("ZO_WAL_FSYNC_DISABLED", "maybe")):
            result = weir("serve", env={name: value})
            self.assertEqual(result.returncode, 78)
            self.assertIn(f"{name}={value}", result.stderr)

    def test_units_are_understood(self):
        for value in ("1073741824", "1048576K", "1024M", "1GiB", "1g"):
            result = weir("config", env={"WEIR_JOURNAL_MAX": value})
            self.assertEqual(result.returncode, 0, result.stderr)


class Usage(unittest.TestCase):
    def test_help_is_there_for_every_command(self):
        listing = weir("--help").stdout
        for name in re.findall(r"^  (\w+) ", listing, re.M):
            result = weir(name, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn(f"usage: weir {name}", result.stdout)

    def test_mistakes_exit_with_2(self):
        for args in ([], ["nosuch"], ["query"], ["query", "--nosuch", "x"], ["config", "--nosuch"], ["query", "--last", "1x", "SELECT 1"]):
            self.assertEqual(weir(*args).returncode, 2, args)

    def test_a_wrong_value_names_its_option(self):
        self.assertIn("--last '1x': expected", weir("query", "--last", "1x", "SELECT 1").stderr)

    def test_a_full_disk_is_no_success_and_is_said(self):
        for args in (["--help"], ["--version"], ["ls", "--help"], ["config"], ["completion", "bash"], ["man", "ls"]):
            with open("/dev/full", "w") as full:
                result = subprocess.run([BINARY, *args], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(result.returncode, 1, args)
            self.assertIn("standard output cannot be written", result.stderr)

    def test_a_folder_that_is_no_mount_is_not_an_empty_one(self):
        with tempfile.TemporaryDirectory() as scratch:
            for args in (["ls"], ["tail", "app"]):
                result = weir(*args, "--mount", scratch)
                self.assertEqual(result.returncode, 1)
                self.assertIn("is no mount of Weir", result.stderr)

    def test_config_takes_no_words(self):
        self.assertEqual(weir("config", "ZO_HTTP_PORT").returncode, 2)

    def test_query_without_a_node_says_what_to_do(self):
        result = weir("query", "--url", "http://127.0.0.1:1", "SELECT 1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("weir serve", result.stderr)


class Serve(unittest.TestCase):
    def test_a_first_start_without_a_root_user_is_refused(self):
        with tempfile.TemporaryDirectory() as scratch:
            result = weir("serve", env={"ZO_DATA_DIR": scratch + "/weir", "ZO_HTTP_PORT": "21599"})
            self.assertEqual(result.returncode, 78)
            self.assertIn("ZO_ROOT_USER_EMAIL", result.stderr)
            self.assertNotIn(scratch, open("/proc/self/mountinfo").read())

    def test_a_second_owner_of_a_data_directory_is_refused_and_the_first_named(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        result = weir("serve", env={k: v for k, v in node.env.items() if k.startswith("ZO_")})
        self.assertEqual(result.returncode, 78)
        self.assertIn(f"process {node.process.pid}: stop that one, or name another ZO_DATA_DIR", result.stderr)
        self.assertEqual(node.post_json("still", [{"a": 1}])[0], 200)

    def test_a_data_directory_on_its_own_mount_is_refused(self):
        with tempfile.TemporaryDirectory() as scratch:
            result = weir("serve", env={"ZO_DATA_DIR": scratch + "/m/weir", "WEIR_MOUNT_DIR": scratch + "/m"})
            self.assertEqual(result.returncode, 78)
            self.assertIn("lies on the mount", result.stderr)

    def test_a_journal_that_can_hold_nothing_is_refused(self):
        result = weir("serve", env={"WEIR_JOURNAL_MAX": "1M"})
        self.assertEqual(result.returncode, 78)
        self.assertIn("WEIR_JOURNAL_MAX=1M", result.stderr)

    def test_a_folder_with_something_in_it_is_not_mounted_over(self):
        with tempfile.TemporaryDirectory() as scratch:
            os.makedirs(scratch + "/m/precious")
            result = weir("serve", env={"ZO_DATA_DIR": scratch + "/weir", "WEIR_MOUNT_DIR": scratch + "/m"})
            self.assertEqual(result.returncode, 78)
            self.assertIn("not empty: the mount would hide that; name another folder", result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "not root: no tmpfs")
    def test_a_filesystem_of_another_with_something_in_it_is_not_mounted_over(self):
        with tempfile.TemporaryDirectory() as scratch:
            point = scratch + "/m"
            os.mkdir(point)
            subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
            try:
                os.mkdir(point + "/precious")
                result = weir("serve", env={"ZO_DATA_DIR": scratch + "/weir", "WEIR_MOUNT_DIR": point}, timeout=30)
                self.assertEqual(result.returncode, 78)
                self.assertIn("not empty", result.stderr)
                self.assertEqual(os.listdir(point), ["precious"])
            finally:
                subprocess.run(["umount", "--lazy", point], check=True)

    def test_a_port_in_use_ends_the_start_and_is_named(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        with socket.socket() as other:
            other.bind(("127.0.0.1", node.port))
            other.listen()
            result = weir("serve", env={k: v for k, v in node.env.items() if k.startswith("ZO_")})
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, f"ZO_HTTP_PORT.* port {node.port} .ss -ltnp says who has it.: Address already in use")

    def make_index_unreadable(self):
        """A node that has run, and whose fs process can start no more."""
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.stop()
        path = f"{node.data_dir}/index/data.mdb"
        with open(path, "r+b") as file:
            file.write(b"Z" * os.path.getsize(path))
        return node

    def test_a_start_that_cannot_succeed_ends_by_itself(self):
        node = self.make_index_unreadable()
        result = weir("serve", env={k: v for k, v in node.env.items() if k.startswith("ZO_")})
        self.assertEqual(result.returncode, 1)
        self.assertIn("a process fails at every start", result.stderr)
        self.assertNotIn("is killed", result.stderr)

    def test_a_start_that_waits_for_its_filesystem_can_be_stopped(self):
        node = self.make_index_unreadable()

        def said():
            with open(node.log_path) as log:
                return log.read()

        with open(node.log_path, "w") as log:
            node.process = subprocess.Popen([BINARY, "serve"], env=node.env, stdout=log, stderr=log)
        wait_for(lambda: "is started again process=fs" in said(), what="an fs process that fails")
        self.assertEqual(node.stop(), 0)
        self.assertNotIn("is killed", said())
        self.assertNotIn("at every start", said())

    def test_another_root_user_on_a_later_start_is_reported(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.stop()
        node.env["ZO_ROOT_USER_EMAIL"] = "late@example.com"
        node.start()
        self.assertIn("ZO_ROOT_USER_EMAIL has no effect", open(node.log_path).read())

    def test_a_service_manager_is_told(self):
        for abstract in (False, True):
            with tempfile.TemporaryDirectory() as scratch, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                name = f"{scratch}/notify"
                manager.bind("\0" + name if abstract else name)
                manager.settimeout(30)
                node = TestNode(NOTIFY_SOCKET="@" + name if abstract else name)
                self.addCleanup(node.destroy)
                node.start()
                self.assertEqual(manager.recv(4096).decode(), f"READY=1\nSTATUS=running, mount {node.mount}")
                self.assertEqual(node.request("GET", "/healthz")[0], 200)
                node.kill_child("engine")
                self.assertEqual(manager.recv(4096), b"STATUS=engine ended (signal 9) and is started again")
                self.assertTrue(manager.recv(4096).startswith(b"READY=1\nSTATUS=running"))
                self.assertEqual(node.stop(), 0)
                self.assertEqual(manager.recv(4096), b"STOPPING=1\nSTATUS=draining")

    def test_the_line_that_says_ready_names_mount_and_port(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        wait_for(lambda: f" ready mount={node.mount} " in node.log_tail(), what="the line")
        self.assertRegex(node.log_tail(), rf" ready mount={node.mount} took_ms=\d+ port={node.port}\n")

    def test_the_mount_of_a_node_that_was_killed_is_told_as_one(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.kill_everything()
        result = weir("ls", "--mount", node.mount)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "its node was killed; weir serve goes on with it, fusermount3 -uz takes the mount away")
        result = weir("ls", env={"ZO_DATA_DIR": node.data_dir})
        self.assertIn("was killed", result.stderr)

    def test_unknown_settings_are_reported_and_not_fatal(self):
        node = TestNode(ZO_NO_SUCH_THING="1")
        self.addCleanup(node.destroy)
        node.start()
        self.assertIn("ZO_NO_SUCH_THING", open(node.log_path).read())


class Query(NodeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node.post_json("app", [{"level": lv, "n": n, "log": text} for lv, n, text in
                                   (("info", 1, "plain"), ("error", 2, 'with "quotes", commas\nand lines'), ("info", 3, "naïve 🌊"))])

    def query(self, *args):
        return weir("query", *args, env={"WEIR_URL": self.node.url, "ZO_ROOT_USER_EMAIL": EMAIL, "ZO_ROOT_USER_PASSWORD": PASSWORD})

    def test_json_lines_are_the_form_in_a_pipe(self):
        result = self.query("SELECT n, log FROM app ORDER BY n")
        self.assertEqual([json.loads(line)["n"] for line in result.stdout.splitlines()], [1, 2, 3], result.stderr)

    def test_csv_reads_back(self):
        result = self.query("--format", "csv", "SELECT level, n, log FROM app ORDER BY n")
        rows = list(csv.reader(io.StringIO(result.stdout)))
        self.assertEqual(rows[0], ["level", "n", "log"])
        self.assertEqual(rows[2], ["error", "2", 'with "quotes", commas\nand lines'])

    def test_a_table_is_aligned(self):
        result = self.query("--format", "table", "SELECT level, count(*) AS n FROM app GROUP BY level ORDER BY n DESC")
        self.assertEqual(result.stdout.splitlines(), ["level  n", "info   2", "error  1"])
        self.assertIn("2 rows", result.stderr)

    def test_wide_characters_do_not_break_the_columns(self):
        rows = ["'日本語' AS a, 'x' AS b", "'naïve' AS a, 'y' AS b", "'🌊' AS a, 'z' AS b", "chr(155) || 'e' || chr(769) AS a, 'w' AS b"]
        result = self.query("--format", "table", " UNION ALL ".join("SELECT " + row for row in rows))
        lines = result.stdout.splitlines()
        self.assertEqual(sorted(lines[1:]), sorted(["日本語  x", "naïve   y", "🌊      z", "\\x9be\u0301   w"]), result.stderr)

    def on_terminal(self, *args):
        """What `weir query` prints on a terminal of 40 columns."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update({"WEIR_URL": self.node.url, "ZO_ROOT_USER_EMAIL": EMAIL, "ZO_ROOT_USER_PASSWORD": PASSWORD,
                               "WEIR_HISTORY": "", "NO_COLOR": "1"})
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
            os.execv(BINARY, [BINARY, "query", *args])
        shown = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while piece := os.read(terminal, 4096):
                shown += piece
        os.close(terminal)
        os.waitpid(pid, 0)
        return shown.decode()

    def test_a_cell_of_wide_characters_is_cut_to_the_terminal(self):
        shown = self.on_terminal("SELECT 7 AS n, repeat('日', 50) AS wide, 'end' AS z")
        self.assertEqual(shown.splitlines()[1], "7  " + "日" * 15 + "…   end")

    def test_a_lone_column_has_the_whole_line(self):
        shown = self.on_terminal(f"SELECT '{'x' * 40}' AS a").splitlines()
        self.assertEqual((shown[1], "cut" in shown[2]), ("x" * 40, False))
        shown = self.on_terminal(f"SELECT '{'x' * 41}' AS a").splitlines()
        self.assertEqual(shown[1], "x" * 39 + "…")
        self.assertIn("cut, --format json shows all", shown[2])

    def test_many_columns_of_text_become_narrow_where_that_makes_a_row_fit(self):
        text = "'" + "x" * 20 + "' AS "
        shown = self.on_terminal("SELECT " + ", ".join(text + f"column_{c}" for c in "abcdef")).splitlines()
        self.assertEqual(shown[:2], ["  ".join(6 * ["colu…"]), "  ".join(6 * ["xxxx…"])])
        shown = self.on_terminal("SELECT " + ", ".join(text + c for c in "abcdefgh")).splitlines()
        self.assertIn("xxxxxxx…  xxxxxxx…", shown[1])

    def test_no_value_commands_the_terminal(self):
        for form in ("table", "csv", "json"):
            shown = self.on_terminal("--format", form, "SELECT 'a' || chr(27) || '[31m' || chr(10) || chr(155) AS a")
            self.assertNotIn("\x1b", shown, form)
        pipe = self.query("--format", "csv", "SELECT chr(27) AS a")
        self.assertEqual(pipe.stdout, "a\n\x1b\n")

    def test_no_error_commands_the_terminal(self):
        self.node.post_json("evil", [{"log": "a\x1b[2J\x1b]0;pwn\x07"}])
        for how in (self.query, self.on_terminal):
            result = how("SELECT CAST(log AS BIGINT) FROM evil")
            text = result if isinstance(result, str) else result.stderr
            self.assertIn("a\\x1b[2J\\x1b]0;pwn\\x07", text)
            self.assertEqual(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text), [])

    def test_the_lines_of_an_error_stay_lines(self):
        self.node.post_json("lines", [{"log": "one\n\ttwo\r\n"}])
        self.assertIn("'one\n\ttwo\\x0d\n'", self.query("SELECT CAST(log AS BIGINT) FROM lines").stderr)

    def test_a_wrong_or_missing_password_says_what_to_do(self):
        for password, text in (("wrong", "first start"), ("", "set ZO_ROOT_USER_EMAIL")):
            result = weir("query", "SELECT 1", env={"WEIR_URL": self.node.url, "ZO_ROOT_USER_EMAIL": EMAIL, "ZO_ROOT_USER_PASSWORD": password})
            self.assertEqual((result.returncode, text in result.stderr), (1, True), result.stderr)

    def test_errors_are_clear(self):
        result = self.query("SELECT nosuch FROM app")
        self.assertEqual(result.returncode, 1)
        self.assertIn("nosuch", result.stderr)
        self.assertNotIn("Candidate", result.stderr)

    def test_an_error_is_said_once(self):
        result = self.query("SELEC 1")
        self.assertEqual(result.stderr.count("syntax error"), 1, result.stderr)

    def test_a_url_may_end_in_a_slash(self):
        result = self.query("--url", self.node.url + "/", "SELECT n FROM app WHERE n = 2")
        self.assertEqual(result.stdout, '{"n":2}\n', result.stderr)

    def test_a_stream_that_is_not_there_says_where_to_look(self):
        self.assertIn("shows the streams", self.query("SELECT * FROM nosuch").stderr)

    def test_the_time_range_counts(self):
        self.assertEqual(self.query("--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z", "SELECT * FROM app").stdout, "")


if __name__ == "__main__":
    main()
