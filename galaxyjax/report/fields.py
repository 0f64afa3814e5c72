"""Figures of fields: slices, spectra with residuals, phases, and a slope of the spectrum by cosmology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.core.errors import DataError
from galaxyjax.report import style
from galaxyjax.report.style import new_figure, styled

NAMES = {
    "emulator": "emulator",
    "coarse": "its coarse simulation",
    "pm10": "10 steps",
    "lpt2": "2LPT",
    "lpt1": "1LPT",
}


@styled
def slices(densities: Mapping[str, np.ndarray], box_size: float, *, thickness: int = 4) -> Figure:
    """Projected slices of density contrasts side by side, in units of the mean, on one logarithmic scale.

    densities: title -> (n, n, n) contrast. box_size: Mpc/h. thickness: cells averaged along the last axis.
    Raises DataError when there is none, or one is not a cube.
    """
    if not densities:
        raise DataError("slices: no density given")
    for title, field in densities.items():
        if np.ndim(field) != 3:
            raise DataError(f"slices: {title} has shape {np.shape(field)}, (n, n, n) is expected")
    figure = new_figure(2.35 * len(densities) + 0.7, 2.75)
    panels = np.atleast_1d(figure.subplots(1, len(densities), sharex=True, sharey=True))
    image = None
    for axes, (title, field) in zip(panels, densities.items(), strict=True):
        shown = 1.0 + np.asarray(field, float)[:, :, :thickness].mean(axis=2)
        image = axes.imshow(
            np.log10(np.maximum(shown, 10**-1.2)).T,
            origin="lower",
            extent=(0.0, box_size, 0.0, box_size),
            cmap="cividis",
            vmin=-1.0,
            vmax=1.2,
        )
        axes.set_title(title)
        axes.set_xlabel(r"$x\ [h^{-1}{\rm Mpc}]$")
        axes.minorticks_off()
    panels[0].set_ylabel(r"$y\ [h^{-1}{\rm Mpc}]$")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.85, pad=0.015)
    bar.set_label(r"$\log_{10}(1+\delta)$")
    return figure


@styled
def against_truth(
    k,
    ratios: Mapping[str, np.ndarray],
    coherences: Mapping[str, np.ndarray],
    *,
    what: str = "density",
    title: str = "",
) -> Figure:
    """P over the truth's, and the share of it whose phases are missed, 1 - r^2, of several models.

    k: (nk,) h/Mpc. ratios, coherences: model -> (runs, nk); lines are means, shades the runs' range. Grey
    bands are 2% (to k = 0.5) and 5% (to 0.8 h/Mpc).
    """
    k = np.asarray(k, float)
    figure = new_figure(style.PAGE * 0.52, 4.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.4, 1.0])
    for limit, band in ((0.5, 0.02), (0.8, 0.05)):
        top.fill_between([k[0], limit], 1 - band, 1 + band, color=style.GREY, alpha=0.18, lw=0)
    for colour, (model, values) in zip(style.COLOURS, ratios.items(), strict=False):
        values = np.asarray(values, float)
        top.fill_between(k, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
        top.plot(k, values.mean(axis=0), color=colour, label=NAMES.get(model, model))
        missed = 1.0 - np.mean(np.square(np.asarray(coherences[model], float)), axis=0)
        bottom.plot(k, np.maximum(missed, 1e-7), color=colour)
    top.axhline(1.0, color=style.BLACK, lw=0.6)
    top.set_ylim(0.75, 1.12)
    top.set_ylabel(rf"$P/P_{{\rm truth}}$, {what}")
    top.legend(loc="lower left", ncols=2)
    bottom.set_yscale("log")
    bottom.set_xscale("log")
    bottom.set_xlim(k[0], k[-1])
    bottom.set_ylabel(r"$1-r^2$")
    bottom.set_xlabel(style.K_LABEL)
    if title:
        top.set_title(title)
    figure.align_ylabels()
    return figure


@styled
def slopes(checks: Sequence[Mapping]) -> Figure:
    """d ln P / d Omega_m of emulator (differentiated) and simulator (differences of whole runs).

    checks: each with k, emulator, simulator, error, theta; see `validate.fields.slope`.
    """
    figure = new_figure(style.PAGE * 0.52, 3.0)
    axes = figure.subplots()
    for colour, check in zip(style.COLOURS, checks, strict=False):
        name = (
            rf"$\Omega_{{\rm m}}={check['theta']['Omega_m']:.3f}$, largest error {100 * check['error']:.1f}%"
        )
        axes.plot(check["k"], check["emulator"], color=colour, label=name)
        axes.plot(check["k"], check["simulator"], color=colour, marker="o", ls="none")
    axes.axhline(0.0, color=style.GREY, lw=0.6)
    axes.set_xlabel(style.K_LABEL)
    axes.set_ylabel(r"$d\ln P/d\Omega_{\rm m}$ at fixed $\sigma_8$")
    axes.set_title("line: emulator, differentiated; points: simulator")
    axes.legend()
    return figure
