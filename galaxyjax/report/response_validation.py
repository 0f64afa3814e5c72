"""The page of a response emulator: every simulation predicted from the others, other families beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from galaxyjax.emulator.contract import Contract
from galaxyjax.report import response_table, style
from galaxyjax.report.card import per_cent
from galaxyjax.report.page import Cell, Section, Table, write_page
from galaxyjax.report.style import styled
from galaxyjax.simulate import feedback
from galaxyjax.simulate.responses import Responses
from galaxyjax.validate.feedback import K
from galaxyjax.validate.responses import LeftOut

ASKED_INSIDE = 0.01
ASKED_COVERED = (0.50, 0.85)
SHOWN_Z = (0.0, 1.0, 2.0, 3.0)


def write_response_validation(
    folder: str | Path,
    contract: Contract,
    summary: dict,
    results: Sequence[LeftOut],
    responses: Responses,
    checks: dict,
) -> Path:
    """Write figures (.png) and index.html to a folder; return the page's path."""
    folder = Path(folder)
    figures = {
        "left_out": (
            "Each simulation predicted from the eight others: error in R, and the error stated at z = 0 "
            "(band, one sigma). Dotted: 1%.",
            left_out(results, responses, summary["k_judged"]),
        ),
        "responses": ("The nine measured responses.", measured(responses)),
        "families": (
            "Fiducial models of other families beside the range of FLAMINGO's gas variations (band).",
            families(responses),
        ),
    }
    for name, (_, figure) in figures.items():
        style.save(figure, folder / f"{name}.png")
    shown = list(figures.values())
    sections = (
        _left_out_section(summary, shown[:2]),
        _families_section(checks, shown[2]),
        Section("Domain", _domain(contract), ()),
    )
    lead = f"Version {contract.version}, against each of {summary['count']} simulations, made without it."
    return write_page(folder / "index.html", f"{contract.name}: validation", lead, sections)


@styled
def left_out(results: Sequence[LeftOut], responses: Responses, k_judged: float) -> Figure:
    """Errors of every left-out simulation against k, one panel each, three scales of the ordinate."""
    order = sorted(results, key=lambda r: (not r.inside, np.abs(r.error).max()))
    columns = 3
    rows = -(-len(order) // columns)
    figure, spec = style.grid(rows, columns, 2.05, 1.5, gap=(0.42, 0.12), top=0.4)
    panels = spec.subplots(sharex=True, sharey="row", squeeze=False)
    k, shades = responses.k, style.shades(len(SHOWN_Z))
    kept = k <= 1.001 * k_judged
    for axes, result in zip(panels.flat, order, strict=True):
        band = 100.0 * result.sigma[0][kept]
        axes.fill_between(k[kept], -band, band, color=style.GREY, alpha=0.35, lw=0, label=r"stated, $z=0$")
        for z, shade in zip(SHOWN_Z, shades, strict=True):
            row = int(np.argmin(np.abs(responses.z - z)))
            axes.plot(k[kept], 100.0 * np.expm1(result.error[row])[kept], color=shade, label=rf"$z={z:g}$")
        for value in (-1.0, 1.0):
            axes.axhline(value, color=style.BLACK, ls=":", lw=0.7)
        axes.set_xscale("log")
        where = "inside" if result.inside else "outside"
        axes.text(0.04, 0.93, f"{result.name} ({where})", transform=axes.transAxes, va="top", fontsize=8)
    for row, line in enumerate(panels):
        largest = 100.0 * max(
            max(np.abs(r.error[:, kept]).max(), r.sigma[0][kept].max()) for r in order[row * 3 : row * 3 + 3]
        )
        line[0].set_ylim(-1.45 * max(largest, 1.0), 1.45 * max(largest, 1.0))
        line[0].set_ylabel("error of R [%]")
    for axes in panels[-1]:
        axes.set_xlabel(style.K_LABEL)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper center", ncols=5)
    return figure


@styled
def measured(responses: Responses) -> Figure:
    """R(k) of all simulations at four redshifts; colour for gas, dashes for stars, dots for jets."""
    figure, spec = style.grid(1, len(SHOWN_Z), 1.65, 1.9, gap=(0.1, 0.1), top=0.62)
    panels = spec.subplots(sharey=True, squeeze=False)[0]
    gas = sorted({float(value) for value in responses.theta[:, 0]})
    shades = dict(zip(gas, style.shades(len(gas)), strict=True))
    for axes, z in zip(panels, SHOWN_Z, strict=True):
        row = int(np.argmin(np.abs(responses.z - z)))
        for theta, values in zip(responses.theta, responses.log_response, strict=True):
            dashes = "--" if theta[1] else ":" if theta[2] else "-"
            name = {"-": "", "--": ", stars -1", ":": ", jets"}[dashes]
            axes.plot(
                responses.k,
                np.exp(values[row]),
                dashes,
                color=shades[theta[0]],
                label=f"gas {theta[0]:+g}{name}",
            )
        axes.set_xscale("log")
        axes.set_ylim(0.75, 1.15)
        axes.set_xlim(0.05, responses.k[-1])
        axes.set_xlabel(style.K_LABEL)
        axes.text(0.05, 0.93, rf"$z={z:g}$", transform=axes.transAxes, va="top")
    panels[0].set_ylabel(style.label("response"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper center", ncols=5)
    return figure


@styled
def families(responses: Responses) -> Figure:
    """Fiducial curves of CAMELS and HMcode2020 over the range of FLAMINGO's gas variations, two redshifts."""
    figure, spec = style.grid(1, 2, 2.9, 2.2, gap=(0.12, 0.1), top=0.45)
    panels = spec.subplots(sharey=True, squeeze=False)[0]
    gas = (responses.theta[:, 1] == 0) & (responses.theta[:, 2] == 0)
    fiducial = int(np.flatnonzero(gas & (responses.theta[:, 0] == 0))[0])
    for axes, z in zip(panels, (0.0, 1.0), strict=True):
        row = int(np.argmin(np.abs(responses.z - z)))
        values = np.exp(responses.log_response[:, row])
        axes.fill_between(
            responses.k,
            values[gas].min(0),
            values[gas].max(0),
            color=style.GREY,
            alpha=0.35,
            lw=0,
            label="FLAMINGO, gas -8 to +2",
        )
        axes.plot(responses.k, values[fiducial], color=style.BLACK, label="FLAMINGO, fiducial")
        for code in feedback.CAMELS:
            axes.plot(K, np.exp(feedback.camels(code, K, np.array([z]))[0]), label=f"CAMELS {code}")
        axes.set_xscale("log")
        axes.set_xlim(K[0], K[-1])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0.7, 1.05)
        axes.set_xlabel(style.K_LABEL)
        axes.text(0.05, 0.07, rf"$z={z:g}$", transform=axes.transAxes)
    panels[0].set_ylabel(style.label("response"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper center", ncols=3)
    return figure


def _left_out_section(summary: dict, figures) -> Section:
    rows = []
    for name, numbers in response_table.ordered(summary):
        largest = per_cent(numbers["largest"])
        if numbers["inside"]:
            largest = Cell(largest, "good" if numbers["largest"] <= ASKED_INSIDE else "bad")
        rest = response_table.numbers(numbers)[2:]
        rows.append((name, "inside" if numbers["inside"] else "outside", largest, *rest))
    low, high = ASKED_COVERED
    covered, within = summary["covered"], summary["simulations_within_sigma"] / summary["count"]
    verdicts = tuple(
        (what, Cell(f"{100 * value:.0f}%", "good" if low <= value <= high else "bad"))
        for what, value in (
            ("points within one stated sigma, mean of the simulations", covered),
            ("simulations whose rms of error over sigma is at most 1", within),
        )
    )
    text = (
        "Each simulation in turn is left out of the fit, the amplitudes of the stated error included, and "
        f"predicted from the others, at all redshifts and k ≤ {summary['k_judged']:g} h/Mpc. Inside means in "
        "the convex hull of the others' parameters; there the error asked is at most "
        f"{per_cent(ASKED_INSIDE)}. Outside, what is left out was the only one of its kind or lay at an "
        "end of the gas fractions: nothing is promised there, and the stated error has to say so. Of a "
        "left-out jet, one other jet alone is left to learn from.\n\n"
        f"Asked of the stated errors: {100 * low:.0f} to {100 * high:.0f}% within one sigma, counted by "
        "simulation. The rate of the gas fraction and the lengths of the processes were chosen once with all "
        "nine in sight."
    )
    return Section(
        "Every simulation from the others",
        text,
        (Table(response_table.HEADERS, tuple(rows)), Table(("all nine", "share"), verdicts)),
        tuple(figures),
    )


def _families_section(checks: dict, figure) -> Section:
    text = (
        "How far FLAMINGO stands for others, at k from 0.1 to 8 h/Mpc and z = 0.125 and 1. HMcode2020 "
        "(CAMB): the logT_AGN nearest to each simulation. ANTILLES (pyspk): the baryons of 10^13.5 Msun "
        "haloes over the cosmic share that fit each simulation best at the two redshifts. CAMELS: the point "
        "of FLAMINGO's hull nearest to each code's fiducial closed form (Kammerer et al. 2025); boxes of 25 "
        "Mpc/h hold few groups, so a difference is not an error of either."
    )
    tables = []
    if "hmcode" in checks or "antilles" in checks:
        headers, rows = response_table.by_simulation(checks)
        tables.append(Table(headers, rows))
    tables.append(Table(*response_table.by_code(checks["camels"])))
    return Section("Other families", text, tuple(tables), (figure,))


def _domain(contract: Contract) -> str:
    lines = [f"{e.name} from {e.low:g} to {e.high:g}: {e.description}." for e in contract.inputs]
    return "\n\n".join([*lines, *(f"With {c} ({c.description})." for c in contract.constraints)])
