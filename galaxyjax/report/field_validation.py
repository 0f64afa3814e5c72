"""A page that says how good an emulator of fields is, from comparisons with runs that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from galaxyjax.core.files import write_json, write_npz
from galaxyjax.emulator.contract import Contract
from galaxyjax.report import fields, style
from galaxyjax.report.page import Cell, Section, Table, write_page

# (key of the summary, words, asked); what the project asks at z = 0.
ROWS = (
    ("power_to_0.5", "P(k) to k = 0.5 h/Mpc, mean of runs", 0.02),
    ("power_to_0.8", "P(k) to k = 0.8 h/Mpc, mean of runs", 0.05),
    ("power_to_1", "P(k) to k = 1 h/Mpc, mean of runs", None),
    ("power_to_0.5_each", "P(k) to k = 0.5 h/Mpc, 95% of runs", None),
    ("power_to_0.8_each", "P(k) to k = 0.8 h/Mpc, 95% of runs", None),
    ("missing_at_0.5", "1 - r² of density at k = 0.5", None),
    ("velocity_to_0.5", "velocity power to k = 0.5", 0.03),
    ("velocity_coherence", "velocity r to k = 0.5, smallest", None),
    ("momentum_to_0.5", "momentum power to k = 0.5", None),
    ("momentum_coherence", "momentum r to k = 0.5, smallest", None),
)


def write_field_validation(
    folder: str | Path, contract: Contract, result: Mapping, examples: Mapping
) -> Path:
    """Write numbers (fields.json, fields.npz), figures and index.html to a folder; return the page's path.

    result: of `validate.fields.validate`. examples: title -> density contrast of one run, for the slices.
    """
    folder = Path(folder)
    arrays = {"k": result["k"], "z": result["z"], "theta": result["theta"]}
    for name in result:
        if isinstance(result[name], Mapping) and name != "summary":
            arrays |= {f"{name}/{model}": values for model, values in result[name].items()}
    write_npz(folder / "fields.npz", arrays)
    write_json(folder / "fields.json", result["summary"])
    last = int(np.argmin(result["z"]))
    figures = {}
    for what, prefix in (("density", ""), ("velocity", "velocity_"), ("momentum", "momentum_")):
        ratio, coherence = ("ratio", "coherence") if not prefix else (f"{prefix}ratio", f"{prefix}coherence")
        pick = lambda name: {m: v[:, last] for m, v in result[name].items() if m != "lpt1"}  # noqa: E731
        figure = fields.against_truth(result["k"], pick(ratio), pick(coherence), what=what, title="$z=0$")
        figures[what] = (f"{what} at z = 0: mean over runs, and their range.", figure)
    if len(result["z"]) > 1:
        ratios = {f"z = {z:g}": result["ratio"]["emulator"][:, i] for i, z in enumerate(result["z"])}
        phases = {f"z = {z:g}": result["coherence"]["emulator"][:, i] for i, z in enumerate(result["z"])}
        figures["redshifts"] = (
            "The emulator at each redshift.",
            fields.against_truth(result["k"], ratios, phases),
        )
    if "slope" in result:
        figures["slope"] = ("How the spectrum answers to Omega_m.", fields.slopes(result["slope"]))
    if examples:
        box = float(contract.truth.get("box_size", 1.0))
        size = examples.get("box_size", box)
        shown = {name: values for name, values in examples.items() if name != "box_size"}
        figures["slices"] = ("One test run, 4 cells thick.", fields.slices(shown, size))
    for name, (_, figure) in figures.items():
        style.save(figure, folder / f"{name}.png")
    runs = len(result["theta"])
    code = contract.truth.get("code", "truth")
    lead = f"Version {contract.version}, against {runs} runs of the {code} that training never saw."
    sections = [
        Section("Errors at z = 0", _words(result), (_table(result["summary"]),)),
        Section("Figures", "", (), tuple(figures.values())),
        _domain(contract),
    ]
    return write_page(folder / "index.html", f"{contract.name}: validation", lead, sections)


def summary_rows(summary: Mapping) -> list[tuple[str, ...]]:
    """(what, asked, each model's number) as text, for a terminal or a card."""
    models = [model for model in ("emulator", "coarse", "pm10", "lpt2", "lpt1") if model in summary]
    rows = []
    for key, words, asked in ROWS:
        values = [_number(key, summary[model][key]) for model in models]
        rows.append((words, "" if asked is None else f"{100 * asked:g}%", *values))
    if "slope_error" in summary:
        dashes = [""] * (len(models) - 1)
        rows.append(
            (
                "d ln P / d Omega_m against the simulator",
                "3%",
                f"{100 * summary['slope_error']:.2g}%",
                *dashes,
            )
        )
    return rows


def _number(key: str, value: float) -> str:
    if "coherence" in key:
        return f"{value:.4f}"
    return f"{value:.1e}" if "missing" in key else f"{100 * value:.2g}%"


def _table(summary: Mapping) -> Table:
    rows = []
    asked = {words: bound for _, words, bound in ROWS}
    keys = {words: key for key, words, _ in ROWS}
    for words, bound, *values in summary_rows(summary):
        limit = asked.get(words)
        first = values[0]
        if limit is not None:
            good = summary["emulator"][keys[words]] <= limit
            first = Cell(first, "good" if good else "bad")
        rows.append((words, bound, first, *values[1:]))
    return Table(("", "asked", "emulator", "its coarse simulation", "10 steps", "2LPT", "1LPT"), tuple(rows))


def _words(result: Mapping) -> str:
    return (
        f"{len(result['theta'])} runs with white noise and cosmologies that training never saw; every model "
        "starts from the same white noise, so the scatter between boxes cancels. Density is painted on a "
        "mesh twice as fine as the lattice. The coarse simulation is the emulator's own input, the one of 10 "
        "steps has the same force mesh."
    )


def _domain(contract: Contract) -> Section:
    rows = [(entry.name, entry.unit, f"{entry.low:g}", f"{entry.high:g}") for entry in contract.inputs]
    rows.append(("z", "", *(f"{value:g}" for value in contract.z_range)))
    return Section(
        "Domain", "\n\n".join(contract.notes), (Table(("input", "unit", "from", "to"), tuple(rows)),)
    )
