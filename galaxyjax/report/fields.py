"""Figures of fields: slices of density, spectra with residuals, phases, velocities, a slope by cosmology.

Every function takes plain arrays and returns a matplotlib Figure; `style.save` writes it. Several runs show
as their mean, and those of the first model also as a band from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from galaxyjax.core.errors import DataError
from galaxyjax.report import style
from galaxyjax.report.field_table import MODELS
from galaxyjax.report.style import new_figure, styled

# Colour and dashes of models; `field_table.MODELS` has their words.
LINES = {
    "emulator": (style.BLUE, "-"),
    "coarse": (style.VERMILION, (0, (5, 1.5))),
    "fastpm": (style.GREEN, (0, (3, 1, 1, 1))),
    "lpt2": (style.PURPLE, (0, (1, 1))),
    "lpt1": (style.ORANGE, (0, (4, 2))),
    "linear theory": (style.GREY, "-"),
    "linear field": (style.ORANGE, (0, (1, 1))),
    "simulation": (style.BLACK, "-"),
}
BANDS = (0.05, 0.02)  # half widths about 1, the wider first
_LENGTH = r"[h^{-1}{\rm Mpc}]$"
_SIDE = 2.2  # of a picture, inches


@styled
def slices(
    densities: Mapping[str, np.ndarray],
    box_size: float,
    *,
    depth: float = 8.0,
    difference: tuple[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Slabs of density side by side, 1 + delta on one logarithmic scale.

    Args:
        densities: title -> contrast (n, n, n). The last one sets the scale; below it is its darkest colour.
        box_size: Mpc/h. depth: of the slab, from z = 0, averaged; one layer of cells at least.
        difference: two titles; a last panel shows the first over the second, on a scale of its own.

    Raises DataError when there is none, one is not a cube, or `difference` names another.
    """
    count = len(densities) + (difference is not None)
    figure = new_figure(_SIDE * count + 0.8 + 0.5 * (difference is not None), _SIDE + 0.75)
    _draw_slices(figure, densities, box_size, depth, difference)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


@styled
def spectra(k, power: Mapping[str, np.ndarray], reference: str, *, limits=(0.8, 1.1), title="") -> Figure:
    """P(k) of several models, and below it each over the reference's, with bands of 2% and 5%.

    k: (nk,) h/Mpc. power: model -> (nk,) (Mpc/h)^3. limits: of the ratios, None for what they are. Raises
    DataError when the reference is not among the models.
    """
    figure = new_figure(style.COLUMN * 1.35, 4.0)
    _draw_spectra(figure, k, power, reference, limits, BANDS)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


@styled
def box(
    densities: Mapping[str, np.ndarray], box_size: float, k, power: Mapping[str, np.ndarray], reference: str
) -> Figure:
    """One prediction: slices above, spectra over a reference's below; arguments as `slices`, `spectra`."""
    width = max(_SIDE * len(densities) + 0.9, 4.8)
    figure = new_figure(width, _SIDE + 0.55 + 3.3)
    upper, lower = figure.subfigures(2, 1, height_ratios=[_SIDE + 0.55, 3.3])
    _draw_slices(upper, densities, box_size, 8.0, None)
    _draw_spectra(lower, k, power, reference, None, ())
    return figure


@styled
def ratios(k, z, ratio: Mapping[str, np.ndarray], *, limits=(0.8, 1.1)) -> Figure:
    """P over the truth's, one panel a redshift, with bands of 2% and 5%.

    k: (nk,) h/Mpc. z: (nz,). ratio: model -> (runs, nz, nk). Raises DataError for another shape.
    """
    figure, panels = _panels(k, z, ratio)
    for index, axes in enumerate(panels):
        for name, values in ratio.items():
            _mean(axes, k, values[:, index], name, shade=name == next(iter(ratio)))
        _bands(axes, BANDS)
        axes.set_ylim(*limits)
    return _finish(figure, panels, k, z, r"$P/P_{\rm truth}$")


@styled
def missing(k, z, coherence: Mapping[str, np.ndarray]) -> Figure:
    """The share of the truth whose phases a model misses, 1 - r^2, one panel a redshift; as `ratios`."""
    figure, panels = _panels(k, z, coherence)
    for index, axes in enumerate(panels):
        for name, values in coherence.items():
            # Of a model that is the truth nothing is missing, which has no logarithm.
            lost = np.maximum(1.0 - np.square(np.asarray(values, float)[:, index]), 1e-7)
            _mean(axes, k, lost, name, shade=name == next(iter(coherence)))
        axes.set_yscale("log")
    return _finish(figure, panels, k, z, r"$1-r^2$", height=0.88)


@styled
def flows(k, quantities: Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]) -> Figure:
    """Power and coherence of velocity and momentum against the truth's, one column a quantity.

    quantities: title -> (ratio, coherence), each model -> (runs, nk). Bands are 3%; dotted: r = 0.98.
    """
    figure, spec = style.grid(2, len(quantities), 2.7, 1.75, gap=(0.5, 0.1), top=0.55)
    panels = spec.subplots(sharex=True, squeeze=False)
    for (top, bottom), (title, (ratio, coherence)) in zip(panels.T, quantities.items(), strict=True):
        for name in ratio:
            _mean(top, k, ratio[name], name, shade=name == next(iter(ratio)))
            _mean(bottom, k, coherence[name], name, shade=name == next(iter(ratio)))
        _bands(top, (0.03,))
        top.set_ylim(0.7, 1.15)
        top.set_title(title)
        bottom.axhline(0.98, color=style.GREY, lw=0.8, ls=":")
        bottom.set_ylim(0.7, 1.02)
        wavenumbers(top, k)
        bottom.set_xlabel(style.K_LABEL)
    panels[0, 0].set_ylabel(r"$P/P_{\rm truth}$")
    panels[1, 0].set_ylabel(r"$r$")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", ncols=len(names), columnspacing=1.0)
    return figure


@styled
def slopes(checks: Sequence[Mapping]) -> Figure:
    """d ln P / d Omega_m of emulator (differentiated) and simulator (differences), one panel a cosmology.

    checks: each with k, emulator, simulator (nk,), error, theta; see `validate.fields.slope`. Below each the
    difference over the largest slope, with a band of 3%.
    """
    columns = min(len(checks), 3)
    rows = -(-len(checks) // columns)
    figure, spec = style.grid(rows, columns, 2.5, 2.2, gap=(0.6, 0.6), top=0.5)
    for index, one in enumerate(checks):
        inner = spec[index // columns, index % columns].subgridspec(2, 1, height_ratios=[2, 1], hspace=0.06)
        top, bottom = inner.subplots(sharex=True)
        k, emulator, simulator = (np.asarray(one[name], float) for name in ("k", "emulator", "simulator"))
        top.plot(k, emulator, color=style.BLUE, label="emulator, differentiated")
        top.plot(k, simulator, "o", color=style.VERMILION, mfc="none", label="simulator, differences")
        missed = 100.0 * (emulator - simulator) / np.abs(simulator).max()
        bottom.plot(k, missed, color=style.BLUE)
        bottom.axhspan(-3.0, 3.0, color=style.GREY, alpha=0.25, lw=0)
        bottom.axhline(0.0, color=style.GREY, lw=0.6)
        reach = max(5.0, 1.15 * np.abs(missed).max())
        bottom.set_ylim(-reach, reach)
        names = [f"{style.label(name)}$={one['theta'][name]:.2f}$" for name in ("Omega_m", "sigma_8")]
        top.set_title(", ".join(names), pad=3)
        wavenumbers(top, k)
        top.set_xlim(0.9 * k[0], 1.1 * k[-1])
        top.tick_params(labelbottom=False)
        top.yaxis.set_major_locator(MaxNLocator(5, prune="lower"))  # whose label would meet the panel below
        bottom.set_xlabel(style.K_LABEL)
        if index % columns == 0:
            top.set_ylabel(r"$\partial\ln P/\partial\Omega_{\rm m}$")
            bottom.set_ylabel(r"$\Delta$ [% max]")
            figure.align_ylabels([top, bottom])
        if index == 0:
            handles, words = top.get_legend_handles_labels()
            figure.legend(handles, words, loc="upper center", ncols=2)
    return figure


def _draw_slices(figure, densities, box_size: float, depth: float, difference) -> None:
    if not densities:
        raise DataError("slices: no density given")
    if difference and not set(difference) <= set(densities):
        raise DataError(f"slices: difference {difference} is not among {', '.join(densities)}")
    slabs = {title: _slab(title, field, depth / box_size) for title, field in densities.items()}
    panels = figure.subplots(
        1, len(slabs) + (difference is not None), sharex=True, sharey=True, squeeze=False
    )
    panels = panels[0]
    norm = _scale(list(slabs.values())[-1])
    for axes, (title, values) in zip(panels, slabs.items(), strict=False):
        image = _picture(axes, np.maximum(values, norm.vmin), box_size, norm, "inferno")
        axes.set_title(title)
    panels[0].set_ylabel(rf"$y\ {_LENGTH}")
    bar = figure.colorbar(image, ax=list(panels[: len(slabs)]), pad=0.012, aspect=24, shrink=0.9)
    bar.set_label(r"$1+\delta$")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if difference:
        first, second = (np.maximum(slabs[title], norm.vmin) for title in difference)
        change = np.log10(first / second)
        reach = max(np.quantile(np.abs(change), 0.99), 1e-3)
        image = _picture(panels[-1], change, box_size, Normalize(-reach, reach), "PuOr_r")
        panels[-1].set_title(f"{difference[0]} / {difference[1]}")
        bar = figure.colorbar(image, ax=panels[-1], pad=0.02, aspect=24, shrink=0.9)
        bar.set_label(r"$\log_{10}$ of the ratio")


def _slab(title: str, field, share: float) -> np.ndarray:
    """1 + delta (n, n), averaged over a share of the last axis."""
    field = np.asarray(field, float)
    if field.ndim != 3 or len(set(field.shape)) != 1:
        raise DataError(f"slices: {title} has shape {field.shape}, (n, n, n) is expected")
    return 1.0 + field[:, :, : max(1, round(share * field.shape[2]))].mean(axis=2)


def _scale(slab: np.ndarray) -> LogNorm:
    """From the 2% to the 99.9% of a slab."""
    positive = slab[slab > 0]
    low, high = np.quantile(positive, (0.02, 0.999)) if positive.size else (0.1, 10.0)
    low = min(max(low, 0.02), 0.8)
    return LogNorm(low, max(high, 2.0 * low))


def _picture(axes: Axes, values, box_size: float, norm, colours: str):
    extent = (0.0, box_size, 0.0, box_size)
    image = axes.imshow(values.T, origin="lower", extent=extent, norm=norm, cmap=colours)
    axes.set_xlabel(rf"$x\ {_LENGTH}")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
    axes.minorticks_off()
    return image


def _draw_spectra(figure, k, power, reference: str, limits, bands) -> None:
    if reference not in power:
        raise DataError(f"spectra: reference {reference!r} is not among {', '.join(power)}")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 1.2])
    for name, values in power.items():
        colour, dashes = LINES.get(name, (style.SKY, "-"))
        top.plot(k, values, color=colour, ls=dashes, label=MODELS.get(name, name))
        if name != reference:
            bottom.plot(k, np.asarray(values) / np.asarray(power[reference]), color=colour, ls=dashes)
    _bands(bottom, bands)
    if limits:
        bottom.set_ylim(*limits)
    top.set_yscale("log")
    top.set_ylabel(style.POWER_LABEL)
    bottom.set_ylabel(f"over {MODELS.get(reference, reference)}")
    bottom.set_xlabel(style.K_LABEL)
    wavenumbers(top, k)
    top.legend(loc="lower left")
    figure.align_ylabels([top, bottom])


def _panels(k, z, values: Mapping[str, np.ndarray]):
    for name, array in values.items():
        if np.ndim(array) != 3 or np.shape(array)[1:] != (len(z), len(k)):
            raise DataError(f"{name}: shape {np.shape(array)} is not (runs, {len(z)}, {len(k)})")
    columns = min(len(z), 3)
    figure, spec = style.grid(-(-len(z) // columns), columns, 2.2, 1.9, gap=(0.12, 0.12), top=0.4)
    panels = spec.subplots(sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(z) :]:
        axes.set_visible(False)
    return figure, panels[: len(z)]


def _finish(figure: Figure, panels, k, z, label: str, height: float = 0.06) -> Figure:
    columns = min(len(z), 3)
    for index, axes in enumerate(panels):
        axes.text(0.04, height, rf"$z={z[index]:g}$", transform=axes.transAxes)
        wavenumbers(axes, k)
        if index % columns == 0:
            axes.set_ylabel(label)
        if index + columns >= len(z):
            axes.set_xlabel(style.K_LABEL)
            axes.tick_params(labelbottom=True)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", ncols=min(len(names), 5), columnspacing=1.0)
    return figure


def _mean(axes: Axes, k, values, name: str, *, shade: bool) -> None:
    """The mean over runs (runs, nk) as a line, with their range behind it where asked."""
    colour, dashes = LINES.get(name, (style.SKY, "-"))
    values = np.asarray(values, float)
    axes.plot(k, values.mean(axis=0), color=colour, ls=dashes, label=MODELS.get(name, name))
    if shade:
        axes.fill_between(k, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, lw=0)


def _bands(axes: Axes, halves: Sequence[float]) -> None:
    for half in halves:
        axes.axhspan(1.0 - half, 1.0 + half, color=style.GREY, alpha=0.2, lw=0)
    axes.axhline(1.0, color=style.GREY, lw=0.6)


def wavenumbers(axes: Axes, k) -> None:
    """Make x the axis of k in h/Mpc, from the first to the last, with 1, 2 and 5 of each decade named."""
    axes.set_xscale("log")
    axes.set_xlim(np.min(k), np.max(k))
    # Less than a decade has few powers of ten.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
