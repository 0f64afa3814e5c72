"""Figures of baryons: slices of each field, spectra against the truth's, diagrams of density and temperature.

Every function takes plain arrays and returns a matplotlib Figure; `style.save` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from galaxyjax.report import style
from galaxyjax.report.fields import wavenumbers
from galaxyjax.report.hydro_table import MODELS
from galaxyjax.report.style import styled

LINES = {
    "emulator": (style.BLUE, "-"),
    "samples": (style.GREEN, (0, (5, 1.5))),
    "physics": (style.VERMILION, (0, (3, 1, 1, 1))),
    "matter": (style.ORANGE, (0, (1, 1))),
}
# Field -> (label, colours, lowest over the picture's own mean or None for a quantile)
PICTURES = {
    "matter": (r"$\rho_{\rm m}/\bar\rho_{\rm m}$", "inferno"),
    "gas": (r"$\rho_{\rm gas}/\bar\rho_{\rm b}$", "viridis"),
    "temperature": (r"$T\ [{\rm K}]$", "magma"),
    "pressure": (r"$P/\bar\rho_{\rm b}\ [({\rm km\,s^{-1}})^2]$", "cividis"),
    "stars": (r"$\rho_*/\bar\rho_{\rm b}$", "bone"),
}
_LENGTH = r"[h^{-1}{\rm Mpc}]$"


@styled
def pictures(columns: Mapping[str, Mapping[str, np.ndarray]], box_size: float, depth: float = 3.2) -> Figure:
    """Slabs of every field side by side, one row a field, one column a model; a row has one scale.

    columns: title -> field of `PICTURES` -> (n, n, n). The first column sets each row's scale. box_size,
    depth of the slab from z = 0: Mpc/h; densities are averaged through it, temperatures by gas mass.
    """
    rows = [name for name in PICTURES if any(name in fields for fields in columns.values())]
    figure = style.new_figure(1.9 * len(columns) + 1.0, 1.75 * len(rows) + 0.4)
    panels = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    for line, name in zip(panels, rows, strict=True):
        slabs = {
            title: _slab(fields, name, depth / box_size)
            for title, fields in columns.items()
            if name in fields
        }
        norm, (label, colours) = _norm(next(iter(slabs.values())), name), PICTURES[name]
        for axes, title in zip(line, columns, strict=True):
            if title not in slabs:
                axes.set_visible(False)
                continue
            image = axes.imshow(
                np.maximum(slabs[title], norm.vmin).T,
                origin="lower",
                extent=(0, box_size, 0, box_size),
                norm=norm,
                cmap=colours,
            )
            axes.minorticks_off()
        bar = figure.colorbar(image, ax=list(line), pad=0.015, aspect=14)
        bar.set_label(label)
    for line, title in zip(panels.T, columns, strict=True):
        next(axes for axes in line if axes.get_visible()).set_title(title)
    for axes in panels[-1]:
        axes.set_xlabel(rf"$x\ {_LENGTH}")
    for axes in panels[:, 0]:
        axes.set_ylabel(rf"$y\ {_LENGTH}")
    return figure


@styled
def spectra(k, z, ratio: Mapping, coherence: Mapping, bands: Mapping[str, float]) -> Figure:
    """P over the truth's and coherence of each field, one column a field and redshift.

    k: (nk,) h/Mpc. z: (ne,) of examples, which group by redshift: mean as a line, the emulator's range
    shaded. ratio, coherence: field -> model -> (ne, nk). bands: field -> half width about 1.
    """
    times = sorted({round(float(value), 1) for value in z}, reverse=True)
    columns = [(name, time) for name in bands for time in times]
    figure, spec = style.grid(2, len(columns), 2.05, 1.6, gap=(0.45, 0.1), top=0.6)
    panels = spec.subplots(sharex=True, squeeze=False)
    for (top, bottom), (name, time) in zip(panels.T, columns, strict=True):
        group = np.isclose(z, time, atol=0.05)
        for model, values in ratio[name].items():
            colour, dashes = LINES[model]
            _line(top, k, values[group], colour, dashes, MODELS[model], shade=model == "emulator")
            _line(bottom, k, coherence[name][model][group], colour, dashes, None, shade=model == "emulator")
        top.axhspan(1 - bands[name], 1 + bands[name], color=style.GREY, alpha=0.2, lw=0)
        top.axhline(1.0, color=style.GREY, lw=0.6)
        top.set_title(rf"{name}, $z={time:g}$")
        reach = max(0.12, 3.0 * bands[name])
        top.set_ylim(1 - reach, 1 + reach)
        low = float(np.nanmin(coherence[name]["emulator"][group]))
        bottom.set_ylim(min(0.9, 1.0 - 1.6 * (1.0 - low)), 1.005)
        wavenumbers(top, k)
        top.tick_params(labelbottom=False)
        bottom.set_xlabel(style.K_LABEL)
    panels[0, 0].set_ylabel(r"$P/P_{\rm truth}$")
    panels[1, 0].set_ylabel(r"$r$")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", ncols=len(names), columnspacing=1.2)
    return figure


@styled
def diagrams(columns: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Temperature against gas density, one panel a model: how much gas lies where, with the truth's median.

    columns: title -> (density over the mean of baryons, temperature in K), any shape; the first is the truth.
    """
    figure, spec = style.grid(1, len(columns), 2.1, 2.1, gap=(0.12, 0.1), top=0.3)
    panels = spec.subplots(sharex=True, sharey=True, squeeze=False)[0]
    edges = np.linspace(-2.5, 2.7, 53), np.linspace(2.8, 7.8, 51)
    middle = median = None
    for axes, (title, (gas, heat)) in zip(panels, columns.items(), strict=True):
        keep = (np.ravel(heat) > 0) & (np.ravel(gas) > 0)
        x, y = np.log10(np.ravel(gas)[keep]), np.log10(np.ravel(heat)[keep])
        share = np.histogram2d(x, y, bins=edges, weights=10.0**x)[0]
        axes.pcolormesh(
            *edges, np.maximum(share / share.sum(), 1e-7).T, norm=LogNorm(1e-5, 2e-2), cmap="magma_r"
        )
        if middle is None:
            bins = np.linspace(-2.0, 2.4, 23)
            middle = 0.5 * (bins[1:] + bins[:-1])
            index = np.digitize(x, bins) - 1
            groups = [y[index == i] for i in range(len(middle))]
            median = np.array([np.median(group) if len(group) > 20 else np.nan for group in groups])
        axes.plot(middle, median, color=style.SKY, lw=1.0)
        axes.set_title(title)
        axes.set_xlabel(r"$\log_{10}\rho_{\rm gas}/\bar\rho_{\rm b}$")
    panels[0].set_ylabel(r"$\log_{10}T\ [{\rm K}]$")
    return figure


def _slab(fields: Mapping, name: str, share: float) -> np.ndarray:
    values = np.asarray(fields[name], float)
    layers = max(1, round(share * values.shape[2]))
    if name != "temperature":
        return values[:, :, :layers].mean(axis=2)
    weight = np.asarray(fields["gas"], float)[:, :, :layers]
    return (values[:, :, :layers] * weight).sum(axis=2) / np.maximum(weight.sum(axis=2), 1e-12)


def _norm(slab: np.ndarray, name: str) -> LogNorm:
    positive = slab[slab > 0]
    if not positive.size:
        return LogNorm(1e-3, 1.0)
    low, high = np.quantile(positive, (0.02, 0.999))
    if name == "stars":
        low = high / 1e3
    return LogNorm(low, max(high, 2.0 * low))


def _line(axes, k, values, colour, dashes, label, shade: bool) -> None:
    axes.plot(k, np.mean(values, axis=0), color=colour, ls=dashes, label=label)
    if shade:
        axes.fill_between(k, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, lw=0)


@styled
def box(fields: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray], box_size: float) -> Figure:
    """One prediction: slabs of matter, gas, temperature and pressure, its two maps, and its phase diagram.

    fields: as a column of `pictures`. maps: "compton_y" and "xray", (n, n). box_size: Mpc/h.
    """
    figure = style.new_figure(10.2, 4.6)
    panels = figure.subplots(2, 4)
    titles = {"compton_y": r"Compton $y$", "xray": r"X-rays $[{\rm erg\,s^{-1}cm^{-2}sr^{-1}}]$"}
    extent = (0, box_size, 0, box_size)
    drawn = [
        (name, _slab(fields, name, 3.2 / box_size), *PICTURES[name]) for name in PICTURES if name in fields
    ]
    drawn += [(name, np.asarray(values), titles[name], "inferno") for name, values in maps.items()]
    for axes, (name, values, label, colours) in zip(panels.ravel(), drawn, strict=False):
        norm = _norm(values, name)
        image = axes.imshow(
            np.maximum(values, norm.vmin).T, origin="lower", extent=extent, norm=norm, cmap=colours
        )
        axes.minorticks_off()
        axes.set_title(label)
        figure.colorbar(image, ax=axes, pad=0.02, aspect=18)
    last = panels.ravel()[len(drawn)]
    gas, heat = np.ravel(fields["gas"]), np.ravel(fields["temperature"])
    edges = np.linspace(-2.5, 2.7, 53), np.linspace(2.8, 7.8, 51)
    share = np.histogram2d(np.log10(gas), np.log10(heat), bins=edges, weights=gas)[0]
    last.pcolormesh(*edges, np.maximum(share / share.sum(), 1e-7).T, norm=LogNorm(1e-5, 2e-2), cmap="magma_r")
    last.set_title(r"$\log_{10}T$ against $\log_{10}\rho_{\rm gas}/\bar\rho_{\rm b}$")
    return figure
