# label: long
"""Hundreds of kills of every process under load."""
import unittest

from torture import torture
from weirlib import main


class Torture(unittest.TestCase):
    def test_three_hundred_kills(self):
        torture(self, 300, ["gateway", "fs", "engine", "everything"], seed=5)


if __name__ == "__main__":
    main()
