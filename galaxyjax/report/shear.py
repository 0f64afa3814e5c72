"""Figures of a cosmic-shear survey: band powers against a best fit, and redshift distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.core.errors import DataError
from galaxyjax.report import style
from galaxyjax.report.style import new_figure, styled


@styled
def band_powers(
    ell,
    data,
    sigma,
    pairs: Sequence[tuple[int, int]],
    models: Mapping[str, np.ndarray] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Band powers with 1 sigma bars against models, one panel per pair of tomographic bins, as a triangle.

    Args:
        ell: (nband,) band centres. data, sigma: (npair, nband), mean ell^2 C_ell; drawn over ell, as the KiDS
            papers do, which keeps low and high multipoles on one scale.
        pairs: (i, j) of each row, counted from 1, i <= j. models: name -> (npair, nband).

    Raises:
        DataError: shapes that do not agree.
    """
    ell, data, sigma = (np.asarray(value, float) for value in (ell, data, sigma))
    if data.shape != (len(pairs), len(ell)) or sigma.shape != data.shape:
        raise DataError(
            f"band powers: data {data.shape} and sigma {sigma.shape} must both be "
            f"({len(pairs)} pairs, {len(ell)} bands)"
        )
    n = max(max(pair) for pair in pairs)
    figure, spec = style.grid(n, n, 6.3 / n, 5.2 / n, gap=(0.06, 0.08))
    panels = spec.subplots(sharex=True, sharey="row", squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    unit = 1e-7 * ell
    for row, (first, second) in enumerate(pairs):
        low, high = sorted((first, second))
        axes = panels[high - 1, low - 1]
        axes.set_visible(True)
        axes.axhline(0.0, color=style.GREY, lw=0.6)
        axes.errorbar(
            ell, data[row] / unit, sigma[row] / unit, fmt="o", color=style.BLACK, ms=2.2, lw=0.8, label="data"
        )
        for (name, model), colour in zip((models or {}).items(), style.COLOURS, strict=False):
            axes.plot(ell, np.asarray(model, float)[row] / unit, color=colour, label=name)
        axes.text(0.06, 0.93, f"{low}\N{EN DASH}{high}", transform=axes.transAxes, va="top", fontsize=8.5)
        axes.set_xscale("log")
        axes.set_xlim(ell.min() / 1.25, ell.max() * 1.25)
        axes.tick_params(labelbottom=high == n, labelleft=low == 1)
        if high == n:
            axes.set_xlabel(r"$\ell$", labelpad=1)
    for axes in panels[:, 0]:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.22 * (high - low))  # room for the pair's name
    figure.supylabel(r"$\mathcal{C}_{\rm E}(\ell)/\ell\ \ [10^{-7}]$", fontsize=10, x=0.005)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper right", bbox_to_anchor=(0.98, 0.98), title=title or None)
    return figure


@styled
def redshift_distributions(z, nz, *, title: str = "") -> Figure:
    """n_i(z) of every tomographic bin. z: (n,) bin centres; nz: (nbin, n), drawn with unit area."""
    z, nz = np.asarray(z, float), np.asarray(nz, float)
    area = np.trapezoid(nz, z, axis=1)[:, None]
    figure = new_figure(style.COLUMN * 1.35, 2.6)
    axes = figure.subplots()
    for index, (row, colour) in enumerate(zip(nz / area, style.shades(len(nz)), strict=True)):
        axes.plot(z, row, color=colour, label=f"bin {index + 1}")
        axes.fill_between(z, row, color=colour, alpha=0.12, lw=0)
    axes.set_xlabel("redshift $z$")
    axes.set_ylabel("$n(z)$, unit area")
    populated = z[(nz > 1e-3 * nz.max(axis=1, keepdims=True)).any(axis=0)]
    axes.set_xlim(0.0, populated.max())
    axes.set_ylim(bottom=0.0)
    axes.legend(title=title or None)
    return figure
