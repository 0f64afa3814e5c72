"""The one look of every figure: fonts, colours that colour-blind readers can tell apart, and saving."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import atomic_path

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Okabe & Ito (2008), "Color Universal Design"; their yellow is left out: too pale for a line on white.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#000000"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
GREY = "#8C8C8C"

# Widths of a column and of a page of A&A and MNRAS, in inches.
COLUMN, PAGE = 3.5, 7.1

LABELS = {
    "omega_b": r"$\omega_{\rm b}$",
    "omega_cdm": r"$\omega_{\rm cdm}$",
    "h": r"$h$",
    "H0": r"$H_0\ [{\rm km\,s^{-1}\,Mpc^{-1}}]$",
    "n_s": r"$n_{\rm s}$",
    "ln10A_s": r"$\ln(10^{10}A_{\rm s})$",
    "A_s": r"$A_{\rm s}$",
    "m_nu": r"$\Sigma m_\nu\ [{\rm eV}]$",
    "w0": r"$w_0$",
    "wa": r"$w_a$",
    "logT_AGN": r"$\log_{10}(T_{\rm AGN}/{\rm K})$",
    "eta_IA": r"$\eta_{\rm IA}$",
    "r_drag": r"$r_{\rm drag}$ [Mpc]",
    "sigma_gas": r"$\Delta f_{\rm gas}\ [\sigma]$",
    "sigma_star": r"$\Delta M_*\ [\sigma]$",
    "jet": "jet fraction",
    "response": r"$P_{\rm hydro}/P_{\rm DMO}$",
    "sigma_8": r"$\sigma_8$",
    "S8": r"$S_8$",
    "Omega_m": r"$\Omega_{\rm m}$",
    "Omega_b": r"$\Omega_{\rm b}$",
    "A_IA": r"$A_{\rm IA}$",
    "chi2": r"$\chi^2$",
    "linear": r"$P_{\rm lin}$",
    "nonlinear": r"$P_{\rm nl}$",
    "nonlinear_baryons": r"$P_{\rm nl}$ with baryons",
    "baryon_suppression": r"$P_{\rm baryons}/P_{\rm nl}$",
}
K_LABEL = r"$k\ [h\,{\rm Mpc}^{-1}]$"
POWER_LABEL = r"$P(k)\ [(h^{-1}{\rm Mpc})^3]$"

RC = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral"],
    "mathtext.fontset": "stix",
    "font.size": 9.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 9.5,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "figure.dpi": 110.0,
    "figure.facecolor": "white",
    "savefig.dpi": 200.0,
    "pdf.fonttype": 42,
    "text.usetex": False,
}


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a drawing function under `RC`, whatever the caller's matplotlib settings, and leave those alone."""

    @functools.wraps(draw)
    def with_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return with_style


def label(name: str) -> str:
    """The axis label of a parameter or output, with its unit; redshift shifts `dz_1` are numbered."""
    if name in LABELS:
        return LABELS[name]
    stem, _, number = name.rpartition("_")
    if stem in ("dz", "delta_z", "bias") and number.isdigit():
        return rf"$\delta z_{{{number}}}$"
    return name.replace("_", " ")


class _Shown(Figure):
    """A figure that a notebook shows as a picture, whether or not pyplot was ever used there."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png")
        return held.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches on the Agg canvas: no display, no global pyplot state."""
    figure = _Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(rows: int, columns: int, width: float, height: float, *, gap=(0.12, 0.12), top: float = 0.1):
    """A figure of equal panels at fixed places, so that an empty slot or a long label moves nothing.

    width, height: of one panel, inches; gap: between panels (across, down); top: strip above, for a legend.
    Returns the figure and its gridspec.
    """
    left, bottom, right = 0.65, 0.5, 0.1
    total = (
        left + columns * width + (columns - 1) * gap[0] + right,
        bottom + rows * height + (rows - 1) * gap[1] + top,
    )
    figure = _Shown(figsize=total)
    FigureCanvasAgg(figure)
    spec = figure.add_gridspec(
        rows,
        columns,
        left=left / total[0],
        right=1.0 - right / total[0],
        bottom=bottom / total[1],
        top=1.0 - top / total[1],
        wspace=gap[0] / width,
        hspace=gap[1] / height,
    )
    return figure, spec


@styled
def save(figure: Figure, path: str | Path, dpi: float | None = None) -> Path:
    """Write a figure, whole or not at all; the suffix (.png, .pdf, .svg) picks the format.

    Raises ConfigError for another suffix.
    """
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ConfigError(f"{path}: no figure format {path.suffix!r}; use .png, .pdf or .svg")
    dpi = dpi or RC["savefig.dpi"]
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".png":
            temporary.write_bytes(_png(figure, dpi))
        else:
            figure.savefig(temporary, bbox_inches="tight", pad_inches=0.04)
    return path


@styled
def data_uri(figure: Figure, dpi: float = 130.0) -> str:
    """A figure as a PNG `data:` address, to be embedded in a page that needs no network."""
    return "data:image/png;base64," + base64.b64encode(_png(figure, dpi)).decode("ascii")


def _png(figure: Figure, dpi: float) -> bytes:
    """The figure as PNG with a palette of 128 colours: a third of the bytes, and no difference to the eye.

    Pictures keep all their colours, which no palette holds.
    """
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.04)
    picture = Image.open(drawn).convert("RGB")
    if not any(axes.images for axes in figure.axes):
        picture = picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(packed, "PNG", optimize=True, dpi=(dpi, dpi))
    return packed.getvalue()


def shades(n: int) -> np.ndarray:
    """(n, 4) RGBA in one ordered sequence (cividis, safe for colour-blind readers), e.g. for redshifts."""
    return matplotlib.colormaps["cividis"](np.linspace(0.0, 0.85, max(n, 1)))
