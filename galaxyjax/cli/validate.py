"""`galaxyjax validate`: an emulator against truth it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.cli.recipe import constant, load_recipe, truth_folder
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Validate:
    """Measure an emulator on its recipe's test suite, and its gradients against CAMB.

    Writes numbers, figures and a page to <emulator>/validation, the measured error to its contract, and its
    card.md. With --out it only looks: the emulator's folder stays as it is.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EMULATOR")]
    """An emulator's folder with its recipe, e.g. emulators/matter_power."""
    truth: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: truth/<name>)")
    ] = None
    """Where `galaxyjax simulate` put the truth."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: <emulator>/validation)")
    ] = None
    """Write numbers, figures and page here instead, and nothing to the emulator."""
    runs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Look at the first N test runs only (with --out)."""
    gradients: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    """Cosmologies at which gradients are checked with the truth's code (minutes each); 0 for none."""
    draws: Annotated[int, tyro.conf.arg(metavar="N")] = 19
    """Samples of each field where the emulator has them (baryons); 0 for none."""
    mesh: Sizes = None
    """Devices along data (spectra: cosmologies) or x and y (fields); one device when left out."""
    json: bool = False
    """Print the result as JSON."""

    resume: ClassVar[str] = "the emulator is as it was; the same command starts again"

    def run(self) -> None:
        if self.runs is not None and self.out is None:
            raise ConfigError(
                f"--runs {self.runs} is a partial look, not a validation: say with --out where it goes"
            )
        if self.gradients < 0:
            raise ConfigError(f"--gradients {self.gradients}: give 0 or more")
        folder, recipe = load_recipe(self.recipe)
        from galaxyjax.simulate.fields import FieldSuite

        if isinstance(getattr(recipe, "TEST", None), FieldSuite):
            return self._fields(folder, recipe)
        from galaxyjax.train.hydro import BaryonExamples

        if isinstance(getattr(recipe, "TEST", None), BaryonExamples):
            return self._baryons(folder, recipe)
        console.start_jax(x64=True)
        from galaxyjax.train.response import ResponseTraining

        if isinstance(getattr(recipe, "TRAINING", None), ResponseTraining):
            return self._responses(folder, recipe)
        why = "spectra: cosmologies lie along data"
        mesh = mesh_of(self.mesh, "validate", ("data",), why=why, default="data=1")
        from galaxyjax.emulator.store import WEIGHTS_FILE, load
        from galaxyjax.report.validation import write_validation
        from galaxyjax.simulate.suite import PowerSuite, read_suite
        from galaxyjax.validate import gradients, protocol, spectra

        emulator = load(folder)
        suite = constant(recipe, "TEST", PowerSuite, folder / "recipe.py")
        truth = truth_folder(self.truth, folder)
        runs = read_suite(truth / "test", self.runs)
        if (truth / "truth").is_dir():
            protocol.check_apart(read_suite(truth / "truth"), runs)
        out = self.out or folder / "validation"
        weights = emulator.contract.files[WEIGHTS_FILE]
        protocol.touch_test_set(out, emulator.contract.version, weights, f"{suite.identity()}:{len(runs)}")
        outputs = tuple(entry.name for entry in emulator.contract.outputs)
        comparisons = spectra.compare_runs(emulator, runs, outputs, mesh)
        checks = self._gradients(emulator, outputs)
        summaries = spectra.save(out, comparisons)
        slopes = gradients.save(out, checks) if checks else {}
        page = write_validation(out, emulator.contract, comparisons, checks)
        if self.out is None:
            self._record(folder, emulator, comparisons, summaries, checks)
        if self.json:
            console.print_json({"page": page, "spectra": summaries, "gradients": slopes})
            return
        self._show(comparisons, checks)
        console.say(
            f"wrote {page}" + ("" if self.out else f", {folder / 'contract.json'}, {folder / 'card.md'}")
        )

    def _fields(self, folder: Path, recipe) -> None:
        console.start_jax()
        mesh = mesh_of(self.mesh, "validate", ("x", "y"), why="a field lies along x and y", default="x=1")
        from galaxyjax.cli.fields import validate
        from galaxyjax.emulator.store import load

        truth, slopes = truth_folder(self.truth, folder), self.gradients
        validate(load(folder), recipe, folder, truth, self.out, self.runs, slopes, mesh, self.json)

    def _responses(self, folder: Path, recipe) -> None:
        for option, value in (("runs", self.runs), ("mesh", self.mesh)):
            if value is not None:
                raise ConfigError(f"--{option} has no meaning for {folder.name}: all simulations, one device")
        from galaxyjax.cli.responses import validate

        validate(recipe, folder, truth_folder(self.truth, folder), self.out, self.json)

    def _baryons(self, folder: Path, recipe) -> None:
        for option, value in (("--truth", self.truth), ("--runs", self.runs)):
            if value is not None:
                raise ConfigError(
                    f"{option}: {folder} is judged by the snapshots that its recipe names; leave it out"
                )
        console.start_jax()
        mesh = mesh_of(self.mesh, "validate", ("x", "y"), why="a field lies along x and y", default="x=1")
        from galaxyjax.cli.hydro import validate
        from galaxyjax.emulator.store import load

        validate(load(folder), recipe, folder, self.out, self.draws, mesh, self.json)

    def _gradients(self, emulator, outputs) -> list:
        import numpy as np

        from galaxyjax.simulate.boltzmann import smooth_power
        from galaxyjax.validate.gradients import check, inner_cosmologies
        from galaxyjax.validate.protocol import GRADIENT_SEED

        if self.gradients == 0:
            return []
        points = inner_cosmologies(emulator.contract, self.gradients, GRADIENT_SEED)
        k = np.geomspace(1e-3, emulator.contract.k_range[1], 200)
        return [
            check(emulator, theta, np.array([0.0, 0.5, 1.5]), k, outputs, smooth_power) for theta in points
        ]

    def _record(self, folder, emulator, comparisons, summaries, checks) -> None:
        """The measured error into contract and error.npz, and the card that says it."""
        from dataclasses import replace

        import numpy as np

        from galaxyjax.emulator.error import ErrorModel, measure
        from galaxyjax.emulator.store import save
        from galaxyjax.report.card import write_card
        from galaxyjax.report.validation import common_k, gradient_rows

        contract = emulator.contract
        z = np.linspace(*contract.z_range, 10)
        model = {}
        for output, comparison in comparisons.items():
            k = common_k(comparison, contract.k_range, 128)
            model[output] = measure(comparison.residuals(k, z), k, z)
        error = {"spectra": summaries}
        if checks:
            largest = {}
            for output, _, value, _ in gradient_rows(checks):
                largest[output] = max(value, largest.get(output, 0.0))
            error["gradients"] = {"cosmologies": len(checks), "largest": largest}
        saved = save(folder, emulator.weights, replace(contract, error=error), ErrorModel(model))
        write_card(folder, saved.contract)

    def _show(self, comparisons, checks) -> None:
        from galaxyjax.report.validation import COLUMNS, error_rows, gradient_rows
        from galaxyjax.report.words import per_cent

        rows = [
            (output, part, str(n["cosmologies"]), *(per_cent(n[c]) if c in n else "-" for c in COLUMNS))
            for output, part, n in error_rows(comparisons)
        ]
        console.table(["output", "part", "cosmologies", *COLUMNS.values()], rows, left=2)
        if checks:
            slopes = [
                (o, name, per_cent(p95), per_cent(largest)) for o, name, largest, p95 in gradient_rows(checks)
            ]
            console.say()
            console.table(["output", "slope by", "95%", "largest"], slopes, left=2)
