"""The measured error of an emulator of baryons as lines of text, for a terminal, a card and a page."""

from __future__ import annotations

from collections.abc import Mapping

from galaxyjax.report.field_table import Line
from galaxyjax.report.words import per_cent

# Model of `contract.error["baryons"]` -> in words.
MODELS = {
    "emulator": "emulator",
    "samples": "its samples",
    "physics": "smoothed matter, T(density)",
    "matter": "matter itself, T(density)",
}

# (key, words, form, asked, whether larger is better)
_ROWS = (
    ("gas_coherence", "r of gas to k = {k}, smallest of any run", "r", 0.97, True),
    ("gas_power", "P of gas to k = {k}, mean of runs", "%", 0.05, False),
    ("gas_power_each", "P of gas to k = {k}, worst run", "%", None, False),
    ("temperature_median", "median log T in decades of density 0.1 to 100, mean of runs", "dex", 0.1, False),
    ("temperature_median_each", "median log T, worst run", "dex", None, False),
    ("temperature_scatter", "scatter of log T, mean of runs", "%", 0.2, False),
    ("temperature_scatter_each", "scatter of log T, worst run", "%", None, False),
    ("pressure_power", "P of pressure to k = {k}, mean of runs", "%", 0.15, False),
    ("pressure_power_each", "P of pressure to k = {k}, worst run", "%", None, False),
    ("pressure_coherence", "r of pressure to k = {k}, smallest of any run", "r", None, True),
)
# Two-sample tests of draws against the truth: p-values, at least this.
ASKED_P = 0.05
_TESTS = {
    "pdf": "PDF of {name}: p of truth and samples alike",
    "power": "P(k) of {name}: p of truth and samples alike",
}
# Draws against the mean head: key of `error["agreement"]` -> in words.
_AGREEMENT = {
    "gas_shift": "mean of draws over the mean head, ln of gas",
    "gas_spread": "scatter of draws, ln of gas",
    "temperature_shift": "mean of draws over the mean head, ln T",
    "temperature_spread": "scatter of draws, ln T",
}


def headers(error: Mapping) -> tuple[str, ...]:
    """The columns of `lines`: what, "asked" and the models that were measured."""
    return "", "asked", *(MODELS[model] for model in _models(error))


def lines(error: Mapping, spacing: float) -> list[Line]:
    """The lines of `contract.error["baryons"]`. spacing: of the grid, Mpc/h; k scales with it."""
    models, found = _models(error), []
    k = f"{2.0 * 0.78125 / spacing:.3g}"
    for key, words, form, asked, larger in _ROWS:
        values = tuple(_text(form, error[model][key]) for model in models)
        good = None
        if asked is not None:
            value = error["emulator"][key]
            good = value >= asked if larger else value <= asked
        found.append(Line(words.format(k=k), "" if asked is None else _text(form, asked), values, good))
    for kind, words in _TESTS.items():
        for name, p in error.get("tests", {}).get(kind, {}).items():
            values = ["" for _ in models]
            values[models.index("samples")] = f"{p:.2g}"
            found.append(Line(words.format(name=name), f"p > {ASKED_P:g}", tuple(values), p > ASKED_P))
    for key, words in _AGREEMENT.items():
        if key in error.get("agreement", {}):
            values = ["" for _ in models]
            values[models.index("samples")] = _text("ln", error["agreement"][key])
            found.append(Line(words, "", tuple(values), None))
    return found


def rows(error: Mapping, spacing: float) -> list[tuple[str, ...]]:
    """`lines` as rows of a table."""
    return [(line.words, line.asked, *line.values) for line in lines(error, spacing)]


def _models(error: Mapping) -> list[str]:
    return [model for model in MODELS if model in error]


def _text(form: str, value: float) -> str:
    if form == "r":
        return f"{value:.4g}"
    if form == "%":
        return per_cent(value)
    return f"{value:.2g} dex" if form == "dex" else f"{value:+.2g}"
