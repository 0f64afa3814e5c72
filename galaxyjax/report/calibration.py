"""Figures of a calibration: ECDF difference of each quantity's ranks with its band, and TARP's coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galaxyjax.infer.ranks import Verdict, band, ecdf_difference
from galaxyjax.report import style
from galaxyjax.report.style import label, styled


@styled
def calibration_figure(
    path: str | Path, verdicts: Sequence[Verdict], ranks, tarp: Verdict, tarp_ranks
) -> Path:
    """Write one panel a quantity and one of TARP; 95% of curves of uniform ranks lie inside the grey band
    everywhere. A curve is red when its test fails.

    ranks: (m, q), in the order of verdicts. tarp_ranks: (m,).
    """
    ranks, m = np.asarray(ranks, float), len(tarp_ranks)
    panels = [(label(v.name), v, column) for v, column in zip(verdicts, ranks.T, strict=True)]
    panels.append(("all (TARP)", tarp, np.asarray(tarp_ranks, float)))
    across = min(len(panels), 5)
    down = -(-len(panels) // across)
    figure, spec = style.grid(down, across, 1.2, 1.0, gap=(0.06, 0.3), top=0.25)
    axes = spec.subplots(sharex=True, sharey=True, squeeze=False)
    grid, low, high = band(m)
    fine = np.linspace(0.0, 1.0, 201)
    for i, panel in enumerate(axes.flat):
        panel.set_visible(i < len(panels))
        if i >= len(panels):
            continue
        title, verdict, column = panels[i]
        panel.fill_between(grid, low, high, color=style.GREY, alpha=0.3, lw=0)
        panel.axhline(0.0, color=style.BLACK, lw=0.5, ls="--")
        colour = style.VERMILION if verdict.fails else style.BLUE
        panel.plot(fine, ecdf_difference(column, fine), color=colour)
        panel.set_title(title, pad=3)
        panel.text(0.04, 0.05, f"p = {verdict.p:.2g}", transform=panel.transAxes, fontsize=7)
        panel.set_xlim(0.0, 1.0)
        panel.set_xticks([0.0, 0.5], ["0", "0.5"])
        if i % across == 0:
            panel.set_ylabel("ECDF difference")
        if i + across >= len(panels):
            panel.set_xlabel("rank")
            panel.tick_params(labelbottom=True)
    return style.save(figure, path)


@styled
def coverage_figure(path: str | Path, curves: dict[str, np.ndarray]) -> Path:
    """Write TARP's expected coverage against credibility, with the 95% band around the diagonal.

    curves: legend name -> (m,) ranks of TARP.
    """
    figure = style.new_figure(style.COLUMN, style.COLUMN)
    axes = figure.subplots()
    grid, low, high = band(len(next(iter(curves.values()))))
    axes.fill_between(grid, grid + low, grid + high, color=style.GREY, alpha=0.3, lw=0)
    axes.plot([0, 1], [0, 1], color=style.BLACK, lw=0.5, ls="--")
    fine = np.linspace(0.0, 1.0, 201)
    for (name, ranks), colour in zip(curves.items(), style.COLOURS, strict=False):
        axes.plot(fine, fine + ecdf_difference(np.asarray(ranks, float), fine), color=colour, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="credibility", ylabel="expected coverage")
    axes.legend(loc="upper left")
    return style.save(figure, path)
