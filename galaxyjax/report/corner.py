"""Figures of chains: corner, trace and rank plots."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from galaxyjax.core.errors import DataError, unknown_name
from galaxyjax.report import style
from galaxyjax.report.style import label, new_figure, styled


def _columns(samples: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    for name in names:
        if name not in samples:
            raise unknown_name("parameter of the chain", name, samples)
    columns = {name: np.asarray(samples[name], float) for name in names}
    for name, values in columns.items():
        if values.ndim != 2:
            raise DataError(f"{name}: samples of shape {values.shape}, expected (chain, draw)")
    return columns


@styled
def corner(
    path: str | Path,
    chains: Mapping[str, Mapping[str, np.ndarray]],
    names: Sequence[str],
    *,
    markers: Mapping[str, float] | None = None,
    markers_name: str = "truth",
    ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Path:
    """Write a corner plot (68% and 95% contours) of one or more sets of chains, through GetDist.

    Args:
        path: .png or .pdf file. chains: legend name -> parameter -> (chain, draw) samples.
        names: parameters, in order. markers: parameter -> value drawn as dashed lines (e.g. a truth).
        ranges: parameter -> hard prior bounds, so that the density is not smoothed over them.

    Raises:
        UnknownName: a name that the chains do not have.
    """
    figure = _triangle(chains, names, markers, ranges)
    _mark(figure, markers, markers_name, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        path = style.save(figure, path)
    matplotlib.pyplot.close(figure)
    return path


def _triangle(chains, names, markers, ranges) -> Figure:
    from getdist import MCSamples, plots
    from getdist import chains as getdist_chains

    getdist_chains.print_load_details = False  # stdout belongs to results
    ranges = {name: list(bounds) for name, bounds in (ranges or {}).items() if name in names}
    roots = []
    for legend, samples in chains.items():
        columns = _columns(samples, names)
        roots.append(
            MCSamples(
                samples=[np.stack(draws, axis=1) for draws in zip(*columns.values(), strict=True)],
                names=list(names),
                labels=[_tex(name) for name in names],
                label=legend,
                ranges=ranges,
                sampler="mcmc",
                ignore_rows=0,
            )
        )
    width = min(max(1.25 * len(names), style.COLUMN), 1.6 * style.PAGE)
    plotter = plots.get_subplot_plotter(width_inch=width)
    _look(plotter.settings, len(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # GetDist against matplotlib, not ours to mend
        plotter.triangle_plot(
            roots,
            list(names),
            filled=True,
            contour_colors=list(style.COLOURS[: len(roots)]),
            line_args=[{"color": colour, "lw": 1.3} for colour in style.COLOURS[: len(roots)]],
            markers={name: value for name, value in (markers or {}).items() if name in names} or None,
            legend_labels=list(chains),
            legend_loc="upper right",
        )
    plotter.fig.align_labels()
    return plotter.fig


def _tex(name: str) -> str:
    """The label as GetDist wants it, without dollars."""
    text = label(name)
    return text.strip("$") if text.startswith("$") else rf"\rm {text}"


def _look(settings, n: int) -> None:
    """GetDist's own settings brought to the look of `style.RC`; it does not read all of matplotlib's."""
    settings.axes_fontsize = 8.5
    settings.axes_labelsize = 11
    settings.legend_fontsize = 10
    settings.scaling = False
    settings.tight_layout = True
    settings.axis_tick_max_labels = 4 if n <= 8 else 3
    settings.axis_tick_x_rotation = 45
    settings.axis_marker_color = style.BLACK
    settings.axis_marker_ls = "--"
    settings.axis_marker_lw = 1.0
    settings.alpha_filled_add = 0.8
    settings.solid_contour_palefactor = 0.55
    settings.figure_legend_frame = False
    settings.linewidth = 1.2


def _mark(figure: Figure, markers, markers_name: str, names) -> None:
    if not markers or not set(markers) & set(names):
        return
    line = matplotlib.lines.Line2D([], [], color=style.BLACK, ls="--", lw=1.0, label=markers_name)
    for legend in figure.legends:
        handles, texts = list(legend.legend_handles), [text.get_text() for text in legend.get_texts()]
        legend.remove()
        figure.legend([*handles, line], [*texts, markers_name], loc="upper right", fontsize=10, frameon=False)
        return
    figure.legend(handles=[line], loc="upper right", fontsize=10, frameon=False)


@styled
def traces(samples: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Draws against their number, one row a parameter, one colour a chain. samples: (chain, draw) each."""
    columns = _columns(samples, names)
    figure = new_figure(style.PAGE, 0.4 + 0.85 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, columns.items(), strict=True):
        for chain, colour in zip(values, shades_of_chains(len(values)), strict=True):
            axes.plot(np.arange(1, len(chain) + 1), chain, color=colour, lw=0.4, alpha=0.8)
        axes.set_ylabel(label(name), rotation=0, ha="right", va="center")
        axes.set_xlim(1, max(values.shape[1], 2))
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    panels[-1].set_xlabel("draw")
    figure.align_ylabels()
    return figure


@styled
def ranks(samples: Mapping[str, np.ndarray], names: Sequence[str], bins: int | None = None) -> Figure:
    """Histograms of each chain's ranks among all draws: flat when the chains agree (Vehtari et al. 2021)."""
    columns = _columns(samples, names)
    across = min(len(names), 4)
    down = -(-len(names) // across)
    figure, spec = style.grid(down, across, 1.52, 1.0, gap=(0.08, 0.3), top=0.25)
    panels = spec.subplots(sharex=True, sharey=True, squeeze=False)
    highest = 1.0
    for index, axes in enumerate(panels.flat):
        axes.set_visible(index < len(names))
        if index >= len(names):
            continue
        values = columns[names[index]]
        order = values.ravel().argsort().argsort().reshape(values.shape)
        # 50 draws a bin scatter by 14%.
        count = bins or min(max(values.shape[1] // 50, 4), 20)
        expected = values.shape[1] / count
        for ranked, colour in zip(order, shades_of_chains(len(values)), strict=True):
            counts, edges = np.histogram(ranked, bins=count, range=(0, values.size))
            highest = max(highest, counts.max() / expected)
            axes.stairs(counts / expected, edges / values.size, baseline=None, color=colour, lw=0.7)
        axes.axhline(1.0, color=style.BLACK, lw=0.7, ls="--")
        axes.set_title(label(names[index]), pad=3)
        axes.set_xlim(0.0, 1.0)
        axes.set_xticks([0.0, 0.5], ["0", "0.5"])
        if index % across == 0:
            axes.set_ylabel("counts / uniform")
        if index + across >= len(names):
            axes.set_xlabel("rank / all draws")
            axes.tick_params(labelbottom=True)
    panels[0, 0].set_ylim(0.0, 1.08 * highest)
    return figure


def shades_of_chains(n: int) -> list:
    """Colours of n chains: the named ones while they last, then one ordered sequence."""
    return list(style.COLOURS[:n]) if n <= len(style.COLOURS) else list(style.shades(n))
