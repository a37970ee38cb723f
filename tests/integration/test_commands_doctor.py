"""weir doctor: what it sees, and how it says to mend it."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

from test_commands import weir
from weirlib import BINARY, EMAIL, PASSWORD, TestNode, free_port, main

USER = {"ZO_ROOT_USER_EMAIL": EMAIL, "ZO_ROOT_USER_PASSWORD": PASSWORD}


def parse(text):
    return {row["check"]: row for row in map(json.loads, text.splitlines())}


class Doctor(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="weir-test-")
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def env(self, **settings):
        return {"ZO_DATA_DIR": f"{self.scratch}/weir", "ZO_HTTP_PORT": str(free_port()), **USER, **settings}

    def doctor(self, **settings):
        result = weir("doctor", "--json", env=self.env(**settings))
        return result.returncode, parse(result.stdout)

    def inside(self, *wrapper):
        """What it says when something is taken away from it."""
        env = dict(os.environ, **self.env())
        return parse(subprocess.run([*wrapper, BINARY, "doctor", "--json"], env=env, capture_output=True, text=True).stdout)

    def test_a_good_machine_passes_and_nothing_is_left(self):
        code, found = self.doctor()
        self.assertEqual(code, 0, found)
        self.assertFalse([name for name, row in found.items() if row["verdict"] == "bad"])
        for name in ("versions", "/dev/fuse", "rights", "kernel", "mount", "open files", "disk", "fdatasync", "port"):
            self.assertIn(name, found)
        self.assertEqual(os.listdir(self.scratch), [])
        with open("/proc/self/mountinfo") as mounts:
            self.assertNotIn("weir-doctor", mounts.read())

    def test_without_a_root_user_the_first_starts_counts(self):
        nobody = {"ZO_ROOT_USER_EMAIL": "", "ZO_ROOT_USER_PASSWORD": ""}
        self.assertEqual(self.doctor(**nobody)[1]["root user"]["verdict"], "bad")
        os.makedirs(f"{self.scratch}/weir/meta")
        found = self.doctor(**nobody)[1]["root user"]
        self.assertEqual((found["verdict"], found["saw"]), ("ok", "none is named: that of the first start counts"))

    def test_a_mount_dir_with_something_in_it_is_bad(self):
        mount = f"{self.scratch}/look"
        for full, verdict in ((False, "ok"), (True, "bad")):
            if full:
                os.makedirs(f"{mount}/precious")
            code, found = self.doctor(WEIR_MOUNT_DIR=mount)
            self.assertEqual((code, found["mount dir"]["verdict"]), (int(full), verdict), found)

    def test_the_text_fits_80_columns_and_ends_with_a_verdict(self):
        # A busy disk is a warning too.
        for settings, last in (({}, r"a node can run(; \d+ warnings?)?$"), ({"ZO_FOO": "1"}, r"a node can run; \d+ warnings?$")):
            result = weir("doctor", env=self.env(**settings))
            self.assertRegex(result.stdout.splitlines()[-1], last)
            self.assertLessEqual(max(map(len, result.stdout.splitlines())), 80)

    def test_each_setting_that_cannot_work_is_bad_and_comes_with_a_mend(self):
        with socket.socket() as other:
            other.bind(("0.0.0.0", 0))
            other.listen()
            cases = (("port", {"ZO_HTTP_PORT": str(other.getsockname()[1])}), ("data", {"ZO_DATA_DIR": "/dev/null/x"}),
                     ("root user", {"ZO_ROOT_USER_EMAIL": ""}), ("settings", {"ZO_HTTP_PORT": "x"}),
                     ("disk", {"WEIR_DISK_RESERVE": "900T"}))
            for name, settings in cases:
                code, found = self.doctor(**settings)
                self.assertEqual((code, found[name]["verdict"]), (1, "bad"), name)
                self.assertTrue(found[name]["mend"], name)

    def test_what_is_unwise_is_a_warning(self):
        for name, settings in (("settings", {"ZO_NO_SUCH": "1"}), ("disk", {"WEIR_JOURNAL_MAX": "900T"})):
            code, found = self.doctor(**settings)
            self.assertEqual((code, found[name]["verdict"]), (0, "warn"), name)

    @unittest.skipUnless(os.geteuid() == 0, "not root: cannot take things away")
    def test_a_machine_without_fuse_or_rights_is_told_what_it_lacks(self):
        alone = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
        if alone.returncode != 0:
            self.skipTest(f"no mount namespace of its own (in a chroot whose root is no mount): {alone.stderr.strip()}")
        found = self.inside("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh")
        self.assertEqual(found["/dev/fuse"]["verdict"], "bad")
        self.assertIn("--device /dev/fuse", found["/dev/fuse"]["mend"])
        self.assertEqual(found["mount"]["verdict"], "bad")
        found = self.inside("setpriv", "--bounding-set", "-sys_admin")
        self.assertEqual(found["rights"]["verdict"], "bad")
        self.assertIn("SYS_ADMIN", found["mount"]["mend"])
        found = self.inside("prlimit", "--nofile=500")
        self.assertEqual(found["open files"]["verdict"], "warn")

    def test_a_running_node_is_known_and_left_alone(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        result = weir("doctor", "--json", env={k: v for k, v in node.env.items() if k.startswith("ZO_")})
        found = parse(result.stdout)
        self.assertEqual(result.returncode, 0, found)
        self.assertIn(f"process {node.process.pid}", found["owner"]["saw"])
        self.assertEqual(node.post_json("app", [{"a": 1}])[0], 200)
        node.kill_everything()
        result = weir("doctor", "--json", env={k: v for k, v in node.env.items() if k.startswith("ZO_")})
        self.assertEqual(parse(result.stdout)["owner"]["verdict"], "note")


if __name__ == "__main__":
    main()
