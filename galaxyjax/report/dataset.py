"""Figures of `galaxyjax data describe`: how parameters are covered, and what the fields look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from galaxyjax.core.files import write_json
from galaxyjax.data.coverage import Coverage
from galaxyjax.data.describe import Report
from galaxyjax.data.field_statistics import FAR, FieldStatistics
from galaxyjax.report import style
from galaxyjax.report.style import label, styled

_MOST = 7
_NAMES = {
    "A_SN1": r"$A_{\rm SN1}$",
    "A_SN2": r"$A_{\rm SN2}$",
    "A_AGN1": r"$A_{\rm AGN1}$",
    "A_AGN2": r"$A_{\rm AGN2}$",
    "M_nu": style.LABELS["m_nu"],
    "w": r"$w$",
    "alpha_s": r"$\alpha_{\rm s}$",
    "N_ur": r"$N_{\rm ur}$",
    "omega_ncdm": r"$\omega_{\rm ncdm}$",
    "sigma_8_cb": r"$\sigma_{8,\rm cb}$",
    "f_NL_local": r"$f_{\rm NL}^{\rm local}$",
    "f_NL_equilateral": r"$f_{\rm NL}^{\rm equil}$",
}


def draw(report: Report, folder: str | Path) -> list[Path]:
    """Write parameters.png, one fields_<kind>.png for each kind, and report.json; return their paths."""
    folder, files = Path(folder), []
    if report.coverage is not None and report.coverage.varied:
        files.append(style.save(coverage(report.coverage), folder / "parameters.png"))
    for one in report.fields:
        name = "".join(c if c.isalnum() else "_" for c in one.kind).strip("_")
        files.append(style.save(fields(one), folder / f"fields_{name}.png"))
    write_json(folder / "report.json", _finite(report.summary()))
    return [*files, folder / "report.json"]


@styled
def coverage(found: Coverage) -> Figure:
    """Every two parameters against each other, each alone as a histogram; the largest hole of each plane.

    Outliers are orange crosses, on the edge where they lie beyond it. A hole is red where it is a gap, grey
    where random points leave as large a one. At most 7 parameters are drawn.
    """
    names = found.varied[:_MOST]
    n = len(names)
    size = 1.05 if n > 3 else 1.6
    figure, spec = style.grid(n, n, size, size, gap=(0.07, 0.07), top=0.3)
    gaps = {flag.text.split(":")[0] for flag in found.flags if flag.kind == "gap"}
    for row, y in enumerate(names):
        for column, x in enumerate(names[: row + 1]):
            axes = figure.add_subplot(spec[row, column])
            _scale_axis(axes.xaxis, found, x)
            if row == column:
                _marginal(axes, found, x)
            else:
                _scale_axis(axes.yaxis, found, y)
                _plane(axes, found, x, y, gaps)
            _dress(axes, row, column, n, found)
    title = f"{found.table.name}: {len(found.table)} simulations"
    if found.discrepancy:
        title += f"\ndiscrepancy {found.discrepancy[0] / found.discrepancy[1]:.2g} of that of random points"
    _legend(figure, found, title, gaps, n)
    return figure


def _legend(figure: Figure, found: Coverage, title: str, gaps: set[str], n: int) -> None:
    """In the empty corner, where there is one."""
    handles = [
        Line2D([], [], color=style.BLUE, marker=".", ls="", ms=4, label="simulation"),
        Line2D([], [], color=style.GREY, ls="--", lw=0.7, label="evenly spread"),
        Line2D([], [], color=style.GREY, marker="o", mfc="none", ls="", ms=6, label="largest hole"),
    ]
    if any("," in gap for gap in gaps):
        handles.append(
            Line2D([], [], color=style.VERMILION, marker="o", mfc="none", ls="", ms=6, label="gap")
        )
    if found.odd.any():
        handles.append(Line2D([], [], color=style.ORANGE, marker="x", ls="", ms=4, label="outlier"))
    if n > 2:
        figure.legend(handles=handles, title=title, loc="upper right", bbox_to_anchor=(0.99, 0.98))
    else:
        figure.suptitle(title.replace("\n", ", "), x=0.5, y=0.995, va="top", fontsize=8)


def _span(found: Coverage, name: str) -> tuple[float, float]:
    values = found.table.column(name)[~found.odd]
    return float(values.min()), float(values.max())


def _thousands(found: Coverage, name: str) -> int:
    """The power of ten, in steps of three, that makes the values readable: 9 for a primordial amplitude."""
    largest = np.abs(_span(found, name)).max()
    return 0 if 1e-2 <= largest < 1e4 or largest == 0 else -3 * int(np.floor(np.log10(largest) / 3))


def _scale_axis(axis: Axis, found: Coverage, name: str) -> None:
    low, high = _span(found, name)
    factor = 10.0 ** _thousands(found, name)
    limits = getattr(axis.axes, f"set_{axis.axis_name}lim")
    if name in found.logarithmic:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        edge = (high / low) ** 0.04
        limits(low / edge, high * edge)
        subs = (
            (1.0,) if high > 300 * low else (1.0, 2.0, 5.0) if high > 6 * low else (1.0, 1.4, 2.0, 5.0, 7.0)
        )
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    else:
        edge = 0.04 * ((high - low) or 1.0)
        limits(low - edge, high + edge)
        axis.set_major_locator(MaxNLocator(3, prune="both"))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * factor:.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _marginal(axes: Axes, found: Coverage, name: str) -> None:
    values = found.table.column(name)[~found.odd]
    log = name in found.logarithmic
    edges = (np.geomspace if log else np.linspace)(values.min(), values.max(), 21)
    counts, *_ = axes.hist(values, edges, color=style.BLUE, alpha=0.35, lw=0)
    axes.hist(values, edges, histtype="step", color=style.BLUE, lw=0.9)
    axes.axhline(len(values) / 20, color=style.GREY, lw=0.7, ls="--")
    axes.set_ylim(0, 1.3 * counts.max())
    axes.set_yticks([])


def _plane(axes: Axes, found: Coverage, x: str, y: str, gaps: set[str]) -> None:
    a, b, odd = found.table.column(x), found.table.column(y), found.odd
    n = (~odd).sum()
    size, alpha = (3.0, 0.8) if n < 400 else (1.9, 0.6) if n < 5000 else (1.0, 0.15)
    axes.plot(a[~odd], b[~odd], ".", color=style.BLUE, ms=size, alpha=alpha, mew=0, rasterized=True)
    on_edge = np.clip(a[odd], *axes.get_xlim()), np.clip(b[odd], *axes.get_ylim())
    axes.plot(*on_edge, "x", color=style.ORANGE, ms=3.5, clip_on=False)
    hole = found.holes.get((x, y))
    if hole is not None:
        gap = f"{x}, {y}" in gaps
        axes.plot(
            *_circle(found, x, y, hole),
            color=style.VERMILION if gap else style.GREY,
            lw=1.2 if gap else 0.7,
        )


def _circle(found: Coverage, x: str, y: str, hole) -> list[np.ndarray]:
    """A circle in units of the ranges, point by point: in a logarithmic plane it is no ellipse."""
    centre, radius = hole
    angle = np.linspace(0, 2 * np.pi, 100)
    line = []
    for name, middle, wave in ((x, centre[0], np.cos(angle)), (y, centre[1], np.sin(angle))):
        low, high = _span(found, name)
        if name in found.logarithmic:
            line.append(middle * (high / low) ** (radius * wave))
        else:
            line.append(middle + (high - low) * radius * wave)
    return line


def _dress(axes: Axes, row: int, column: int, n: int, found: Coverage) -> None:
    axes.tick_params(labelsize=6.5, labelbottom=row == n - 1, labelleft=column == 0 and row > 0)
    if row == n - 1:
        axes.set_xlabel(_name(found, found.varied[column]), fontsize=9)
        axes.tick_params(axis="x", rotation=45)
    if column == 0 and row > 0:
        axes.set_ylabel(_name(found, found.varied[row]), fontsize=9)


def _name(found: Coverage, name: str) -> str:
    text = _NAMES.get(name) or label(name)
    text = text if len(text) < 16 or text.startswith("$") else text[:13] + "..."
    power = _thousands(found, name)
    return rf"$10^{{{power}}}\,$" + text if power else text


@styled
def fields(one: FieldStatistics) -> Figure:
    """Three panels: histograms, spectra (median, 68% and 95% of the fields), and how odd each field is."""
    figure, spec = style.grid(1, 3, 2.0, 1.9, gap=(0.62, 0.0), top=0.3)
    first, second, third = spec.subplots()
    odd = np.argsort(one.score)[::-1][: (one.score > FAR).sum() if len(one.names) >= 8 else 0][:5]
    centres = 0.5 * (one.edges[1:] + one.edges[:-1])
    _bands(first, 10.0**centres if one.logarithmic else centres, one.counts, odd)
    top = np.max(one.counts)
    least = one.counts[one.counts > 0].min()
    first.set(yscale="log", ylim=(max(1e-5 * top, 0.5 * least), 3 * top))
    zeros = np.median(one.moments["zeros"])
    if one.logarithmic:
        first.set_xscale("log")
        first.xaxis.set_minor_formatter(NullFormatter())
    first.set_xlabel("value" + (f" ({zeros:.0%} are zero)" if one.logarithmic and zeros > 0.005 else ""))
    first.set_ylabel("density per dex" if one.logarithmic else "density")
    _bands(second, one.k, one.power, odd)
    second.set(xscale="log", yscale="log", xlim=(one.k.min() / 1.1, one.k.max() * 1.1))
    second.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    second.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (second.xaxis, second.yaxis):
        axis.set_minor_formatter(NullFormatter())
    if one.power.max() < 300 * one.power[one.power > 0].min():
        second.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
        second.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    second.set_xlabel(style.K_LABEL)
    volume = rf"$[(h^{{-1}}{{\rm Mpc}})^{one.dimensions}]$"
    second.set_ylabel(rf"$P(k)$ {volume}" if one.contrast else r"$P(k)$ of $x-\bar{x}$")
    _scores(third, one, odd)
    seen = f"{len(one.names)}" + (f" of {one.of}" if one.of != len(one.names) else "")
    title = rf"{one.kind}: {seen} fields of ${one.cells}^{one.dimensions}$ cells"
    figure.suptitle(title, x=0.5, y=0.995, va="top", fontsize=9.5)
    return figure


def _bands(axes: Axes, x: np.ndarray, curves: np.ndarray, odd: np.ndarray) -> None:
    """Median and the ranges of 68 and 95 per cent; every curve where there are few; the odd ones on top."""
    if len(curves) < 8:
        for curve in curves:
            axes.plot(x, _positive(curve), color=style.BLUE, lw=0.9, alpha=0.8)
        return
    low2, low, middle, high, high2 = np.quantile(curves, [0.025, 0.16, 0.5, 0.84, 0.975], axis=0)
    axes.fill_between(x, low2, high2, color=style.BLUE, alpha=0.15, lw=0, label="95%")
    axes.fill_between(x, low, high, color=style.BLUE, alpha=0.3, lw=0, label="68%")
    axes.plot(x, _positive(middle), color=style.BLUE, label="median")
    for number, index in enumerate(odd):
        axes.plot(
            x, _positive(curves[index]), color=style.VERMILION, lw=0.9, label="" if number else "outliers"
        )
    axes.legend(loc="best", fontsize=7, handlelength=1.2)


def _positive(curve: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show."""
    return np.where(curve > 0, curve, np.nan)


def _scores(axes: Axes, one: FieldStatistics, odd: np.ndarray) -> None:
    score = np.maximum(one.score, 1e-2)
    number = np.arange(len(score))
    axes.plot(number, score, ".", color=style.BLUE, ms=4 if len(score) < 200 else 2, mew=0, rasterized=True)
    axes.plot(number[odd], score[odd], "x", color=style.VERMILION, ms=4)
    for index in odd[:3]:
        name = one.names[index]
        short = name[name.rindex("[") :] if name.endswith("]") else name
        side = "right" if index > len(score) / 3 else "left"
        place = dict(xytext=(-3, 3), textcoords="offset points", fontsize=6, ha=side)
        axes.annotate(short, (index, score[index]), **place)
    axes.axhline(FAR, color=style.GREY, lw=0.8, ls="--")
    axes.set_yscale("log")
    axes.set_ylim(0.5 * min(1.0, score.min()), 4 * max(score.max(), FAR))
    axes.set_xlim(-0.5 - 0.02 * len(score), len(score) * 1.02 - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("field")
    axes.set_ylabel("deviation from the others")


def _finite(content):
    """The same with None for NaN and infinity, which JSON lacks, and NumPy's numbers as Python's."""
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not np.isfinite(content) else content
