"""The frame of the command line: help, one-line errors, exit codes."""

import dataclasses
import importlib
import os
import resource
import subprocess
import sys

import pytest

from galaxyjax.cli import app
from galaxyjax.core.errors import DataError


def test_help_has_one_line_a_verb(command):
    outcome = command("--help")
    assert outcome.code == 0 and outcome.err == ""
    lines = [line.split(maxsplit=1)[0] for line in outcome.out.splitlines() if line.startswith("  ")]
    assert lines[: len(app.VERBS)] == list(app.VERBS)
    assert command().out == outcome.out == command("help").out


@pytest.mark.parametrize("verb", list(app.VERBS))
def test_every_verb_has_help_that_explains_every_option(command, verb):
    outcome = command(verb, "--help")
    assert outcome.code == 0 and outcome.out.startswith(f"usage: galaxyjax {verb}")
    kind = getattr(importlib.import_module(f"galaxyjax.cli.{app.VERBS[verb].module}"), app.VERBS[verb].name)
    for field in dataclasses.fields(kind):
        assert f"--{field.name.replace('_', '-')} " in outcome.out or "Positional" in field.type
    assert "(default: None)" not in outcome.out
    assert command("help", verb).out == outcome.out


def test_help_takes_less_than_half_a_second():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-m", "galaxyjax", "--help"], capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 0, ended.stderr
    # Processor time, because other tests may be keeping the machine busy.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_no_verb_module_imports_jax_when_it_is_parsed():
    program = (
        "import sys, contextlib, io, galaxyjax.cli as c\n"
        "from galaxyjax.cli.app import VERBS\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    codes = [c.main([verb, '--help']) for verb in VERBS]\n"
        "heavy = {'jax', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy or any(codes) else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_a_wrong_verb_is_one_line_and_exit_code_2(command, failed):
    failed(command("predct"), "unknown verb 'predct'", "did you mean predict?")


def test_a_wrong_option_before_the_verb(command, failed):
    failed(command("--hepl"), "unknown option '--hepl'", "did you mean --help?")


@pytest.mark.parametrize(
    "words, said",
    [
        (("predict", "--sett", "h=0.7"), "did you mean --set?"),
        (("predict", "--z", "zero"), "--z"),
        (("predict", "--output"), "--output"),
        (("predict", "a", "b"), "Unrecognized options: b"),
        (("shelf", "--json=maybe"), "maybe"),
    ],
)
def test_a_wrong_option_or_value_is_one_line_and_points_to_help(command, failed, words, said):
    failed(command(*words), said, f"galaxyjax {words[0]} --help")


def test_version(command):
    from galaxyjax import __version__

    assert command("--version").out == f"galaxyjax {__version__}\n"


class Broken:
    """A verb that ends with an exception."""

    resume = "run it again to go on"

    def __init__(self, error):
        self.error = error

    def run(self):
        raise self.error


@pytest.mark.parametrize(
    "error, code, said",
    [
        (DataError("covariance:\n not positive"), 2, "covariance: not positive"),
        (KeyboardInterrupt(), 130, "interrupted; run it again to go on"),
        (PermissionError(13, "Permission denied", "/root/x"), 2, "/root/x: Permission denied"),
        (ModuleNotFoundError("No module named 'camb'", name="camb"), 2, "camb is not installed: pip install"),
        (ZeroDivisionError("division"), 1, "ZeroDivisionError: division (a defect of galaxyjax"),
    ],
)
def test_every_failure_is_one_line_with_its_own_code(command, failed, monkeypatch, error, code, said):
    monkeypatch.setattr(app, "parse", lambda arguments: Broken(error))
    failed(command("any"), said, code=code)


def test_debug_shows_the_traceback(command, monkeypatch):
    monkeypatch.setattr(app, "parse", lambda arguments: Broken(DataError("bad")))
    outcome = command("any", "--debug")
    assert outcome.code == 2 and "Traceback" in outcome.err and outcome.err.endswith("galaxyjax: bad\n")


def test_a_closed_pipe_is_no_error():
    """`galaxyjax --help | head -1` ends quietly."""
    program = f"{sys.executable} -m galaxyjax --help | head -1"
    ended = subprocess.run(
        program, shell=True, capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert ended.stdout.startswith("usage: galaxyjax") and ended.stderr == ""
