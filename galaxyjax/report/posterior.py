"""Figures of one finished run of `infer`: corner, band powers against the best fit, traces and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from galaxyjax.data.survey import ShearSurvey
from galaxyjax.report import corner, shear, style

# What a reader of a cosmic-shear analysis looks at first; the chains have all the others.
MAIN = ("S8", "Omega_m", "sigma_8", "A_IA", "logT_AGN", "sigma_gas")


def posterior_figures(
    folder: str | Path,
    columns: Mapping[str, np.ndarray],
    sampled: Sequence[str],
    survey: ShearSurvey,
    best_fit: np.ndarray,
    *,
    bounds: Mapping[str, tuple[float | None, float | None]],
    markers: Mapping[str, float] | None = None,
    markers_name: str = "truth",
) -> dict[str, Path]:
    """Write corner.png, band_powers.png, traces.png and ranks.png; return what each is -> its path.

    columns: name -> (chains, draws). sampled: names for traces and ranks. best_fit: (ndata,) band powers.
    bounds: hard prior limits. markers: values to mark in the corner plot, and what they are.
    """
    folder = Path(folder)
    names = [name for name in MAIN if name in columns]
    paths = {"corner plot": folder / "corner.png"}
    corner.corner(
        paths["corner plot"],
        {survey.name: columns},
        names,
        markers=markers,
        markers_name=markers_name,
        ranges=bounds,
    )
    shape = (len(survey.pairs), survey.nband)
    pictures = {
        "band powers": shear.band_powers(
            survey.ell,
            survey.data.reshape(shape),
            survey.sigma.reshape(shape),
            [tuple(pair) for pair in survey.pairs.tolist()],
            {"best fit": np.asarray(best_fit, float).reshape(shape)},
            title=survey.name,
        ),
        "traces": corner.traces(columns, sampled),
        "ranks": corner.ranks(columns, sampled),
    }
    for name, figure in pictures.items():
        # Thousands of line segments gain nothing from more pixels.
        dpi = 120.0 if name == "traces" else None
        paths[name] = style.save(figure, folder / f"{name.replace(' ', '_')}.png", dpi)
    return paths
