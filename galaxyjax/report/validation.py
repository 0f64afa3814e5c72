"""Figures and one page that say how good an emulator is, from comparisons with truth that it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.emulator.contract import Contract
from galaxyjax.report import plots, style
from galaxyjax.report.card import per_cent
from galaxyjax.report.page import Cell, Section, Table, write_page
from galaxyjax.validate.gradients import GradientCheck
from galaxyjax.validate.spectra import CORE, K_JUDGED, Comparison

# What the project asks of every output in the core of the domain, and of the gradients.
ASKED = {"p95": 1e-3, "p99": 2.5e-3, "max": 1.5e-2}
ASKED_GRADIENT = 1e-2
SHOWN_Z = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
COLUMNS = {"p50": "50%", "p68": "68%", "p95": "95%", "p99": "99%", "max": "largest"}
WORST = {"worst_p50": "worst, 50%", "worst_p95": "worst, 95%", "worst_p99": "worst, 99%"}


def write_validation(
    folder: str | Path,
    contract: Contract,
    comparisons: Mapping[str, Comparison],
    checks: Sequence[Mapping[str, GradientCheck]] = (),
) -> Path:
    """Write all figures (.png) and the page index.html to a folder; return the page's path."""
    folder = Path(folder)
    figures = {**error_figures(comparisons), **gradient_figures(checks)}
    for name, (_, figure) in figures.items():
        style.save(figure, folder / f"{name}.png")
    captioned = {name: (caption, figure) for name, (caption, figure) in figures.items()}
    sections = [_errors_section(comparisons, captioned)]
    if checks:
        sections.append(_gradients_section(checks, captioned))
    sections.append(_domain_section(contract))
    count = next(iter(comparisons.values())).sigma_8.size
    lead = (
        f"Version {contract.version}, against {count} cosmologies of {contract.truth.get('code', 'truth')} "
        "that neither training nor any choice has seen."
    )
    return write_page(folder / "index.html", f"{contract.name}: validation", lead, sections)


def error_figures(comparisons: Mapping[str, Comparison]) -> dict[str, tuple[str, Figure]]:
    """File stem -> (caption, figure): errors pooled, along k at some z, and the worst of each cosmology."""
    pooled = {output: 1.0 + _judged_ratios(c) for output, c in comparisons.items()}
    asked = {95.0: ASKED["p95"], 99.0: ASKED["p99"]}
    core = f"{CORE[0]} ≤ σ8 ≤ {CORE[1]}"
    figures = {
        "errors_pooled": (
            f"Share of all points (cosmology, z, k) of the core, {core}, whose error is larger.",
            plots.pooled_errors(pooled, asked=asked),
        )
    }
    for output, comparison in comparisons.items():
        if not comparison.core.any():
            continue
        k = common_k(comparison, K_JUDGED, 120)
        ratio = np.exp(comparison.residuals(k, SHOWN_Z))
        figures[f"errors_{output}"] = (
            f"{output}: percentiles over the cosmologies of the core, at six redshifts.",
            plots.error_percentiles(k, SHOWN_Z, ratio, output=output, asked=asked),
        )
    figures["worst"] = (
        "The largest error of each cosmology, anywhere in z and k; the core of the domain is shaded.",
        plots.worst_errors({o: (c.sigma_8, c.worst()["max"]) for o, c in comparisons.items()}, core=CORE),
    )
    return figures


def common_k(comparison: Comparison, k_range: tuple[float, float], count: int) -> np.ndarray:
    """`count` wavenumbers even in ln k, inside `k_range` and inside every cosmology's own grid."""
    low = max(k_range[0], *(block.k[0] for block in comparison.blocks))
    high = min(k_range[1], *(block.k[-1] for block in comparison.blocks))
    return np.geomspace(low, high, count)


def gradient_figures(checks: Sequence[Mapping[str, GradientCheck]]) -> dict[str, tuple[str, Figure]]:
    """File stem -> (caption, figure): slopes at the first checked cosmology and its first redshift."""
    figures = {}
    for output, check in (checks[0] if checks else {}).items():
        names = list(check.differences)
        emulated, truth = (
            np.stack([slopes[name][0] for name in names]) for slopes in (check.emulated, check.differences)
        )
        figures[f"gradients_{output}"] = (
            f"{output}: slopes of ln P at one cosmology, against finite differences of the truth.",
            plots.gradients(check.k, names, emulated, truth, z=float(check.z[0])),
        )
    return figures


def error_rows(comparisons: Mapping[str, Comparison]) -> list[tuple[str, str, dict[str, float]]]:
    """(output, "core" or "whole", numbers) of every comparison."""
    return [
        (output, part, numbers) for output, c in comparisons.items() for part, numbers in c.summary().items()
    ]


def gradient_rows(checks: Sequence[Mapping[str, GradientCheck]]) -> list[tuple[str, str, float, float]]:
    """(output, parameter, largest, 95%) over all checked cosmologies, as fractions of the largest slope."""
    rows = []
    for output in checks[0] if checks else ():
        errors = [check[output].errors() for check in checks]
        for name in errors[0]:
            largest, p95 = (max(e[name][key] for e in errors) for key in ("max", "p95"))
            rows.append((output, name, largest, p95))
    return rows


def _judged_ratios(comparison: Comparison) -> np.ndarray:
    """P_emulator / P_truth - 1 of the core where it is judged, one long array."""
    values = []
    for block in comparison.blocks:
        core = (block.sigma_8 >= CORE[0]) & (block.sigma_8 <= CORE[1])
        k = (block.k >= K_JUDGED[0]) & (block.k <= K_JUDGED[1])
        values.append(block.ratio[core][:, :, k].ravel())
    return np.concatenate(values)


def _errors_section(comparisons, figures) -> Section:
    rows = []
    for output, part, numbers in error_rows(comparisons):
        cells = [_cell(numbers, name, part == "core") for name in (*COLUMNS, *WORST)]
        rows.append((output, part, str(numbers["cosmologies"]), *cells))
    headers = ("output", "part", "cosmologies", *COLUMNS.values(), *WORST.values())
    asked = ", ".join(f"{COLUMNS[name]} ≤ {per_cent(bound)}" for name, bound in ASKED.items())
    text = (
        f"|P_emulator / P_truth − 1|, pooled over all cosmologies, z ≤ 3 and {K_JUDGED[0]:g} ≤ k ≤ "
        f"{K_JUDGED[1]:g} h/Mpc. The core is {CORE[0]} ≤ σ8 ≤ {CORE[1]}; whole is the whole domain. "
        f"Asked in the core: {asked}. Columns named worst are percentiles, over cosmologies, of each one's "
        "largest error."
    )
    wanted = [value for name, value in figures.items() if not name.startswith("gradients_")]
    return Section("Errors", text, (Table(headers, tuple(rows)),), tuple(wanted))


def _cell(numbers: Mapping[str, float], name: str, judged: bool) -> Cell:
    if name not in numbers:
        return Cell("–")
    verdict = ""
    if judged and name in ASKED:
        verdict = "good" if numbers[name] <= ASKED[name] else "bad"
    return Cell(per_cent(numbers[name]), verdict)


def _gradients_section(checks, figures) -> Section:
    rows = []
    for output, name, largest, p95 in gradient_rows(checks):
        verdict = "good" if largest <= ASKED_GRADIENT else "bad"
        rows.append((output, name, per_cent(p95), Cell(per_cent(largest), verdict)))
    text = (
        f"Slopes of ln P at {len(checks)} cosmologies against fourth-order finite differences of the truth. "
        f"Errors in units of the largest slope of that parameter; asked: at most {per_cent(ASKED_GRADIENT)}."
    )
    wanted = [value for name, value in figures.items() if name.startswith("gradients_")]
    table = Table(("output", "parameter", "95%", "largest"), tuple(rows))
    return Section("Gradients", text, (table,), tuple(wanted))


def _domain_section(contract: Contract) -> Section:
    rows = [(e.name, e.unit, f"{e.low:g}", f"{e.high:g}") for e in contract.inputs]
    rows += [
        ("k", "h/Mpc", *(f"{v:g}" for v in contract.k_range)),
        ("z", "", *(f"{v:g}" for v in contract.z_range)),
    ]
    text = "\n\n".join(
        [*(f"With {c} ({c.description})." for c in contract.constraints)]
        + [
            f"{c.name} outside {c.low:g} to {c.high:g}: the truth is extrapolated. {c.note}"
            for c in contract.calibrated
        ]
    )
    return Section("Domain", text, (Table(("input", "unit", "from", "to"), tuple(rows)),))
