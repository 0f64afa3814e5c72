"""What `galaxyjax validate` does for emulators of baryons; `predict_hydro` has the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from jax.sharding import Mesh

from galaxyjax.cli import console
from galaxyjax.cli.recipe import constant
from galaxyjax.core.errors import DataError
from galaxyjax.emulator.hydro import HydroEmulator
from galaxyjax.emulator.store import WEIGHTS_FILE, save
from galaxyjax.report import hydro_table
from galaxyjax.report.card import write_card
from galaxyjax.report.hydro_validation import write_hydro_validation
from galaxyjax.train.hydro import BaryonExamples
from galaxyjax.validate import hydro, protocol


def validate(
    emulator: HydroEmulator,
    recipe: ModuleType,
    folder: Path,
    out: Path | None,
    draws: int,
    mesh: Mesh,
    json: bool,
) -> None:
    """Measure an emulator on the test pairs of its recipe; write numbers, figures, page, contract and card.

    draws: samples of the flow for each example, where there is one. With `out` it only looks: the emulator's
    folder stays as it is. Raises DataError when training saw a test simulation, ConfigError as
    `protocol.touch_test_set`.
    """
    file = folder / "recipe.py"
    test = constant(recipe, "TEST", BaryonExamples, file)
    check_apart(test, *(constant(recipe, name, BaryonExamples, file) for name in ("TRAIN", "VALIDATION")))
    place, contract = out or folder / "validation", emulator.contract
    protocol.touch_test_set(place, contract.version, contract.files[WEIGHTS_FILE], test.identity())
    draws = draws if emulator.model.flow is not None else 0
    result = hydro.validate(emulator, test, mesh, draws=draws)
    last = {round(float(z), 1): i for i, z in reversed(list(enumerate(result["z"])))}
    shown = [hydro.example(emulator, test, index, mesh) for index in last.values()]
    error = {
        "runs": len(test.simulations),
        "fields": len(test),
        "z": sorted(last),
        **result["summary"],
    }
    page = write_hydro_validation(place, contract, error, result, shown)
    if out is None:
        saved = save(folder, emulator.weights, replace(contract, error={"baryons": error}))
        write_card(folder, saved.contract)
    if json:
        console.print_json({"page": page, "baryons": error})
        return
    console.table(hydro_table.headers(error), hydro_table.rows(error, emulator.spacing), left=2)
    console.say(f"wrote {page}" + ("" if out else f", {folder / 'contract.json'}, {folder / 'card.md'}"))


def check_apart(test: BaryonExamples, *seen: BaryonExamples) -> None:
    """Raise DataError when a simulation of the test was seen in training."""
    known = {name for examples in seen for name in examples.simulations}
    for name in test.simulations:
        if name in known:
            raise DataError(f"test: {name} is also a training simulation; take one of them out")
