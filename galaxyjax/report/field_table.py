"""The measured error of an emulator of fields as lines of text, for a terminal, a card and a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from galaxyjax.report.words import per_cent

# Model of `contract.error["fields"]` -> in words.
MODELS = {
    "emulator": "emulator",
    "coarse": "its coarse simulation",
    "fastpm": "FastPM, 10 steps",
    "lpt2": "2LPT",
    "lpt1": "1LPT",
}

# (key, words, k in h/Mpc for a lattice of 2 Mpc/h); see `validate.fields.summary`.
_ROWS = (
    ("power_to_0.5", "P(k) to k = {k}, mean of runs", 0.5),
    ("power_to_0.8", "P(k) to k = {k}, mean of runs", 0.8),
    ("power_to_1", "P(k) to k = {k}, mean of runs", 1.0),
    ("power_to_0.5_each", "P(k) to k = {k}, 95% of runs", 0.5),
    ("power_to_0.8_each", "P(k) to k = {k}, 95% of runs", 0.8),
    ("missing_at_0.5", "1 - r² of density at k = {k}", 0.5),
    ("velocity_to_0.5", "P of velocity to k = {k}", 0.5),
    ("velocity_coherence", "r of velocity to k = {k}, smallest", 0.5),
    ("momentum_to_0.5", "P of momentum to k = {k}", 0.5),
    ("momentum_coherence", "r of momentum to k = {k}, smallest", 0.5),
)
# What the project asks at z = 0: at most this share; of coherences, at least.
ASKED = {"power_to_0.5": 0.02, "power_to_0.8": 0.05, "velocity_to_0.5": 0.03, "velocity_coherence": 0.98}
ASKED_MISSING = 10.0  # times less than 1LPT's
ASKED_SLOPE = 0.03


class Line(NamedTuple):
    """One line: what, asked, one number a model, all text; whether the emulator meets what is asked."""

    words: str
    asked: str
    values: tuple[str, ...]
    good: bool | None


def headers(fields: Mapping) -> tuple[str, ...]:
    """The columns of `lines`: the redshift, "asked" and the models that were measured."""
    return f"at z = {fields.get('z', 0.0):g}", "asked", *(MODELS[model] for model in _models(fields))


def lines(fields: Mapping, spacing: float) -> list[Line]:
    """The lines of `contract.error["fields"]`; P means the largest abs(P / P_truth - 1).

    spacing: of the lattice, Mpc/h; wavenumbers are those of 2 Mpc/h scaled to it.
    """
    models = _models(fields)
    found = []
    for key, words, k in _ROWS:
        words = words.format(k=f"{k * 2.0 / spacing:.3g}")
        values = tuple(_number(key, fields[model][key]) for model in models)
        found.append(Line(words, _asked(key), values, _good(key, fields)))
    if "slope_error" in fields:
        error = fields["slope_error"]
        values = (per_cent(error), *[""] * (len(models) - 1))
        found.append(Line("d ln P / d Omega_m", f"{100.0 * ASKED_SLOPE:g}%", values, error <= ASKED_SLOPE))
    return found


def rows(fields: Mapping, spacing: float) -> list[tuple[str, ...]]:
    """`lines` as rows of a table."""
    return [(line.words, line.asked, *line.values) for line in lines(fields, spacing)]


def _models(fields: Mapping) -> list[str]:
    return [model for model in MODELS if model in fields]


def _number(key: str, value: float) -> str:
    if "coherence" in key:
        return f"{value:.4f}"
    return f"{value:.1e}" if "missing" in key else per_cent(value)


def _asked(key: str) -> str:
    if key == "missing_at_0.5":
        return f"1LPT's / {ASKED_MISSING:g}"
    if key not in ASKED:
        return ""
    return f"{ASKED[key]:g}" if "coherence" in key else f"{100.0 * ASKED[key]:g}%"


def _good(key: str, fields: Mapping) -> bool | None:
    value = fields["emulator"][key]
    if key == "missing_at_0.5":
        return value * ASKED_MISSING <= fields["lpt1"][key]
    if key not in ASKED:
        return None
    return value >= ASKED[key] if "coherence" in key else value <= ASKED[key]
