# label: long
"""Hundreds of kills of every process under load."""
import unittest

from torture import torture
from weirlib import main


class Torture(unittest.TestCase):
    def test_three_hundred_kills(self):
        torture(self, 300, ["gateway", "fs", "engine", "everything"], seed=5)

    def test_two_hundred_kills_while_small_files_are_sealed(self):
        sealing = {"ZO_MAX_FILE_SIZE_ON_DISK": "1", "ZO_MAX_FILE_RETENTION_TIME": "2"}
        torture(self, 200, ["gateway", "fs", "engine", "engine", "everything"], seed=6, **sealing)


if __name__ == "__main__":
    main()
