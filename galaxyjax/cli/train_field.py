"""`galaxyjax train` for networks of fields: recipe and mesh to weights, on any number of processes."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import gcd
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.cli import console
from galaxyjax.cli.app import explain, fail
from galaxyjax.cli.recipe import promise
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import write_json, write_npz
from galaxyjax.emulator.contract import Contract
from galaxyjax.emulator.store import save
from galaxyjax.simulate.fields import whole_suite
from galaxyjax.train.displacement import DisplacementSuite
from galaxyjax.train.field import FieldTraining, Start, Trained, train
from galaxyjax.train.preempt import TOLD_TO_STOP


def run(
    training: FieldTraining,
    recipe: ModuleType,
    file: Path,
    out: Path,
    checkpoints: Path,
    mesh: Mesh,
    *,
    profile: bool,
    patience: float,
    json: bool,
    part: str = "",
) -> None:
    """Train and write weights, curves and a summary to `out`; SystemExit(143) when told to stop early.

    A recipe without `contract()` gives weights alone: weights/weights.npz. part: added to the names of curves
    and summary, of a recipe with several trainings.
    """
    began = time.monotonic()
    trained = train(training, mesh, checkpoints, profile=profile, patience=patience, label=file.parent.name)
    # Shards lie on all processes: everyone takes part, and process 0 writes.
    whole = jax.jit(lambda w: w, out_shardings=NamedSharding(mesh, P()))(trained.weights)
    if jax.process_index() == 0:
        if trained.told_to_stop:
            console.note(
                f"stopped at step {trained.step} as told, saved; the same command goes on from there"
            )
        else:
            _write(training, recipe, file, out, trained, whole, mesh, time.monotonic() - began, json, part)
    if trained.told_to_stop:
        raise SystemExit(TOLD_TO_STOP)


def after(second: FieldTraining, out: Path) -> FieldTraining:
    """Return a recipe's second training, which begins with the weights that its first one left in `out`."""
    return replace(second, start=Start(str(out)))


def with_truth(training: FieldTraining, folder: Path, runs: int | None) -> FieldTraining:
    """Return a training with its examples from the runs in `folder`, only the first `runs` where given.

    A source that makes its own examples stays as it is. Raises ConfigError for `runs` where there are none,
    else as `whole_suite`.
    """
    source = training.source
    if not isinstance(source, DisplacementSuite):
        if runs is not None:
            raise ConfigError(f"--runs {runs}: this recipe makes its own examples; leave it out")
        return training
    suite = source.suite
    if runs is not None:
        suite = replace(suite, runs=min(runs, suite.runs))
    whole_suite(suite, folder)
    return replace(training, source=replace(source, suite=suite, folder=folder))


def spread(training: FieldTraining, devices: int) -> str:
    """Return the mesh of all devices for a recipe: as much of the batch as divides, then planes of x, then y.

    What divides neither gets the mesh's own error, with its numbers.
    """
    data = gcd(devices, training.fit.batch)
    blocks = training.cells // training.model.multiple
    x = gcd(devices // data, blocks)
    return f"data={data},x={x},y={devices // data // x}"


@contextmanager
def leave_at_once_on_error() -> Iterator[None]:
    """Within: a process of several that fails says its error and ends.

    An ordinary exit would wait for threads that write a checkpoint together with the others, and for the
    others themselves, who wait for this one in a collective.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        debug = "--debug" in sys.argv
        if debug:
            traceback.print_exc()
        code = fail(*explain(error, debug))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _write(
    training, recipe, file, out, trained: Trained, whole, mesh, wall: float, json: bool, part: str
) -> None:
    if hasattr(recipe, "contract"):
        save(out, whole, promise(recipe, Contract, file))
    else:
        leaves = jax.tree_util.tree_leaves_with_path(whole)
        named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
        write_npz(out / "weights" / "weights.npz", {name: np.asarray(leaf) for name, leaf in named.items()})
    steps, loss, held_out, best = np.transpose(trained.history)
    about = {
        "steps": trained.step,
        "best_held_out": float(best[-1]),
        "mesh": {axis: int(size) for axis, size in mesh.shape.items()},
        "processes": jax.process_count(),
        "seconds_a_step": trained.seconds_a_step,
        "model_flop_utilisation": trained.utilisation,
        "identity": training.identity(),
    }
    write_json(out / "validation" / f"training{part}.json", about)
    write_npz(out / "validation" / f"training{part}.npz", {"history": np.asarray(trained.history)})
    _draw(out / "validation" / f"training{part}.png", steps, {"training": loss, "held out": held_out})
    if json:
        console.print_json({"folder": out, **about, "losses": trained.losses})
        return
    rows = [(str(int(s)), f"{a:.3e}", f"{b:.3e}") for s, a, b in zip(steps, loss, held_out, strict=True)]
    console.table(["step", "training loss", "held out"], rows[-10:])
    console.say(f"wrote {out} ({trained.step} steps, {wall:.0f} s)")


def _draw(path: Path, steps, curves) -> None:
    """Training curves, where Matplotlib (extra `sample`) is installed: a compute node often has none."""
    try:
        from galaxyjax.report import plots, style
    except ModuleNotFoundError:
        return
    style.save(plots.training_curves(steps, curves), path)
