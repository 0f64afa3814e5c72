"""Real jobs of several processes on this machine: start, watch, signal, end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"

# The recipe of second-order displacements in small: 20 steps, a checkpoint at every second one.
SMALL = f"""
from dataclasses import replace
from pathlib import Path

from galaxyjax.cli.recipe import run_python

real = run_python(Path({str(RECIPES / "second_order" / "recipe.py")!r}), "second_order")
model = replace(real.TRAINING.model, widths=(4, 8), blocks=(0, 1))
every = dict(evaluate_every={{evaluate}}, save_every={{save}})
fit = replace(real.TRAINING.fit, steps={{steps}}, batch=4, warmup=2, **every)
TRAINING = replace(real.TRAINING, model=model, fit=fit)
"""


def write_recipe(folder: Path, steps: int = 20, evaluate: int = 10, save: int = 2, more: str = "") -> Path:
    """A folder with the small recipe; `more` is Python that comes after it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = SMALL.format(steps=steps, evaluate=evaluate, save=save)
    (folder / "recipe.py").write_text(text + more)
    return folder


class Job:
    """`galaxyjax launch -- train` (or plain `train` for one process) in a process group of its own."""

    def __init__(
        self, recipe: Path, folder: Path, processes: int, devices: int, *options: str, mesh="data=2,x=2,y=2"
    ):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        words = ["train", str(recipe), "--mesh", mesh, "--out", str(folder / "out"), "--json"]
        words += ["--checkpoints", str(folder), *options]
        environment = os.environ | {"GALAXYJAX_QUIET": "1", "PYTHONUNBUFFERED": "1"}
        if processes > 1:
            words = [
                "launch",
                "--processes",
                str(processes),
                "--devices",
                str(devices),
                "--grace",
                "5",
                "--",
            ] + words
        else:
            environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        self.log = folder / f"log_{time.monotonic_ns()}.txt"
        with open(self.log, "w") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "galaxyjax", *words],
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def saved(self) -> list[int]:
        """Steps whose checkpoints are whole."""
        folders = (self.folder / "checkpoints").glob("*")
        return sorted(int(path.name) for path in folders if path.name.isdigit())

    def until(self, ready, limit: float = 240.0, or_ended: bool = False) -> None:
        """Wait until `ready()`; AssertionError with the log when that takes too long or the job ends."""
        began = time.monotonic()
        while not ready():
            if or_ended and self.process.poll() == 0:
                return
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            assert time.monotonic() - began < limit, f"not ready after {limit} s:\n{self.text()}"
            time.sleep(0.02)

    def end(self, limit: float = 240.0) -> int:
        """The exit code, once it ends by itself."""
        try:
            return self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {limit} s:\n{self.text()}") from None

    def kill(self) -> None:
        """kill -9 of the whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ranks(self) -> list[int]:
        """Process ids of the launched ranks (Linux)."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def ranks_left(self) -> bool:
        """Whether a process of the job's group is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def result(self) -> dict:
        """The JSON that rank 0 printed."""
        lines = [line.removeprefix("[0] ") for line in self.text().splitlines()]
        return json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))


def run(*arguments, **keywords) -> Job:
    """A job that has ended well."""
    job = Job(*arguments, **keywords)
    assert job.end() == 0, job.text()
    return job
