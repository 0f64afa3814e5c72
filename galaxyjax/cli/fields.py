"""What `galaxyjax simulate` and `validate` do for emulators of fields; `predict_field` has the third."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from jax.sharding import Mesh

from galaxyjax.cli import console
from galaxyjax.cli.recipe import constant
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.emulator.store import WEIGHTS_FILE, save
from galaxyjax.report import field_table
from galaxyjax.report.card import write_card
from galaxyjax.report.field_validation import write_field_validation
from galaxyjax.simulate.fields import FieldSuite, simulate_fields, whole_suite
from galaxyjax.validate import fields, protocol


def simulate(
    recipe: ModuleType, folder: Path, out: Path, parts: tuple[str, ...], runs: int | None, mesh: Mesh
) -> dict:
    """Make what is missing of the suites "truth" and "test", one folder each below `out`.

    Returns part -> {"folder", "runs", "made_now"}. Raises ConfigError when the recipe lacks a suite, or a
    folder holds another one.
    """
    suites = {part: constant(recipe, part.upper(), FieldSuite, folder / "recipe.py") for part in parts}
    done = {}
    for part, suite in suites.items():
        if runs is not None:
            suite = replace(suite, runs=min(runs, suite.runs))
        made = simulate_fields(suite, out / part, mesh)
        done[part] = {"folder": out / part, "runs": suite.runs, "made_now": made}
    return done


def validate(
    emulator: FieldEmulator,
    recipe: ModuleType,
    folder: Path,
    truth: Path,
    out: Path | None,
    runs: int | None,
    slopes: int,
    mesh: Mesh,
    json: bool,
) -> None:
    """Measure an emulator on the test suite of its recipe; write numbers, figures, page, contract and card.

    With `out` it only looks: the emulator's folder stays as it is. Raises FileError when test runs are
    missing, DataError when training saw them, ConfigError as `protocol.touch_test_set`.
    """
    file = folder / "recipe.py"
    suite = constant(recipe, "TEST", FieldSuite, file)
    protocol.check_seeds(constant(recipe, "TRUTH", FieldSuite, file), suite)
    if runs is not None:
        suite = replace(suite, runs=min(runs, suite.runs))
    whole_suite(suite, truth / "test")
    place, contract = out or folder / "validation", emulator.contract
    identity = f"{suite.identity()}:{suite.runs}"
    protocol.touch_test_set(place, contract.version, contract.files[WEIGHTS_FILE], identity)
    result = fields.validate(emulator, suite, truth / "test", mesh, runs=suite.runs, slopes=slopes)
    example = fields.example(emulator, suite, truth / "test", mesh)
    error = {"runs": suite.runs, "z": float(min(result["z"])), **result["summary"]}
    page = write_field_validation(place, contract, error, result, example)
    if out is None:
        saved = save(folder, emulator.weights, replace(contract, error={"fields": error}))
        write_card(folder, saved.contract)
    if json:
        console.print_json({"page": page, "fields": error})
        return
    console.table(field_table.headers(error), field_table.rows(error, emulator.spacing), left=2)
    console.say(f"wrote {page}" + ("" if out else f", {folder / 'contract.json'}, {folder / 'card.md'}"))
