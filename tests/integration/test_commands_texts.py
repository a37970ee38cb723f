"""Texts made from the commands' tables: help, man pages, completion of bash and zsh."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from test_commands import weir
from weirlib import BINARY, NodeCase, main


def commands():
    return re.findall(r"^  (\w+) ", weir("--help").stdout, re.M)


class Help(unittest.TestCase):
    def test_it_fits_80_columns_and_has_examples_and_exit_codes(self):
        for name in commands():
            text = weir(name, "--help").stdout
            self.assertLessEqual(max(len(line) for line in text.splitlines()), 80, name)
            self.assertRegex(text, r"(?s)\nexamples:\n  .*\nexit codes:\n  0 ", name)
            self.assertEqual(weir("help", name).stdout, text)

    def test_what_is_one_too_many_is_named(self):
        for name in ("serve", "config", "reindex"):
            result = weir(name, "surplus")
            self.assertEqual(result.returncode, 2)
            self.assertIn("'surplus'", result.stderr)

    def test_a_word_that_is_no_choice_lists_the_choices(self):
        result = weir("ls", "--color", "sometimes")
        self.assertEqual(result.returncode, 2)
        self.assertIn("auto always never", result.stderr)


class Man(unittest.TestCase):
    def pages(self):
        yield "weir", weir("man").stdout
        for name in commands():
            yield name, weir("man", name).stdout

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_groff_has_no_complaint(self):
        for name, page in self.pages():
            with tempfile.NamedTemporaryFile("w", suffix=".1") as file:
                file.write(page)
                file.flush()
                shown = subprocess.run(["man", "--warnings", "-l", file.name], capture_output=True, text=True,
                                       env=dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8"))
            self.assertEqual((shown.returncode, shown.stderr), (0, ""), name)
            for heading in ("NAME", "SYNOPSIS", "DESCRIPTION"):
                self.assertIn(heading, shown.stdout)

    def test_every_option_of_the_help_is_in_the_page(self):
        for name, page in self.pages():
            text = weir(name, "--help").stdout if name != "weir" else ""
            for option in re.findall(r"^  (?:-\w, |    )--([\w-]+)", text, re.M):
                self.assertIn("\\-\\-" + option.replace("-", "\\-"), page)


class Completion(NodeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node.post_json("alpha", [{"a": 1}])
        cls.node.post_json("beta", [{"a": 1}])
        folder = os.path.join(cls.node.scratch, "bin")
        os.mkdir(folder)
        os.symlink(BINARY, os.path.join(folder, "weir"))
        cls.env = dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}", ZO_DATA_DIR=cls.node.data_dir)

    def bash(self, *words):
        script = 'source <(weir completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; echo "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", script, "bash", *words], env=self.env, capture_output=True, text=True, check=True).stdout.split()

    def test_bash_completes_commands_options_values_and_streams(self):
        self.assertEqual(self.bash("weir", "ta"), ["tail"])
        self.assertEqual(sorted(set(commands()) - set(self.bash("weir", ""))), [])
        self.assertEqual(self.bash("weir", "tail", "--fo"), ["--follow"])
        self.assertEqual(self.bash("weir", "query", "--format", ""), ["table", "json", "csv"])
        self.assertEqual(self.bash("weir", "query", "--format", "=", "c"), ["csv"])
        self.assertEqual(self.bash("weir", "tail", "-f", ""), ["alpha", "beta"])
        self.assertEqual(self.bash("weir", "tail", "b"), ["beta"])
        self.assertEqual(self.bash("weir", "completion", ""), ["bash", "zsh"])

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_reads_its_script(self):
        script = "autoload -U compinit; compinit -u -D; source <(weir completion zsh); print $_comps[weir]"
        result = subprocess.run(["zsh", "-f", "-c", script], env=self.env, capture_output=True, text=True)
        self.assertEqual((result.stdout, result.stderr), ("_weir\n", ""))


if __name__ == "__main__":
    main()
