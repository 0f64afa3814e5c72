"""`galaxyjax simulate`: the truth behind an emulator, or the packaged mock survey."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, ClassVar, Literal

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.cli.recipe import constant, load_recipe, truth_folder
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Simulate:
    """Run the truth suites of a recipe, one file a run; what is there already is not run again.

    `galaxyjax simulate mock` makes the mock survey of the quickstart again instead.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """An emulator's folder, e.g. emulators/matter_power; or the words `mock` and `field` (nbody_field's)."""
    part: Literal["both", "truth", "test"] = "both"
    """Which suite: what the emulator learns from (truth), what judges it (test), or both."""
    runs: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: the recipe's number)")
    ] = None
    """Only the first N runs of each suite."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one a core)")] = (
        None
    )
    """Processes."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: truth/<name>, or mock_shear.npz)"),
    ] = None
    """Where the suites are written; for `mock`, the file."""
    mesh: Sizes = None
    """Devices along x and y for suites of fields. CAMB runs on processes (--workers), not on devices."""
    json: bool = False
    """Print what was done as JSON."""

    resume: ClassVar[str] = "whole runs are kept; the same command goes on from there"

    def run(self) -> None:
        for name in ("runs", "workers"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"--{name} {getattr(self, name)}: give 1 or more")
        if self.recipe == "mock":
            self._without_mesh()
            self._mock()
            return
        folder, recipe = load_recipe(self.recipe)
        from galaxyjax.simulate.fields import FieldSuite

        if isinstance(getattr(recipe, "TRUTH", None), FieldSuite):
            return self._fields(folder, recipe)
        self._without_mesh()
        from galaxyjax.simulate.responses import ResponseSuite

        if isinstance(getattr(recipe, "TRUTH", None), ResponseSuite):
            return self._responses(folder, recipe)
        from galaxyjax.cli.pool import worker_pool
        from galaxyjax.simulate.suite import PowerSuite, simulate

        out = truth_folder(self.out, folder)
        done = {}
        parts = ("truth", "test") if self.part == "both" else (self.part,)
        suites = {part: constant(recipe, part.upper(), PowerSuite, folder / "recipe.py") for part in parts}
        with worker_pool(self.workers) as pool:
            for part, suite in suites.items():
                if self.runs is not None:
                    suite = replace(suite, runs=min(self.runs, suite.runs))
                made = simulate(suite, out / part, executor=pool)
                done[part] = {"folder": out / part, "runs": suite.runs, "made_now": made}
        self._say(done, folder)

    def _say(self, done: dict, folder: Path) -> None:
        if self.json:
            console.print_json(done)
            return
        for part, what in done.items():
            console.say(
                f"{part}: {what['runs']} runs in {what['folder']}, {what['made_now']} of them made now"
            )
        console.say(f"next: galaxyjax train {folder}" + (f" --truth {self.out}" if self.out else ""))

    def _without_mesh(self) -> None:
        if self.mesh is not None:
            mesh_of(self.mesh, "simulate", (), why="CAMB runs on processes: --workers")

    def _fields(self, folder: Path, recipe: ModuleType) -> None:
        if self.workers is not None:
            raise ConfigError(f"--workers {self.workers}: fields run on devices; give --mesh x=N,y=M instead")
        console.start_jax()
        mesh = mesh_of(self.mesh, "simulate", ("x", "y"), why="a box lies along x and y", default="x=1")
        from galaxyjax.cli.fields import simulate

        parts = ("truth", "test") if self.part == "both" else (self.part,)
        done = simulate(recipe, folder, truth_folder(self.out, folder), parts, self.runs, mesh)
        self._say(done, folder)

    def _responses(self, folder: Path, recipe: ModuleType) -> None:
        for name, value in (("runs", self.runs), ("workers", self.workers)):
            if value is not None:
                raise ConfigError(f"--{name} has no meaning for {folder.name}: its truth is one table")
        from galaxyjax.cli.responses import simulate

        self._say(simulate(recipe, folder, truth_folder(self.out, folder)), folder)

    def _mock(self) -> None:
        for name in ("runs", "workers"):
            if getattr(self, name) is not None:
                raise ConfigError(f"--{name} has no meaning for the mock survey")
        path = self.out or Path("mock_shear.npz")
        if path.suffix != ".npz":
            raise ConfigError(f"--out {path}: the mock survey is one .npz file")
        from galaxyjax.core.progress import Progress
        from galaxyjax.simulate.mock import TRUTH_FILE, write_mock

        with Progress(None, "mock survey from CAMB"):
            write_mock(path)
        if self.json:
            console.print_json({"survey": path, "truth": path.parent / TRUTH_FILE})
        else:
            console.say(f"wrote {path} and {path.parent / TRUTH_FILE}")
