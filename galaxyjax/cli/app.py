"""Words to calls: which verb, its options, and what every failure looks like from outside.

Exit codes: 0 done, 1 a defect of galaxyjax itself, 2 a request that cannot be met (one line on stderr says
why), 130 interrupted, 143 told to stop (SIGTERM) and saved, 124 a process that hung.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from galaxyjax.cli.interrupt import patient_interrupts
from galaxyjax.core.errors import ConfigError, GalaxyjaxError, unknown_name


class Verb(Protocol):
    """A parsed command: a frozen dataclass of options, with what it does and what to say after Ctrl-C."""

    resume: str

    def run(self) -> None: ...


@dataclass(frozen=True)
class Word:
    """Where a verb lives (its module is imported only when it is called) and its line in the help."""

    module: str
    name: str
    line: str


VERBS = {
    "quickstart": Word("quickstart", "Quickstart", "from survey data to a posterior in one command"),
    "data": Word("data", "Data", "datasets: list, fetch, verify, describe"),
    "shelf": Word("shelf", "Shelf", "the emulators at hand: domain, measured error; pack and unpack"),
    "predict": Word(
        "predict", "Predict", "spectra, or a box of matter, at one cosmology: table, file, figure"
    ),
    "infer": Word("infer", "Infer", "sample a posterior: chains, corner plot, summary"),
    "fisher": Word(
        "fisher", "Forecast", "what a survey's data constrain: Fisher matrix, profile likelihoods"
    ),
    "reconstruct": Word(
        "reconstruct", "Reconstruct", "initial conditions and cosmology from a tracer's field"
    ),
    "massmap": Word("massmap", "Massmap", "dark matter maps: the convergence behind masked, noisy shear"),
    "audit": Word("audit", "Audit", "check a chain against CAMB itself"),
    "calibrate": Word("calibrate", "Calibrate", "check by simulation that posteriors mean what they say"),
    "explain": Word("explain", "Explain", "why it says so: responses, attributions, what moves a halo"),
    "simulate": Word("simulate", "Simulate", "run the truth that an emulator learns from (resumable)"),
    "train": Word("train", "Train", "train an emulator from its recipe (resumable)"),
    "launch": Word("launch", "Launch", "run a verb as several processes that share one mesh"),
    "validate": Word("validate", "Validate", "measure an emulator against truth it never saw"),
    "card": Word("card", "Card", "an emulator's card: domain, truth, measured error, limits"),
}

EXAMPLES = """\
examples:
  galaxyjax quickstart --out first_run
  galaxyjax predict matter_power --set omega_cdm=0.12 h=0.68 --z 0 0.5 1 --plot spectra.png
  galaxyjax predict nbody_field --cells 64 --seed 1 --out field.h5 --plot field.png
  galaxyjax infer kids1000 --out chains/kids1000
  galaxyjax audit chains/kids1000
"""

FOOTER = """\
Every verb has --help, and --json where it prints a result. --debug shows the traceback of an error.
Environment: GALAXYJAX_DATA (folder with survey data), GALAXYJAX_CACHE (downloads and compiled code),
GALAXYJAX_QUIET=1 (no progress). Exit codes: 0 done, 2 cannot be done as asked, 130 interrupted, 143 told to
stop and saved, 124 ended by the watchdog, 1 a defect.
"""


def usage() -> str:
    """The text of `galaxyjax --help`: one line a verb."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {word.line}" for name, word in VERBS.items())
    return (
        "usage: galaxyjax VERB [options]\n\n"
        "Emulators for cosmology as pure functions with a contract: make one, prove one, use one.\n\n"
        f"verbs:\n{verbs}\n\n{EXAMPLES}\n{FOOTER}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but a defect under --debug raises."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files, with a display or without
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    verb = None
    try:
        verb = parse(arguments)
        if verb is not None:
            with patient_interrupts():
                verb.run()
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # --help of a verb
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return fail(f"interrupted; {getattr(verb, 'resume', 'nothing was written')}", 130)
    except BrokenPipeError:
        # The reader (head, a pager) has what it wanted; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        return fail(*explain(error, debug))


def parse(arguments: Sequence[str]) -> Verb | None:
    """The command's options as its verb's dataclass, or None when help or the version was all that was asked.

    Raises UnknownName for a wrong verb, ConfigError for a wrong option or value.
    """
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["help"]:
        print(usage(), end="")
        return None
    if arguments[0] in ("-V", "--version", "version"):
        from galaxyjax import __version__

        print(f"galaxyjax {__version__}")
        return None
    if arguments[0] == "help":
        arguments = [arguments[1], "--help"]
    name, *rest = arguments
    if name not in VERBS:
        kind = "option" if name.startswith("-") else "verb"
        raise unknown_name(kind, name, [*VERBS, "--help", "--version"] if kind == "option" else VERBS)
    word = VERBS[name]
    kind = getattr(importlib.import_module(f"galaxyjax.cli.{word.module}"), word.name)
    return _options(kind, f"galaxyjax {name}", rest)


def _options(kind: type, program: str, arguments: Sequence[str]) -> Verb:
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
            return tyro.cli(kind, prog=program, args=arguments, config=config)
    except SystemExit as stop:
        if not stop.code:
            raise
    raise ConfigError(f"{_one_line(complaint.getvalue())} (see {program} --help)")


# tyro frames its messages with lines of these, or of ASCII where the terminal knows no better.
_RULE = re.compile(r"[─-]{8,}")


def _one_line(box: str) -> str:
    """The first paragraph of one of tyro's framed messages, without the frame; a suggestion is kept."""
    lines = [line.strip("│|").rstrip(" │|") for line in box.splitlines() if line[:1] not in ("╭", "╰", "+")]
    text, *others = _RULE.split("\n".join(lines))
    if not box.startswith("╭") and others:  # the title is then a paragraph of its own
        text, *others = others
    if text.strip().startswith("Missing from"):
        # Names are indented by four beyond the frame's one or two, their help by eight.
        names = re.findall(r"^ {5,6}(\S.*)$", text, re.MULTILINE)
        return f"missing: {', '.join(names)}"
    text = " ".join(text.split())
    for paragraph in others:
        words = paragraph.split()
        if words[:3] == ["Perhaps", "you", "meant:"] and len(words) > 3:
            text += f"; did you mean {words[3]}?"
    return text or " ".join(box.split())


def explain(error: Exception, debug: bool) -> tuple[str, int]:
    """One line and an exit code for an exception."""
    if isinstance(error, GalaxyjaxError):
        return str(error), 2
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("galaxyjax"):
        package = str(error.name).partition(".")[0]
        extras = {"camb": "camb", "grain": "data", "hdf5plugin": "data", "tensorboardX": "train"}
        extra = extras.get(package, "sample")
        return f"{package} is not installed: pip install 'galaxyjax[{extra}]'", 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 2
    hint = "" if debug else " (a defect of galaxyjax: --debug shows the traceback; please report it)"
    return f"{type(error).__name__}: {error}{hint}", 1


def fail(message: str, code: int) -> int:
    """Print the one line of a failure on stderr and return its exit code."""
    print("galaxyjax: " + " ".join(message.split()), file=sys.stderr)
    return code
