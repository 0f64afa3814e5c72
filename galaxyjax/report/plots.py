"""Figures about an emulator: spectra and residuals, error percentiles, gradients, training curves.

Every function takes plain arrays and returns a matplotlib Figure; `style.save` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from galaxyjax.core.errors import DataError
from galaxyjax.report import style
from galaxyjax.report.style import label, new_figure, shades, styled

# The pooled levels every claim of this project is stated in.
LEVELS = (50.0, 95.0, 99.0)


def _need(name: str, array, ndim: int) -> np.ndarray:
    array = np.asarray(array, dtype=float)
    if array.ndim != ndim:
        raise DataError(f"{name}: shape {array.shape} has {array.ndim} axes, expected {ndim}")
    return array


def _logarithmic_k(axes: Axes, k) -> None:
    axes.set_xscale("log")
    axes.set_xlim(k.min(), k.max())
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())


@styled
def spectra(
    k,
    z,
    power,
    reference=None,
    *,
    output: str = "nonlinear",
    reference_name: str = "CAMB",
    title: str = "",
) -> Figure:
    """P(k) at several redshifts; with a reference, also the residual in per cent below it.

    Args:
        k: (nk,) h/Mpc. z: (nz,). power, reference: (nz, nk) in (Mpc/h)^3, or ratios.

    Raises:
        DataError: arrays of the wrong number of axes.
    """
    k, z, power = _need("k", k, 1), _need("z", z, 1), _need("power", power, 2)
    figure = new_figure(style.COLUMN * 1.35, 4.0 if reference is not None else 3.1)
    if reference is None:
        top, bottom = figure.subplots(), None
    else:
        reference = _need("reference", reference, 2)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1.0])
    colours = shades(len(z))
    for row, (redshift, colour) in enumerate(zip(z, colours, strict=True)):
        top.plot(k, power[row], color=colour, label=rf"$z={redshift:g}$")
        if bottom is not None:
            top.plot(k, reference[row], color=style.VERMILION, ls=(0, (1, 2)), lw=1.4)
            bottom.plot(k, 100.0 * (power[row] / reference[row] - 1.0), color=colour)
    if bottom is not None:
        top.plot([], [], color=style.VERMILION, ls=(0, (1, 2)), lw=1.4, label=reference_name)
        bottom.axhline(0.0, color=style.GREY, lw=0.7)
        bottom.set_ylabel("residual [%]")
    if output == "baryon_suppression":
        top.set_ylabel(label(output))
    else:
        top.set_yscale("log")
        top.set_ylabel(style.POWER_LABEL)
    _logarithmic_k(top, k)
    (bottom or top).set_xlabel(style.K_LABEL)
    top.legend(title=label(output), loc="lower left", ncols=1 + (len(z) > 5))
    if title:
        top.set_title(title)
    figure.align_ylabels()
    return figure


@styled
def error_percentiles(
    k, z, ratio, *, output: str = "nonlinear", asked: Mapping[float, float] | None = None
) -> Figure:
    """Percentiles over cosmologies of |P_emulator / P_truth - 1| against k, one panel per redshift.

    Args:
        k: (nk,) h/Mpc. z: (nz,). ratio: (n, nz, nk), P_emulator / P_truth.
        asked: percentile -> largest error wanted (a fraction), dotted in that percentile's colour.
    """
    k, z, ratio = _need("k", k, 1), _need("z", z, 1), _need("ratio", ratio, 3)
    error = 100.0 * np.abs(ratio - 1.0)
    # An error of zero (an identity) has no logarithm.
    error = np.maximum(error, 1e-5 * max(error.max(), 1e-7))
    lines = [(f"{level:g}%", np.percentile(error, level, axis=0)) for level in LEVELS]
    lines.append(("max", error.max(axis=0)))
    shade = (style.BLUE, style.GREEN, style.VERMILION, style.GREY)
    colours = {name: colour for (name, _), colour in zip(lines, shade, strict=True)}
    columns = min(len(z), 3)
    rows = -(-len(z) // columns)
    figure, spec = style.grid(rows, columns, 2.0, 1.75, gap=(0.3, 0.12), top=0.55)
    panels = spec.subplots(sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        axes.set_visible(index < len(z))
        if index >= len(z):
            continue
        for name, value in lines:
            axes.plot(k, value[index], color=colours[name], label=name, lw=1.0)
        for level, bound in (asked or {}).items():
            axes.axhline(100.0 * bound, color=colours[f"{level:g}%"], ls=":", lw=0.9)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.text(0.04, 0.94, rf"$z={z[index]:g}$", transform=axes.transAxes, va="top")
        _logarithmic_k(axes, k)
        if index + columns >= len(z):
            axes.set_xlabel(style.K_LABEL)
            axes.tick_params(labelbottom=True)
    # The top leaves room for the label.
    top = max(error.max(), *(100.0 * bound for bound in (asked or {}).values()), 0.0)
    panels[0, 0].set_ylim(max(lines[0][1].min(), 1e-4 * error.max()) / 2, 4.0 * top)
    for axes in panels[:, 0]:
        axes.set_ylabel(r"$|P/P_{\rm truth}-1|$ [%]")
    handles, names = panels[0, 0].get_legend_handles_labels()
    title = f"{label(output)}, {ratio.shape[0]} cosmologies" + ("; dotted: asked" if asked else "")
    figure.legend(handles, names, loc="upper center", ncols=len(names), title=title)
    return figure


@styled
def gradients(
    k, names: Sequence[str], emulator, truth, *, z: float = 0.0, reference_name: str = "CAMB"
) -> Figure:
    """d ln P / d parameter from the emulator over finite differences of the truth, one panel per parameter.

    Args:
        k: (nk,) h/Mpc. names: parameters. emulator, truth: (len(names), nk), per unit of each parameter.
    """
    k, emulator, truth = _need("k", k, 1), _need("emulator", emulator, 2), _need("truth", truth, 2)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, spec = style.grid(rows, columns, 2.0, 1.75, gap=(0.5, 0.42), top=0.75)
    for index, name in enumerate(names):
        inner = spec[index // columns, index % columns].subgridspec(
            2, 1, height_ratios=[2.0, 1.0], hspace=0.06
        )
        top, bottom = inner.subplots(sharex=True)
        top.plot(k, emulator[index], color=style.BLUE, label="emulator")
        top.plot(k, truth[index], color=style.VERMILION, ls=(0, (1, 2)), lw=1.4, label=reference_name)
        top.axhline(0.0, color=style.GREY, lw=0.6)
        top.set_title(label(name), pad=3)
        scale = max(np.abs(truth[index]).max(), 1e-30)
        bottom.plot(k, 100.0 * (emulator[index] - truth[index]) / scale, color=style.BLUE, lw=0.9)
        bottom.axhline(0.0, color=style.GREY, lw=0.6)
        bottom.yaxis.set_major_locator(MaxNLocator(3))
        _logarithmic_k(top, k)
        top.tick_params(labelbottom=False)
        if index % columns == 0:
            top.set_ylabel(r"$\partial\ln P/\partial\theta$")
            bottom.set_ylabel(r"$\Delta$ [% max]")
            figure.align_ylabels([top, bottom])
        if index + columns >= len(names):
            bottom.set_xlabel(style.K_LABEL)
        else:
            bottom.tick_params(labelbottom=False)
        if index == 0:
            handles, legend = top.get_legend_handles_labels()
            figure.legend(handles, legend, loc="upper center", ncols=2, title=rf"$z={z:g}$")
    return figure


@styled
def training_curves(
    steps, losses: Mapping[str, Sequence[float]], *, best: float | None = None, unit: str = "step"
) -> Figure:
    """Training and validation losses against steps (or epochs), the best step marked.

    Args:
        steps: (n,) increasing. losses: name -> (n,) positive values; NaN where a loss was not measured.
    """
    steps = _need("steps", steps, 1)
    figure = new_figure(style.COLUMN * 1.35, 2.8)
    axes = figure.subplots()
    for (name, values), colour in zip(losses.items(), style.COLOURS, strict=False):
        values = _need(name, values, 1)
        kept = np.isfinite(values)
        axes.plot(steps[kept], values[kept], color=colour, label=name, lw=1.0)
    if best is not None:
        axes.axvline(best, color=style.GREY, ls="--", lw=0.9, label=f"best, {unit} {best:g}")
    axes.set_yscale("log")
    axes.set_xlabel(unit)
    axes.set_ylabel("loss")
    axes.set_xlim(steps.min(), max(steps.max(), steps.min() + 1))
    axes.legend(loc="upper right")
    return figure


@styled
def pooled_errors(errors: Mapping[str, np.ndarray], *, asked: Mapping[float, float] | None = None) -> Figure:
    """The share of points (cosmology, z, k) whose error |P_emulator / P_truth - 1| is larger, per output.

    Args:
        errors: name -> array of ratios P_emulator / P_truth of any shape.
        asked: percentile -> largest error wanted (a fraction), drawn as crosses.
    """
    figure = new_figure(style.COLUMN * 1.35, 2.9)
    axes = figure.subplots()
    # Tail levels, because a linear axis would hide the one per cent that matters.
    levels = 100.0 - np.geomspace(100.0, 1e-3, 400)
    left = np.inf
    for (name, ratio), colour in zip(errors.items(), style.COLOURS, strict=False):
        error = 100.0 * np.abs(np.asarray(ratio, float).ravel() - 1.0)
        left = min(left, max(np.median(error) / 10.0, 1e-9))
        axes.plot(np.percentile(error, levels), 100.0 - levels, color=colour, label=label(name))
    for level, bound in (asked or {}).items():
        axes.plot(100.0 * bound, 100.0 - level, "x", color=style.BLACK, ms=6)
    if asked:
        axes.plot([], [], "x", color=style.BLACK, ms=6, label="asked: left of the cross")
    axes.set(xscale="log", yscale="log", ylim=(1e-3, 100.0))
    axes.set_xlim(left=left)
    axes.set_xlabel(r"error $|P/P_{\rm truth}-1|$ [%]")
    axes.set_ylabel("points with a larger error [%]")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(loc="lower left")
    return figure


@styled
def worst_errors(
    worst: Mapping[str, tuple[np.ndarray, np.ndarray]], *, core: tuple[float, float] | None = None
) -> Figure:
    """The largest error of each cosmology against its sigma_8, one colour per output; the core is shaded.

    Args:
        worst: output -> (sigma_8 (n,), largest |P_emulator / P_truth - 1| (n,)).
    """
    figure = new_figure(style.COLUMN * 1.35, 2.9)
    axes = figure.subplots()
    if core is not None:
        axes.axvspan(*core, color=style.GREY, alpha=0.15, lw=0)
    for (name, (sigma_8, error)), colour in zip(worst.items(), style.COLOURS, strict=False):
        axes.plot(sigma_8, 100.0 * np.asarray(error), ".", color=colour, ms=2.5, alpha=0.6, label=label(name))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(style.label("sigma_8"))
    axes.set_ylabel(r"largest $|P/P_{\rm truth}-1|$ [%]")
    legend = figure.legend(loc="outside upper center", ncols=min(len(worst), 4), columnspacing=1.2)
    for handle in legend.legend_handles:
        handle.set(alpha=1.0, markersize=5)
    return figure
