"""cmake --install: all below the prefix, and nothing of the machine's own settings."""
import os
import stat
import subprocess
import sys
import tempfile
import unittest

from weirlib import BINARY, SKIP

BUILD = os.path.dirname(os.path.abspath(BINARY))


class Install(unittest.TestCase):
    def install(self, *args):
        """Paths of what it puts where, as on an empty machine."""
        scratch = tempfile.TemporaryDirectory(prefix="weir-test-")
        self.addCleanup(scratch.cleanup)
        result = subprocess.run(["cmake", "--install", BUILD, *args], env={**os.environ, "DESTDIR": scratch.name}, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = {os.path.join(folder, name) for folder, _, names in os.walk(scratch.name) for name in names}
        return {path[len(scratch.name):]: stat.S_IMODE(os.stat(path).st_mode) for path in found}

    def test_everything_stands_below_the_prefix(self):
        files = self.install("--prefix", "/home/me/weir")
        self.assertIn("/home/me/weir/bin/weir", files)
        self.assertIn("/home/me/weir/share/man/man1/weir.1.gz", files)
        self.assertEqual([path for path in files if not path.startswith("/home/me/weir/")], [])

    def test_the_package_adds_the_settings_of_the_machine(self):
        self.assertEqual(self.install("--prefix", "/usr", "--component", "package"), {"/etc/weir/weir.env": 0o600})


if __name__ == "__main__":
    if not os.path.exists(f"{BUILD}/cmake_install.cmake"):
        print(f"skipped: {BUILD} is no build folder")
        sys.exit(SKIP)
    unittest.main()
