"""`card.md`: what an emulator is, how far to trust it and what it cannot do, from its contract alone.

Every number on a card is read from the contract (the measured error included); nothing is typed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from galaxyjax.core.files import atomic_path
from galaxyjax.emulator.contract import Calibration, Contract
from galaxyjax.report import field_table, hydro_table, response_table
from galaxyjax.report.words import per_cent

# What the codes named in `contract.truth` ask to be cited.
REFERENCES = {
    "GADGET-4": "GADGET-4: Springel, Pakmor, Zier & Reinecke 2021, MNRAS 506, 2871",
    "CAMB": "CAMB: Lewis, Challinor & Lasenby 2000, ApJ 538, 473",
    "mead2020": "HMcode2020: Mead, Brieden, Tröster & Heymans 2021, MNRAS 502, 1401",
    "mead2020_feedback": "HMcode2020: Mead, Brieden, Tröster & Heymans 2021, MNRAS 502, 1401",
    "FLAMINGO": "FLAMINGO's responses: Schaller, Schaye, Kugel, Broxterman & van Daalen 2025, MNRAS 539, "
    "1337; the simulations: Schaye et al. 2023, MNRAS 526, 4978, and Kugel et al. 2023, MNRAS 526, 6103",
    "ppf": "PPF dark energy: Fang, Hu & Lewis 2008, PRD 78, 087303",
}

ERROR_COLUMNS = ("p50", "p95", "p99", "max", "worst_p95")


def write_card(folder: str | Path, contract: Contract) -> Path:
    """Write `folder`/card.md, whole or not at all, and return its path."""
    path = Path(folder) / "card.md"
    with atomic_path(path) as temporary:
        temporary.write_text(card(contract), encoding="utf-8")
    return path


def card(contract: Contract) -> str:
    """The card of a contract, as GitHub Markdown."""
    sections = (
        f"# {contract.name} {contract.version}\n\n{contract.description}",
        _use(contract),
        _inputs(contract),
        _outputs(contract),
        _error(contract),
        _truth(contract),
        _limits(contract),
        _cite(contract),
        f"## Licence\n\n{contract.licence}",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def error_tables(contract: Contract) -> list[list[list[str]]]:
    """The tables of the card's measured error as rows of plain text, the headers first."""
    found: list[list[list[str]]] = [[]]
    for line in _error(contract).splitlines():
        if line.startswith("| "):
            cells = [
                cell.strip().replace("`", "").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)
            ]
            if set(cells[1:-1]) != {"---"}:
                found[-1].append(cells[1:-1])
        elif found[-1]:
            found.append([])
    return [rows for rows in found if rows]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; vertical bars in cells are escaped."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def flat(content: Mapping, prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, keys joined by dots."""
    rows: dict[str, object] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        rows |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return rows


def extrapolated(entry: Calibration, contract: Contract) -> list[tuple[float, float]]:
    """The parts of the domain, as (from, to), where the truth itself is an extrapolation."""
    if entry.name in ("z", "k"):
        low, high = contract.z_range if entry.name == "z" else contract.k_range
    else:
        low, high = contract.domain[entry.name].low, contract.domain[entry.name].high
    parts = [(low, entry.low)] if low < entry.low else []
    return parts + ([(entry.high, high)] if entry.high < high else [])


def _use(contract: Contract) -> str:
    needed = [entry.name for entry in contract.inputs if entry.default is None]
    theta = ", ".join(f'"{name}": {contract.centre[name]:.4g}' for name in needed)
    outputs = [entry.name for entry in contract.outputs]
    if contract.family == "displacement":
        spacing = contract.hyperparameters["spacing"]
        return (
            "```python\nimport galaxyjax, jax\nfrom galaxyjax.fields.gaussian import white_noise\n"
            "from galaxyjax.mesh.topology import build_mesh\n\n"
            f'emulator = galaxyjax.load("{contract.name}")\n'
            f"theta = {{{theta}}}\n"
            'noise = white_noise(jax.random.key(0), 64, build_mesh("x=1"))\n'
            f"matter = emulator.predict(theta, white_noise=noise, box_size={64 * spacing:g}, z=0.0)\n"
            "matter.displacement, matter.velocity, matter.density(128)\n```"
        )
    if contract.family == "hydro":
        spacing = contract.hyperparameters["spacing"]
        return (
            "```python\nimport galaxyjax\n\n"
            f'emulator = galaxyjax.load("{contract.name}")\n'
            f"theta = {{{theta}}}\n"
            f"# matter: density contrast (32, 32, 32) painted by TSC in a box of {32 * spacing:g} Mpc/h\n"
            f"made = emulator.predict(theta, matter=matter, box_size={32 * spacing:g}, z=0.0)\n"
            "made.gas, made.temperature, made.pressure, made.stars\n```"
        )
    output = "nonlinear" if "nonlinear" in outputs else outputs[0]
    return (
        "```python\nimport galaxyjax\n\n"
        f'emulator = galaxyjax.load("{contract.name}")\n'
        f"theta = {{{theta}}}\n"
        f'power = emulator.predict(theta, k=[0.01, 0.1, 1.0], z=[0.0, 1.0], output="{output}")\n```'
    )


def _inputs(contract: Contract) -> str:
    marks = {entry.name for entry in contract.calibrated}
    rows = []
    for entry in contract.inputs:
        default = "required" if entry.default is None else f"{entry.default:g}"
        mark = " *" if entry.name in marks else ""
        rows.append(
            (
                f"`{entry.name}`{mark}",
                entry.unit,
                f"{entry.low:g}",
                f"{entry.high:g}",
                default,
                entry.description,
            )
        )
    ranges = {"k": ("h/Mpc", contract.k_range), "z": ("", contract.z_range)}
    if contract.family in ("displacement", "hydro"):  # a field has the wavenumbers of its box
        del ranges["k"]
    for name, (unit, (low, high)) in ranges.items():
        mark = " *" if name in marks else ""
        what = "wavenumber" if name == "k" else "redshift"
        rows.append((f"`{name}`{mark}", unit, f"{low:g}", f"{high:g}", "required", what))
    text = "## Inputs and domain\n\n" + table(("input", "unit", "from", "to", "default", ""), rows)
    for constraint in contract.constraints:
        text += f"\n\nwith {constraint} ({constraint.description})"
    if marks:
        text += "\n\n\\* part of this range is extrapolated truth: see below."
    return (
        f"{text}\n\nOutside the domain a call raises an error; "
        "inside `jit` it gives NaN unless another policy is chosen."
    )


def _outputs(contract: Contract) -> str:
    entries = (*contract.outputs, *contract.derived)
    rows = [(f"`{entry.name}`", entry.unit or "none", entry.description) for entry in entries]
    return "## Outputs\n\n" + table(("output", "unit", ""), rows)


def _error(contract: Contract) -> str:
    if not contract.error:
        return "## Measured error\n\nNot measured yet: run `galaxyjax validate`."
    parts = ["## Measured error", "Against truth that training never saw."]
    spectra, gradients = (contract.error.get(name, {}) for name in ("spectra", "gradients"))
    if spectra:
        rows = [
            (f"`{output}`", part, str(numbers["cosmologies"]), *(per_cent(numbers[c]) for c in ERROR_COLUMNS))
            for output, parts_of in spectra.items()
            for part, numbers in parts_of.items()
            if numbers["cosmologies"]
        ]
        parts.append(
            "Percentiles of abs(P_emulator / P_truth - 1), pooled over cosmologies, z and k; the core of the "
            "domain has 0.4 <= sigma_8 <= 1.2. Last column: 95% of cosmologies have no larger error."
        )
        names = ("output", "part", "cosmologies", "50%", "95%", "99%", "largest", "95%, each one's largest")
        parts.append(table(names, rows))
    if gradients:
        parts.append(
            "Slopes of ln P by every parameter, against finite differences of the truth at "
            f"{gradients['cosmologies']} cosmologies: the largest error over the slope's largest value."
        )
        rows = [(f"`{output}`", per_cent(value)) for output, value in gradients["largest"].items()]
        parts.append(table(("output", "largest error of a slope"), rows))
    if fields := contract.error.get("fields"):
        parts += _fields(fields, contract.hyperparameters["spacing"])
    if left_out := contract.error.get("left_out"):
        parts += [
            "Each simulation predicted from the others, at all redshifts: abs(R / R_truth - 1), and what the "
            "emulator made without it said of its error. Inside: in the convex hull of the others.",
            table(response_table.HEADERS, response_table.rows(left_out)),
            response_table.verdict(left_out),
        ]
    if baryons := contract.error.get("baryons"):
        parts += _baryons(baryons, contract.hyperparameters["spacing"])
    known = ("spectra", "gradients", "fields", "left_out", "baryons")
    others = {name: value for name, value in contract.error.items() if name not in known}
    if others:
        parts.append(table(("", "value"), [(n, format_value(v)) for n, v in flat(others).items()]))
    return "\n\n".join(parts)


def _fields(fields: Mapping, spacing: float) -> list[str]:
    """The measured error of an emulator of fields, beside simpler models."""
    return [
        f"{fields['runs']} runs; k in h/Mpc. P means the largest abs(P / P_truth - 1), r the correlation of "
        "phases. Every model stands on the same lattice and starts from the same white noise; the coarse "
        "simulation is the emulator's own input, FastPM takes ten steps equal in D on the same force "
        "mesh. The slope by Omega_m is at z = 0, fixed sigma_8 and white noise: differentiated, against "
        "differences of the simulator, over the largest slope.",
        table(field_table.headers(fields), field_table.rows(fields, spacing)),
    ]


def _baryons(error: Mapping, spacing: float) -> list[str]:
    """The measured error of an emulator of baryons, beside the physics alone."""
    return [
        f"{error['runs']} runs, {error['fields']} fields; k in h/Mpc. P means the largest abs(P / P_truth -"
        " 1), of the mean over runs at each redshift; r the correlation of phases. Everything is painted "
        "by TSC on one grid from the same matter; the physics alone was fitted on the training runs.",
        table(hydro_table.headers(error), hydro_table.rows(error, spacing)),
    ]


def format_value(value: object) -> str:
    """One value of a contract as text: numbers to six digits, lists joined by commas."""
    if isinstance(value, list | tuple):
        return ", ".join(format_value(entry) for entry in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _truth(contract: Contract) -> str:
    rows = [(f"`{name}`", format_value(value)) for name, value in flat(contract.truth).items()]
    text = "## Truth\n\n" + table(("setting", "value"), rows)
    marks = []
    for entry in contract.calibrated:
        parts = " and ".join(f"{low:g} to {high:g}" for low, high in extrapolated(entry, contract))
        if parts:
            marks.append(f"- **`{entry.name}` {parts}: extrapolated truth.** {entry.note}")
    return text + ("\n\n### Where the truth itself is extrapolated\n\n" + "\n".join(marks) if marks else "")


def _limits(contract: Contract) -> str:
    refused = [f"- **{entry.name}** is refused: {entry.reason}." for entry in contract.refused]
    refused.append("- Nothing is promised outside the domain above, nor for other models of the truth.")
    text = "## What it cannot do\n\n" + "\n".join(refused)
    notes = [f"- {note}" for note in contract.notes]
    return text + ("\n\n## Notes\n\n" + "\n".join(notes) if notes else "")


def _cite(contract: Contract) -> str:
    named = [str(value) for value in flat(contract.truth).values()]
    references = dict.fromkeys(REFERENCES[name] for name in named if name in REFERENCES)
    lines = [f"galaxyjax, emulator {contract.name} {contract.version}", *references, *contract.citation]
    return "## How to cite\n\n" + "\n".join(f"- {line}" for line in lines)
