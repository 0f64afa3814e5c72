"""Damaged files are read, or refused with one line that names them: no crash, no hang, no bomb."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.data import mutate

VICTIM = Path(__file__).with_name("victim.py")
ROOT = VICTIM.parents[2]
HANG_S = 5.0
NAMES = ("PartType", "block", "entry", "Group", "Subhalo", "header")


class Victim:
    """The process that reads; started again when it dies."""

    def __init__(self):
        self.process = None

    def ask(self, path: Path, kind: str) -> dict:
        """What came of a file; outcome "crash" when the process died of it."""
        if self.process is None:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
            self.process = subprocess.Popen(
                [sys.executable, str(VICTIM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        self.process.stdin.write(json.dumps({"path": str(path), "kind": kind}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.process = None
        return {"outcome": "crash", "message": f"exit {code}", "seconds": 0.0, "peak": 0, "stage": ""}

    def close(self):
        """End it."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(30)
            self.process.stdout.close()


@pytest.fixture
def victim():
    made = Victim()
    yield made
    made.close()


def scale_of_time() -> float:
    """How much longer than the processor's time a loop takes here: above 1 on a busy machine."""
    began, work = time.monotonic(), time.process_time()
    while time.process_time() - work < 0.2:
        pass
    return max(1.0, (time.monotonic() - began) / 0.2)


def trial(victim, folder: Path, count: int, first: int = 0) -> Counter:
    """Try `count` damaged files; assert what is promised of each; return how they ended."""
    sources = mutate.originals(folder)
    outcomes, slowest, largest = Counter(), 0.0, 0
    for path, kind, size in sources:  # whole files first: a test of mutations proves nothing if these fail
        found = victim.ask(path, kind)
        assert found["outcome"] == "read" and found["bytes"] > 0.4 * size, (path, found)
    for number in range(first, first + count):
        source, kind, size = sources[number % len(sources)]
        target = folder / f"case{number}" / source.name
        target.parent.mkdir()
        done = mutate.mutate(source, kind, number, target)
        began = time.monotonic()
        found = victim.ask(target, kind)
        seconds = time.monotonic() - began
        context = f"{number} {source.name} {done}: {found}"
        assert found["outcome"] in ("read", "error"), context
        if seconds > HANG_S:
            assert seconds <= HANG_S * scale_of_time() * 2, context
        assert found["peak"] <= 4 * size + (64 << 20), context
        if found["outcome"] == "error":
            message = found["message"]
            assert "\n" not in message and len(message) < 1000, context
            assert target.name in message, context
            if found["stage"] != "open":
                assert any(word in message for word in ("PartType", "block", "entry", "Group", "Subhalo")), (
                    context
                )
        outcomes[f"{kind} {found['outcome']}"] += 1
        slowest, largest = max(slowest, seconds), max(largest, found["peak"])
        target.unlink()
    ends = dict(sorted(outcomes.items()))
    print(f"{count} files: {ends}; slowest {slowest:.2f} s, largest {largest >> 10} KiB")
    return outcomes


def test_two_hundred_damaged_files(victim, tmp_path):
    outcomes = trial(victim, tmp_path, 200)
    refused = sum(n for name, n in outcomes.items() if name.endswith("error"))
    assert refused > 60  # the damage is real


@pytest.mark.slow
def test_two_thousand_damaged_files(victim, tmp_path):
    outcomes = trial(victim, tmp_path, 2000, first=1000)
    assert sum(outcomes.values()) == 2000


def test_a_pipe_is_not_opened(tmp_path, victim):
    os.mkfifo(tmp_path / "snapshot.hdf5")
    found = victim.ask(tmp_path / "snapshot.hdf5", "snapshot")
    assert found["outcome"] == "error" and "not a regular file" in found["message"]
