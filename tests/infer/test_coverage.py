"""Ranks and TARP: uniform for the exact posterior of a conjugate model, loud about wrong ones."""

import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.infer.coverage import band, ranks, tarp

M, DRAWS = 400, 200


def conjugate(scale=1.0, shift=0.0, seed=0):
    """theta ~ N(0, 1)^2, x = theta + N(0, 0.5^2): draws of N(0.8 x, 0.2), scaled or shifted, and theta."""
    random = np.random.default_rng(seed)
    theta = random.normal(size=(M, 2))
    x = theta + 0.5 * random.normal(size=(M, 2))
    draws = 0.8 * x[:, None] + shift + scale * np.sqrt(0.2) * random.normal(size=(M, DRAWS, 2))
    return draws, theta


def test_an_exact_posterior_passes():
    draws, theta = conjugate()
    assert min(found.p for found in ranks(draws, theta)) > 0.01
    found = tarp(draws, theta)
    levels = np.linspace(0.05, 0.95, 19)
    assert found.p > 0.01
    assert np.all(np.abs(found.expected(levels) - levels) < band(M, levels, 0.99))


@pytest.mark.parametrize("wrong", [{"scale": 0.6}, {"scale": 1.7}, {"shift": 0.3}])
def test_a_wrong_posterior_fails(wrong):
    draws, theta = conjugate(**wrong)
    assert max(found.p for found in ranks(draws, theta)) < 1e-3
    if "scale" in wrong:
        assert tarp(draws, theta).p < 1e-2


def test_the_prior_for_a_posterior_has_uniform_ranks_and_right_tarp():
    # Known limits: neither sees that data were ignored (TARP would with points that depend on them).
    random = np.random.default_rng(3)
    theta = random.normal(size=(M, 2))
    draws = random.normal(size=(M, DRAWS, 2))
    assert min(found.p for found in ranks(draws, theta)) > 0.01 and tarp(draws, theta).p > 0.01


def test_the_band_holds_right_curves_as_often_as_it_says():
    levels = np.linspace(0.05, 0.95, 19)
    half = band(100, levels, 0.9)
    uniform = np.sort(np.random.default_rng(5).uniform(size=(1000, 100)), axis=1)
    curves = np.stack([np.searchsorted(row, levels, side="right") for row in uniform]) / 100
    inside = np.mean(np.all(np.abs(curves - levels) <= half, axis=1))
    assert abs(inside - 0.9) < 0.03


def test_shapes_are_checked():
    with pytest.raises(DataError, match="not \\(m, draws, d\\)"):
        tarp(np.zeros((4, 3)), np.zeros((4, 3)))
