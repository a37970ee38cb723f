"""A few kills of each process under load (the long form is test_torture.py)."""
import unittest

from torture import torture
from weirlib import main


class Kills(unittest.TestCase):
    def test_a_killed_gateway_loses_and_doubles_nothing(self):
        torture(self, 4, ["gateway"], seed=1)

    def test_a_killed_fs_loses_and_doubles_nothing(self):
        torture(self, 4, ["fs"], seed=2)

    def test_a_killed_node_loses_and_doubles_nothing(self):
        torture(self, 3, ["everything"], seed=3)

    def test_any_process(self):
        torture(self, 6, ["gateway", "fs", "engine", "everything"], seed=4)


if __name__ == "__main__":
    main()
