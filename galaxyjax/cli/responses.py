"""What `galaxyjax simulate`, `train` and `validate` do for a response emulator."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from galaxyjax.cli import console
from galaxyjax.cli.recipe import constant, promise
from galaxyjax.core.errors import ConfigError
from galaxyjax.simulate.responses import ResponseSuite, read_responses, tabulate


def simulate(recipe: ModuleType, folder: Path, out: Path) -> dict:
    """Tabulate the truth below `out`; returns "truth" -> {"folder", "runs", "made_now"}."""
    suite = constant(recipe, "TRUTH", ResponseSuite, folder / "recipe.py")
    made = tabulate(suite, out / "truth")
    return {"truth": {"folder": out / "truth", "runs": len(read_responses(out / "truth")), "made_now": made}}


def train(recipe: ModuleType, file: Path, truth: Path, out: Path, json: bool) -> None:
    """Fit and write an emulator, its error yet to be measured."""
    from galaxyjax.emulator.contract import Contract
    from galaxyjax.emulator.store import save
    from galaxyjax.train.response import ResponseTraining, train

    training = constant(recipe, "TRAINING", ResponseTraining, file)
    contract = promise(recipe, Contract, file)
    responses = read_responses(truth / "truth")
    began = time.monotonic()
    weights = train(training, responses)
    wall = time.monotonic() - began
    save(out, weights, contract)
    if json:
        console.print_json({"folder": out, "runs": len(responses), "wall_s": wall})
        return
    console.say(f"wrote {out} ({len(responses)} simulations, {wall:.1f} s)")
    console.say(f"next: galaxyjax validate {out}")


def validate(recipe: ModuleType, folder: Path, truth: Path, out: Path | None, json: bool) -> None:
    """Leave out each simulation; write numbers, figures, page, contract and card (with `out`, look only)."""
    from galaxyjax.emulator.store import load, save
    from galaxyjax.report import response_table
    from galaxyjax.report.card import write_card
    from galaxyjax.report.response_validation import write_response_validation
    from galaxyjax.train.response import ResponseTraining
    from galaxyjax.validate import responses as measure
    from galaxyjax.validate.feedback import cross_checks

    training = constant(recipe, "TRAINING", ResponseTraining, folder / "recipe.py")
    emulator, truths = load(folder), read_responses(truth / "truth")
    if emulator.model != training.model:
        raise ConfigError(f"{folder}: the emulator is not the recipe's; run `galaxyjax train {folder}` first")
    results = measure.leave_one_out(training, truths)
    summary = measure.summarise(results, truths.k, training.k_judged)
    checks = cross_checks(emulator)
    place = out or folder / "validation"
    measure.save(place, {**summary, "families": checks}, results, truths)
    page = write_response_validation(place, emulator.contract, summary, results, truths, checks)
    if out is None:
        error = measure.measured_error(emulator.weights, truths, results)
        contract = replace(emulator.contract, error={"left_out": summary})
        write_card(folder, save(folder, emulator.weights, contract, error).contract)
    if json:
        console.print_json({"page": page, **summary, "families": checks})
        return
    console.table(response_table.HEADERS, response_table.rows(summary), left=2)
    console.say(f"\n{response_table.verdict(summary)}\n")
    if "hmcode" in checks or "antilles" in checks:
        console.table(*response_table.by_simulation(checks))
        console.say()
    console.table(*response_table.by_code(checks["camels"]))
    console.say(f"wrote {page}" + ("" if out else f", {folder / 'contract.json'}, {folder / 'card.md'}"))
