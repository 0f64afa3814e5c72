"""A page that says how good an emulator of baryons is, from comparisons with runs that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.core.files import write_json, write_npz
from galaxyjax.emulator.contract import Contract
from galaxyjax.report import hydro, hydro_table, style
from galaxyjax.report.field_validation import domain_section, judged_table
from galaxyjax.report.page import Section, Table, write_page

BANDS = {"gas": 0.05, "pressure": 0.15}


def write_hydro_validation(
    folder: str | Path, contract: Contract, error: Mapping, result: Mapping, shown: list[Mapping]
) -> Path:
    """Write numbers (baryons.json, baryons.npz), figures (.png) and index.html to a folder; return the page.

    error: what goes into `contract.error["baryons"]`. result: of `validate.hydro.validate`. shown: of
    `validate.hydro.example`, one a redshift.
    """
    folder = Path(folder)
    write_npz(folder / "baryons.npz", arrays(result))
    write_json(folder / "baryons.json", dict(error))
    figures = hydro_figures(result, shown)
    for name, (_, figure) in figures.items():
        style.save(figure, folder / f"{name}.png")
    code = contract.truth.get("code", "truth")
    lead = f"Version {contract.version}, against {error['runs']} runs of {code} that training never saw."
    lines = hydro_table.lines(error, contract.hyperparameters["spacing"])
    table = judged_table(hydro_table.headers(error), lines)
    sections = [
        Section("Errors", _words(error), (table,)),
        Section("Temperatures", _decade_words(), tuple(_decades(result))),
        Section("Figures", "", (), tuple(figures.values())),
        domain_section(contract, "Domain, and what these runs cannot show"),
    ]
    return write_page(folder / "index.html", f"{contract.name}: validation", lead, sections)


def hydro_figures(result: Mapping, shown: list[Mapping]) -> dict[str, tuple[str, Figure]]:
    """File stem -> (caption, figure); arguments as `write_hydro_validation`."""
    figures = {}
    for one in shown:
        tag, when = f"{one['z']:.0f}", f"z = {one['z']:.3g}"
        named = ", ".join(f"{name} = {value:.3g}" for name, value in one["theta"].items())
        figures[f"slices_z{tag}"] = (
            f"One test run at {when}, a slab of 3.2 Mpc/h; {named}.",
            hydro.pictures(one["fields"], one["box_size"]),
        )
        pairs = {t: (f["gas"], f["temperature"]) for t, f in one["fields"].items() if "temperature" in f}
        figures[f"phases_z{tag}"] = (
            f"The same run's gas by density and temperature at {when}, by mass; line: the truth's median.",
            hydro.diagrams(pairs),
        )
    figures["spectra"] = (
        "P over the simulation's and correlation of phases: mean of runs, the emulator's range shaded; "
        "bands: 5% (gas) and 15% (pressure).",
        hydro.spectra(result["k"], result["z"], result["ratio"], result["coherence"], BANDS),
    )
    return figures


def arrays(result: Mapping) -> dict[str, np.ndarray]:
    """The result as named arrays for a .npz."""
    out = {"k": result["k"], "z": result["z"]}
    for kind in ("ratio", "coherence"):
        for name, models in result[kind].items():
            out |= {f"{kind}.{name}.{model}": values for model, values in models.items()}
    out |= {f"stellar_mass.{model}": values for model, values in result["stellar_mass"].items()}
    for model in result["decades"][0]:
        out[f"decades.{model}"] = np.array([entry[model] for entry in result["decades"]])
    return out | {name: np.asarray(v) for name, v in result.get("draws", {}).items()}


def _decades(result: Mapping) -> list[Table]:
    """One table an example: cells, median and scatter of log10 T by decade of gas density."""
    tables = []
    models = [m for m in result["decades"][0] if m in ("truth", "emulator", "samples", "physics")]
    names = {"truth": "simulation", **hydro_table.MODELS}
    for z, theta, entry in zip(result["z"], result["theta"], result["decades"], strict=True):
        title = f"z = {z:.3g}, Omega_m = {theta['Omega_m']:.3g}, sigma_8 = {theta['sigma_8']:.3g}"
        rows = []
        for i, words in enumerate(("0.1 to 1", "1 to 10", "10 to 100")):
            cells = [f"{entry[m][i][1]:.2f} ± {entry[m][i][2]:.2f}" for m in models]
            rows.append((words, f"{entry['truth'][i][0]:.0f}", *cells))
        tables.append(Table((title, "cells", *(names[m] for m in models)), tuple(rows)))
    return tables


def _decade_words() -> str:
    return (
        "Median and scatter (half of 16% to 84%) of log10 T / K in decades of gas density over the mean "
        "density of baryons, each model by its own gas. Decades of fewer than 200 cells do not count in "
        "the table above."
    )


def _words(error: Mapping) -> str:
    return (
        f"{error['runs']} runs ({error['fields']} fields) with phases and cosmologies that training never "
        f"saw, at z = {' and '.join(f'{z:.3g}' for z in error['z'])}. k is in h/Mpc. P: the largest |P / "
        "P_simulation − 1|, of the mean over runs at each redshift; r: of phases. Everything is painted by"
        " TSC on one grid. The physics alone is matter smoothed by a filtering scale and a "
        "temperature-density relation, fitted on the training runs."
    )
