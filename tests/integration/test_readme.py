"""The README's tour works, typed as it stands."""
import os
import re
import socket
import subprocess
import sys
import unittest


from weirlib import BINARY, ROOT, SKIP, TestNode, main  # puts tools/ on the path
from first_run import process_records  # noqa: E402

PORT = 5080


def tour():
    with open(os.path.join(ROOT, "README.md")) as readme:
        return re.search(r"<!-- tour begins.*?```sh\n(.*?)```\n<!-- tour ends", readme.read(), re.S).group(1)


class Tour(unittest.TestCase):
    def test_the_tour_works_as_it_stands(self):
        node = TestNode(ZO_HTTP_PORT=str(PORT))
        self.addCleanup(node.destroy)
        node.url, node.port = f"http://127.0.0.1:{PORT}", PORT
        node.data_dir = os.path.join(node.scratch, "data/weir")
        node.mount = os.path.join(node.data_dir, "mnt")
        node.env["ZO_DATA_DIR"] = node.data_dir
        os.makedirs(os.path.join(node.scratch, "build/run"))
        os.symlink(os.path.abspath(BINARY), os.path.join(node.scratch, "build/run/weir"))
        node.start()
        node.send("processes", process_records() or [{"comm": "init", "pid": 1}])
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ZO_", "WEIR_"))}
        result = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", tour()], cwd=node.scratch, env=env,
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        for expected in ('"successful":2', '"user_name":"ada"', "it burns", '{"level":"error","n":1}',
                         "_timestamp,log,user_name", '"minute":"20', '{"status":"ok"}', "ZO_ROOT_USER_EMAIL",
                         '{"name":"took_ms","type":"Float64"', ".parquet", "default/logs/notes", '"lines_stored":'):
            self.assertIn(expected, result.stdout)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            print(f"skipped: port {PORT}, which the tour names, is in use")
            sys.exit(SKIP)
    main()
