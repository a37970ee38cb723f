"""A few kills of each process under load (the long form is test_torture.py)."""
import os
import resource
import signal
import unittest

from torture import torture
from weirlib import TestNode, main, wait_for


class Kills(unittest.TestCase):
    def test_a_killed_gateway_loses_and_doubles_nothing(self):
        torture(self, 4, ["gateway"], seed=1)

    def test_a_killed_fs_loses_and_doubles_nothing(self):
        torture(self, 4, ["fs"], seed=2)

    def test_a_killed_node_loses_and_doubles_nothing(self):
        torture(self, 3, ["everything"], seed=3)

    def test_any_process(self):
        torture(self, 6, ["gateway", "fs", "engine", "everything"], seed=4)

    def test_a_process_that_cannot_be_started_is_tried_again(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        node.wait_ready()
        killed = {name: node.child(name) for name in ("fs", "engine")}
        limits = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "cannot be started" in node.log_tail(), what="a start that fails")
        resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, limits)
        for name, pid in killed.items():
            wait_for(lambda: node.child(name) != pid, what=f"another {name}")
        node.wait_ready()
        self.assertEqual(node.post_json("s", [{"a": 1}])[0], 200)

    def test_ctrl_c_is_the_supervisors_alone(self):
        node = TestNode()
        self.addCleanup(node.destroy)
        node.start()
        before = {name: node.child(name) for name in ("fs", "engine", "gateway")}
        for pid in before.values():  # a terminal sends it to the whole process group
            os.kill(pid, signal.SIGINT)
        self.assertEqual(node.post_json("s", [{"a": 1}])[0], 200)
        self.assertEqual(node.hits("SELECT a FROM s"), [{"a": 1}])
        self.assertEqual({name: node.child(name) for name in before}, before)
        os.killpg(node.process.pid, signal.SIGINT)
        self.assertEqual(node.process.wait(timeout=60), 0)
        self.assertNotIn("is started again", node.log_tail())


if __name__ == "__main__":
    main()
