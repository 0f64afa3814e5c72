"""A page that says how good an emulator of fields is, from comparisons with runs that it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.core.files import write_json, write_npz
from galaxyjax.emulator.contract import Contract
from galaxyjax.report import field_table, fields, style
from galaxyjax.report.page import Cell, Section, Table, write_page

_SHOWN_DEPTH = 8.0  # Mpc/h, of the slabs on a lattice of 2 Mpc/h


def write_field_validation(
    folder: str | Path, contract: Contract, error: Mapping, result: Mapping, example: Mapping
) -> Path:
    """Write numbers (fields.json, fields.npz), figures (.png) and index.html to a folder; return the page.

    error: what goes into `contract.error["fields"]`. result, example: of `validate.fields.validate` and
    `example`.
    """
    folder = Path(folder)
    write_npz(folder / "fields.npz", _arrays(result, example))
    write_json(folder / "fields.json", dict(error))
    spacing = contract.hyperparameters["spacing"]
    figures = field_figures(result, example, spacing)
    for name, (_, figure) in figures.items():
        style.save(figure, folder / f"{name}.png")
    code = contract.truth.get("code", "truth")
    lead = f"Version {contract.version}, against {error['runs']} runs of {code} that training never saw."
    table = judged_table(field_table.headers(error), field_table.lines(error, spacing))
    sections = [
        Section("Errors", _words(error), (table,)),
        Section("Figures", "", (), tuple(figures.values())),
        domain_section(contract),
    ]
    return write_page(folder / "index.html", f"{contract.name}: validation", lead, sections)


def field_figures(result: Mapping, example: Mapping, spacing: float) -> dict[str, tuple[str, Figure]]:
    """File stem -> (caption, figure); arguments as `write_field_validation`, spacing in Mpc/h."""
    k, z = result["k"], result["z"]
    last = int(np.argmin(z))
    early = f"z = {z[last]:g}"
    now = lambda name: {model: values[:, last] for model, values in result[name].items()}  # noqa: E731
    depth = _SHOWN_DEPTH * spacing / 2.0
    named = ", ".join(f"{name} = {value:.3g}" for name, value in example["theta"].items())
    pictures = fields.slices(
        example["densities"], example["box_size"], depth=depth, difference=("emulator", "simulation")
    )
    flows = {
        name: (now(f"{part}_ratio"), now(f"{part}_coherence"))
        for name, part in (("velocity, on the lattice", "velocity"), ("momentum, painted", "momentum"))
    }
    figures = {
        "slices": (f"One test run at z = {example['z']:g}, a slab of {depth:.3g} Mpc/h; {named}.", pictures),
        "spectra": (
            "The same run's spectra, to the lattice's Nyquist wavenumber; bands: 2% and 5%.",
            fields.spectra(example["k"], example["power"], "simulation"),
        ),
        "ratios": (
            "P over the simulation's: mean over runs, the emulator's range shaded; bands: 2% and 5%.",
            fields.ratios(k, z, result["ratio"]),
        ),
        "missing": (
            "The share of the simulation's density whose phases are missed, 1 - r², at each redshift.",
            fields.missing(k, z, result["coherence"]),
        ),
        "flows": (
            f"Velocity and momentum at {early}: power over the simulation's (band: 3%) and coherence "
            "(dotted: 0.98).",
            fields.flows(k, flows),
        ),
    }
    if result.get("slope"):
        figures["slope"] = (
            "d ln P / d Omega_m at z = 0, fixed sigma_8 and white noise: the emulator's, by AD, against "
            "central differences of whole simulations; band: 3% of the largest slope.",
            fields.slopes(result["slope"]),
        )
    return figures


def _arrays(result: Mapping, example: Mapping) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(result[name]) for name in ("k", "z", "theta")}
    for name, values in result.items():
        if isinstance(values, Mapping) and name != "summary":
            arrays |= {f"{name}.{model}": np.asarray(array) for model, array in values.items()}
    for name in ("k", "emulator", "simulator", "error"):
        if result.get("slope"):
            arrays[f"slope.{name}"] = np.stack([np.asarray(one[name]) for one in result["slope"]])
    arrays["example.k"] = np.asarray(example["k"])
    return arrays | {f"example.power.{model}": np.asarray(p) for model, p in example["power"].items()}


def judged_table(headers: Sequence[str], lines: Sequence[field_table.Line]) -> Table:
    """A table of lines, coloured where the first number of each is judged."""
    verdict, rows = {True: "good", False: "bad", None: ""}, []
    for line in lines:
        judged = next((i for i, value in enumerate(line.values) if value), 0)
        cells = [Cell(v, verdict[line.good]) if i == judged else v for i, v in enumerate(line.values)]
        rows.append((line.words, line.asked, *cells))
    return Table(tuple(headers), tuple(rows))


def _words(error: Mapping) -> str:
    return (
        f"{error['runs']} runs with white noise and cosmologies that training never saw, at "
        f"z = {error['z']:g}. k is in h/Mpc. P: the largest |P / P_simulation − 1|; r: of phases. Every "
        "model starts from the same white noise, so the scatter between boxes cancels. Density is painted on "
        "a mesh twice as fine as the lattice, momentum on one as fine. The coarse simulation is the "
        "emulator's own input; FastPM takes ten "
        "steps equal in D on the same force mesh."
    )


def domain_section(contract: Contract, title: str = "Domain") -> Section:
    """The bounds of every input, and the contract's notes."""
    rows = [(entry.name, entry.unit, f"{entry.low:g}", f"{entry.high:g}") for entry in contract.inputs]
    rows.append(("z", "", *(f"{value:g}" for value in contract.z_range)))
    table = Table(("input", "unit", "from", "to"), tuple(rows))
    return Section(title, "\n\n".join(contract.notes), (table,))
