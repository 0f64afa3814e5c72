"""Figures of reconstructions: initial conditions from a tracer, convergence from shear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galaxyjax.report import style
from galaxyjax.report.fields import wavenumbers
from galaxyjax.report.style import new_figure, styled

_SIDE = 2.1
_MAPS = {"kaiser_squires": "Kaiser-Squires", "wiener": "Wiener", "mean": "posterior mean", "std": "std"}
COHERENCE = {
    "posterior": ("posterior mean and truth", style.BLUE, "-"),
    "linear": ("Wiener filter and truth", style.VERMILION, (0, (5, 1.5))),
    "expected": ("posterior's own expectation", style.SKY, (0, (1, 1))),
    "wiener_limit": ("limit of linear theory", style.GREY, (0, (3, 1, 1, 1))),
}


@styled
def reconstruction(
    maps: Mapping[str, np.ndarray],
    box_size: float,
    k: np.ndarray,
    coherence: Mapping[str, np.ndarray],
    depth: float = 20.0,
) -> Figure:
    """Slabs of linear density (mean, a draw, their spread, ...) and the coherence of modes.

    maps: title -> (n, n, n) linear contrast today; the title "std" has a scale of its own. box_size, depth of
    a slab: Mpc/h. k: (nb,) h/Mpc. coherence: name of COHERENCE -> (nb,).
    """
    figure = new_figure(_SIDE * len(maps) + 1.0, _SIDE + 3.0)
    upper, lower = figure.subfigures(2, 1, height_ratios=[_SIDE + 0.5, 2.5])
    slabs = {title: _slab(values, depth / box_size, title == "std") for title, values in maps.items()}
    reach = max(np.quantile(np.abs(s), 0.995) for title, s in slabs.items() if title != "std")
    panels = upper.subplots(1, len(slabs), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, values) in zip(panels, slabs.items(), strict=True):
        alone = title == "std"
        norm = Normalize(0.0, float(values.max())) if alone else Normalize(-reach, reach)
        image = axes.imshow(
            values.T, origin="lower", extent=(0, box_size, 0, box_size), norm=norm,
            cmap="cividis" if alone else "PuOr_r",
        )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel(r"$x\ [h^{-1}{\rm Mpc}]$")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.minorticks_off()
        bar = upper.colorbar(image, ax=axes, orientation="horizontal", pad=0.02, aspect=18, shrink=0.9)
        bar.set_label(r"$\sigma(\delta_{\rm L})$" if alone else r"$\delta_{\rm L}$")
        bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_ylabel(r"$y\ [h^{-1}{\rm Mpc}]$")
    axes = lower.subplots()
    for name, (words, colour, dashes) in COHERENCE.items():
        if name in coherence:
            axes.plot(k, coherence[name], color=colour, ls=dashes, label=words)
    axes.set_ylim(0.0, 1.02)
    axes.set_ylabel("coherence with the initial modes")
    axes.set_xlabel(style.K_LABEL)
    wavenumbers(axes, k)
    axes.legend(loc="lower left")
    return figure


@styled
def mass(maps: Mapping[str, np.ndarray], pixel: float, seen: np.ndarray) -> Figure:
    """Maps of convergence side by side, dimmed where there were no data.

    maps: title -> (ny, nx); "std" has a scale of its own. pixel: side, arcmin. seen: (ny, nx) bool.
    """
    columns = min(len(maps), 3)
    rows = -(-len(maps) // columns)
    figure = new_figure(2.55 * columns, 2.6 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    ny, nx = seen.shape
    extent = (0.0, nx * pixel, 0.0, ny * pixel)
    shown = [values[seen] for title, values in maps.items() if title != "std"]
    low = min(np.quantile(values, 0.02) for values in shown)
    high = max(np.quantile(values, 0.998) for values in shown[:3])
    for axes, (title, values) in zip(panels, maps.items(), strict=False):
        alone = title == "std"
        norm = Normalize(0.0, np.quantile(values[seen], 0.999)) if alone else Normalize(low, high)
        image = axes.imshow(
            values, origin="lower", extent=extent, norm=norm, cmap="cividis" if alone else "inferno"
        )
        veil = np.zeros((ny, nx, 4))
        veil[..., :3], veil[..., 3] = 0.5, np.where(seen, 0.0, 0.45)
        axes.imshow(veil, origin="lower", extent=extent)
        axes.set_title(title)
        axes.minorticks_off()
        bar = figure.colorbar(image, ax=axes, pad=0.02, shrink=0.62, aspect=14)
        bar.set_label(r"$\sigma(\kappa)$" if alone else r"$\kappa$")
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    for index in range(len(maps)):
        if index % columns == 0:
            panels[index].set_ylabel(r"$\theta_y$ [arcmin]")
        if index + columns >= len(maps):
            panels[index].set_xlabel(r"$\theta_x$ [arcmin]")
            panels[index].tick_params(labelbottom=True)
    return figure


def mass_of(path: Path, truth: np.ndarray | None = None) -> Figure:
    """Maps of the file that `map_mass` wrote, with one draw and, where there is one, the truth (ny, nx)."""
    with h5py.File(path) as file:
        maps = {title: file[name][()] for name, title in _MAPS.items()}
        if len(file["samples"]):
            maps["one draw"] = file["samples"][-1]
        seen, pixel = file["seen"][()], np.degrees(file.attrs["pixel_rad"]) * 60.0
    if truth is not None:
        maps["truth"] = truth
    return mass(maps, pixel, seen)


def _slab(values: np.ndarray, share: float, root: bool) -> np.ndarray:
    values = np.asarray(values, float)
    layers = values[:, :, : max(1, round(share * values.shape[2]))]
    return np.sqrt(np.mean(layers**2, axis=2)) if root else layers.mean(axis=2)
