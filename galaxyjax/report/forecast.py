"""Figures of forecasts: ellipses of Fisher matrices, profile likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from galaxyjax.infer.fisher import Fisher
from galaxyjax.infer.profile import LEVELS, Profile
from galaxyjax.report import style
from galaxyjax.report.style import label, styled

# Delta chi2 of two parameters that holds 68% and 95%.
RADII = (2.296**0.5, 5.991**0.5)
SHOWN = 3.2  # deviations on either side
MOST = 8  # parameters of one figure


@styled
def ellipses(found: Mapping[str, Fisher], names: Sequence[str] = (), *, title: str = "") -> Figure:
    """Triangle of 68% and 95% ellipses of one or more forecasts, and each parameter's normal distribution.

    found: legend -> Fisher; the first decides the axes. names: which parameters; the first 8 where left out.
    """
    first = next(iter(found.values()))
    names = list(names) or list(first.names)[:MOST]
    size = 0.95 if len(names) > 4 else 1.35
    figure, spec = style.grid(len(names), len(names), size, size, gap=(0.06, 0.06), top=0.3)
    sigma, centre = first.sigma, dict(zip(first.names, first.values, strict=True))
    for row, vertical in enumerate(names):
        for column, horizontal in enumerate(names[: row + 1]):
            axes = figure.add_subplot(spec[row, column])
            for (_, entry), colour, line in zip(
                found.items(), style.COLOURS, ("-", "--", ":", "-."), strict=False
            ):
                _panel(axes, entry, horizontal, vertical, colour, line)
            axes.set_xlim(*(centre[horizontal] + SHOWN * sigma[horizontal] * np.array([-1.0, 1.0])))
            if row != column:
                axes.set_ylim(*(centre[vertical] + SHOWN * sigma[vertical] * np.array([-1.0, 1.0])))
            _labels(axes, row, column, len(names), horizontal, vertical)
    lines = [
        Line2D([], [], color=colour, ls=line, label=name)
        for name, colour, line in zip(found, style.COLOURS, ("-", "--", ":", "-."), strict=False)
    ]
    figure.align_labels()
    figure.legend(handles=lines, loc="upper right", title=title, fontsize=9, title_fontsize=9.5)
    return figure


def _panel(axes, entry: Fisher, horizontal: str, vertical: str, colour: str, line: str) -> None:
    centre = dict(zip(entry.names, entry.values, strict=True))
    if horizontal == vertical:
        sigma = entry.sigma[horizontal]
        x = np.linspace(-SHOWN, SHOWN, 121)
        axes.plot(centre[horizontal] + sigma * x, np.exp(-0.5 * x**2), color=colour, ls=line)
        axes.set_ylim(0.0, 1.1)
        axes.set_yticks([])
        return
    factor = np.linalg.cholesky(entry.marginal([horizontal, vertical]))
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for radius, width in zip(RADII, (1.4, 0.8), strict=True):
        x, y = radius * factor @ circle
        axes.plot(centre[horizontal] + x, centre[vertical] + y, color=colour, lw=width, ls=line)


def _labels(axes, row: int, column: int, count: int, horizontal: str, vertical: str) -> None:
    axes.locator_params(axis="x", nbins=3)
    if row != column:
        axes.locator_params(axis="y", nbins=3)
    if row == count - 1:
        axes.set_xlabel(label(horizontal))
        axes.tick_params(axis="x", rotation=45)
    else:
        axes.tick_params(labelbottom=False)
    if column == 0 and row > 0:
        axes.set_ylabel(label(vertical))
    else:
        axes.tick_params(labelleft=False)


@styled
def profiles(found: Sequence[Profile], *, title: str = "") -> Figure:
    """Delta chi2 of each profile against its parameter, with the levels of 68% and 95%."""
    across = min(len(found), 3)
    down = -(-len(found) // across)
    figure, spec = style.grid(down, across, 2.1, 1.7, gap=(0.25, 0.55), top=0.3)
    for index, entry in enumerate(found):
        axes = figure.add_subplot(spec[index // across, index % across])
        axes.plot(entry.grid, entry.delta, "o-", color=style.BLUE)
        for name, level in LEVELS.items():
            axes.axhline(level, color=style.GREY, lw=0.7, ls="--")
            axes.annotate(
                name, (0.98, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7.5
            )
        for edge in entry.interval(1.0):
            if edge is not None:
                axes.axvline(edge, color=style.GREY, lw=0.7, ls=":")
        axes.set_ylim(0.0, max(5.0, min(float(entry.delta.max()), 12.0)))
        axes.set_xlabel(label(entry.name))
        if index % across == 0:
            axes.set_ylabel(r"$\Delta\chi^2$")
    figure.suptitle(title, fontsize=9.5, y=0.99)
    return figure
