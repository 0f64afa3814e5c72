"""`galaxyjax train`: from truth to an emulator on the shelf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.cli.recipe import constant, load_recipe, promise, truth_folder
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Train:
    """Train an emulator from its recipe and write it to its folder: contract, weights, training curves."""

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """An emulator's folder, e.g. emulators/matter_power."""
    truth: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: truth/<name>)")
    ] = None
    """Where `galaxyjax simulate` put the truth."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: the recipe's own)")
    ] = None
    """Folder of the trained emulator."""
    checkpoints: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/<name>)")
    ] = None
    """Where checkpoints go, from which a stopped training goes on."""
    runs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Train on the first N truth runs only."""
    mesh: Sizes = None
    """Devices along data, x, y and stage (a pipeline); see launch --help. Else all: the batch, then space."""
    profile: bool = False
    """Write a trace of steps for TensorBoard or Perfetto beside the checkpoints (networks of fields)."""
    hang_after: Annotated[float, tyro.conf.arg(metavar="S")] = 1800.0
    """End a process in which nothing has happened for this many seconds; 0 for never (likewise)."""
    json: bool = False
    """Print the result as JSON."""

    resume: ClassVar[str] = "checkpoints are kept; the same command goes on from the last one"

    def run(self) -> None:
        folder, recipe = load_recipe(self.recipe)
        console.start_jax()
        file = folder / "recipe.py"
        from galaxyjax.train.field import FieldTraining

        if isinstance(getattr(recipe, "TRAINING", None), FieldTraining):
            return self._fields(recipe, folder, file)
        if self.profile:
            raise ConfigError(f"{file}: --profile is for networks of fields; leave it out")
        from galaxyjax.train.response import ResponseTraining

        if isinstance(getattr(recipe, "TRAINING", None), ResponseTraining):
            return self._responses(recipe, folder, file)
        mesh = mesh_of(
            self.mesh, "train", ("data",), why="spectra: examples lie along data", default="data=1"
        )
        import time

        import numpy as np

        from galaxyjax.core.files import write_json, write_npz
        from galaxyjax.emulator.contract import Contract
        from galaxyjax.emulator.store import save
        from galaxyjax.report import plots, style
        from galaxyjax.simulate.suite import read_suite
        from galaxyjax.train.spectrum import SpectrumTraining, train

        training = constant(recipe, "TRAINING", SpectrumTraining, file)
        contract = promise(recipe, Contract, file)
        truth = truth_folder(self.truth, folder) / "truth"
        runs = read_suite(truth, self.runs)
        checkpoints = self.checkpoints or Path("runs") / folder.resolve().name
        began = time.monotonic()
        weights, history = train(training, runs, checkpoints, mesh)
        wall = time.monotonic() - began
        out = self.out or folder
        save(out, weights, contract)
        best = {name: rows[-1][2] ** 0.5 for name, rows in history.items()}
        about = {"runs": len(runs), "wall_s": wall, "identity": training.identity(runs), "rms": best}
        write_npz(out / "validation" / "training.npz", {name: np.asarray(h) for name, h in history.items()})
        write_json(out / "validation" / "training.json", about)
        for name, rows in history.items():
            steps, loss, held_out = np.transpose(rows)
            figure = plots.training_curves(steps, {"training": loss, "best validation": held_out})
            style.save(figure, out / "validation" / f"training_{name}.png")
        if self.json:
            console.print_json({"folder": out, "runs": len(runs), "wall_s": wall, "rms_ln_power": best})
            return
        console.table(["network", "rms of ln P, validation"], [(n, f"{v:.2e}") for n, v in best.items()])
        console.say(f"wrote {out} ({len(runs)} truth runs, {wall:.0f} s)")
        console.say(f"next: galaxyjax validate {out}")

    def _responses(self, recipe: ModuleType, folder: Path, file: Path) -> None:
        for option, value in (("runs", self.runs), ("checkpoints", self.checkpoints), ("mesh", self.mesh)):
            if value is not None:
                raise ConfigError(f"{file}: --{option} is for networks; nine simulations take a second")
        from galaxyjax.cli.responses import train

        train(recipe, file, truth_folder(self.truth, folder), self.out or folder, self.json)

    def _fields(self, recipe: ModuleType, folder: Path, file: Path) -> None:
        from galaxyjax.cli import train_field
        from galaxyjax.train.field import FieldTraining

        mesh = mesh_of(
            self.mesh,
            "train",
            ("data", "x", "y", "stage"),
            several=True,
            default=lambda devices: train_field.spread(recipe.TRAINING, devices),
        )
        training = train_field.with_truth(
            recipe.TRAINING, truth_folder(self.truth, folder) / "truth", self.runs
        )
        out, options = (
            self.out or folder,
            dict(profile=self.profile, patience=self.hang_after, json=self.json),
        )
        checkpoints = self.checkpoints or Path("runs") / folder.resolve().name
        with train_field.leave_at_once_on_error():
            train_field.run(training, recipe, file, out, checkpoints, mesh, **options)
            if hasattr(recipe, "SECOND"):
                second = train_field.after(constant(recipe, "SECOND", FieldTraining, file), out)
                train_field.run(
                    second, recipe, file, out, checkpoints / "second", mesh, part="_second", **options
                )
