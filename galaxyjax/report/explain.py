"""Figures of why an emulator says what it says: responses, shares of a change, and what moves a halo."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from galaxyjax.report import style
from galaxyjax.report.style import new_figure, styled
from galaxyjax.validate.attribution import HaloExplained, SpectrumExplained

_LENGTH = r"[h^{-1}{\rm Mpc}]$"


@styled
def responses(
    found: SpectrumExplained, truth: Mapping[str, np.ndarray] | None = None, title="", symbol="P"
) -> Figure:
    """d ln P / d parameter against k, a panel a parameter; `truth` (k as found) as circles beside."""
    names = list(found.response)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, spec = style.grid(rows, columns, 2.1, 1.45, gap=(0.55, 0.3), top=0.75)
    panels = spec.subplots(sharex=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.plot(found.k, found.response[name], color=style.BLUE, label="emulator, differentiated")
        if truth is not None and name in truth:
            few = slice(None, None, max(1, len(found.k) // 24))
            axes.plot(
                found.k[few], truth[name][few], "o", ms=2.6, mfc="none", color=style.VERMILION,
                label="CAMB, differences",
            )  # fmt: skip
        axes.axhline(0.0, color=style.GREY, lw=0.5)
        axes.set_xscale("log")
        axes.set_title(style.label(name), pad=3)
        axes.margins(y=0.12)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for index, axes in enumerate(panels[: len(names)]):
        if index + columns >= len(names):
            axes.set_xlabel(style.K_LABEL)
            axes.tick_params(labelbottom=True)
        if index % columns == 0:
            axes.set_ylabel(rf"$\partial\ln {symbol}/\partial\theta$")
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="upper center", ncols=2, title=title or None)
    return figure


@styled
def shares(found: SpectrumExplained, title="", symbol="P") -> Figure:
    """Saliency above (what each parameter could do over its domain), attribution of the change below."""
    figure = new_figure(style.COLUMN * 1.6, 5.0)
    top, bottom = figure.subplots(2, 1, sharex=True)
    dashes = ["-", (0, (5, 1.5)), (0, (1, 1))]
    for index, name in enumerate(found.response):
        look = {"color": style.COLOURS[index % 7], "ls": dashes[index // 7]}
        top.plot(found.k, np.abs(found.saliency[name]), label=style.label(name), **look)
        bottom.plot(found.k, found.attribution[name], **look)
    bottom.plot(found.k, found.change, color=style.GREY, lw=2.5, alpha=0.6, zorder=0, label="their sum")
    top.set_yscale("log")
    low = min(np.abs(one).max() for one in found.saliency.values())
    top.set_ylim(bottom=max(1e-4, 0.05 * low))
    top.set_xscale("log")
    top.set_xlim(found.k[0], found.k[-1])
    top.set_ylabel(rf"$|\partial\ln {symbol}/\partial\theta|\,\Delta\theta$")
    bottom.set_ylabel(rf"share of $\ln {symbol}-\ln {symbol}_{{\rm base}}$")
    bottom.set_xlabel(style.K_LABEL)
    bottom.legend(loc="best")
    figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=5, title=title or None)
    figure.align_ylabels([top, bottom])
    return figure


@styled
def halo(found: HaloExplained, density: np.ndarray) -> Figure:
    """Slices through the halo today, and through its home in the initial field: what moves it, what made it.

    density: contrast (n, n, n) of the box.
    """
    n, box = len(density), found.box_size
    figure = new_figure(8.2, 2.9)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    at_peak, at_home = (int(round(place[2] / box * n)) % n for place in (found.peak, found.home))
    reach, half = np.abs(found.attribution).max(), 0.5 * box / n
    extent = (-half, box - half, -half, box - half)  # a cell's number is its centre
    pictures = (
        ("density today", np.log10(np.maximum(1.0 + density[:, :, at_peak], 0.05)), "inferno", None,
         r"$\log_{10}(1+\delta)$"),
        ("what moves the halo", found.moves[:, :, at_home], "cividis", None,
         r"$|\partial x/\partial$ noise$|\ " + _LENGTH),
        ("what makes it dense", found.attribution[:, :, at_home], "PuOr_r", reach, "share of its contrast"),
    )  # fmt: skip
    for axes, (title, values, colours, limit, name) in zip(panels, pictures, strict=True):
        limits = {} if limit is None else {"vmin": -limit, "vmax": limit}
        image = axes.imshow(values.T, origin="lower", extent=extent, cmap=colours, **limits)
        axes.set_title(title)
        axes.set_xlabel(rf"$x\ {_LENGTH}")
        axes.minorticks_off()
        figure.colorbar(image, ax=axes, pad=0.02, shrink=0.85).set_label(name)
    panels[0].set_ylabel(rf"$y\ {_LENGTH}")
    panels[0].plot(found.peak[0], found.peak[1], "o", ms=12, mfc="none", mec="white")
    for axes in panels[1:]:
        colour = "white" if axes is panels[1] else style.BLACK
        axes.plot(found.home[0], found.home[1], "+", ms=8, color=colour)
    return figure
