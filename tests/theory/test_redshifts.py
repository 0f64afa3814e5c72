"""n(z) keeps its norm, moves the way its shift says, and does so as the published recipe does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d

from galaxyjax.core.errors import DataError
from galaxyjax.theory.redshifts import Redshifts

Z = 0.025 + 0.05 * np.arange(119)
COUNTS = np.stack([np.exp(-0.5 * ((Z - c) / s) ** 2) for c, s in ((0.4, 0.08), (0.8, 0.12), (1.2, 0.2))])
SOURCES = Redshifts.from_histogram(Z, COUNTS)
shifted = jax.jit(SOURCES.shifted)  # compiled once: hypothesis calls it often


@jax.jit
def shifted_taps(taps, shift):
    return Redshifts(SOURCES.nodes, taps, SOURCES.width).shifted(shift)


def published(z, counts, shift):
    """n(0) = 0 before the samples, a cubic spline through them read at z - shift, trapezoid norm."""
    nodes, n = np.concatenate([[0.0], z]), np.concatenate([[0.0], counts])
    moved = interp1d(nodes, n, kind="cubic", bounds_error=False, fill_value=0.0)(nodes - shift)
    moved[0] = 0.0
    return moved / np.trapezoid(moved, nodes)


def test_without_a_shift_the_histogram_comes_back(float64):
    n = np.asarray(SOURCES.shifted(jnp.zeros(3)))
    expected = np.pad(COUNTS, ((0, 0), (1, 0)))
    expected /= np.trapezoid(expected, SOURCES.nodes)[:, None]
    np.testing.assert_allclose(n, expected, atol=1e-12 * expected.max())


def test_a_positive_shift_moves_galaxies_to_higher_redshift(float64):
    shift = jnp.array([0.01, -0.013, 0.04])
    moved = np.asarray(SOURCES.mean(shift) - SOURCES.mean(jnp.zeros(3)))
    np.testing.assert_allclose(moved, shift, atol=2e-6)


@given(st.integers(0, 2**31), st.floats(-0.05, 0.05))
def test_shifted_samples_are_those_of_the_published_recipe(seed, shift):
    """On ragged histograms too; they start and end empty, for the two recipes differ in how a spline ends."""
    counts = np.random.default_rng(seed).exponential(size=119) * np.exp(-(((Z - 1.0) / 0.5) ** 2))
    counts[:8] = 0.0
    sources = Redshifts.from_histogram(Z, counts[None])
    with jax.enable_x64(True):
        n = np.asarray(shifted_taps(sources.taps, jnp.array([shift])))[0]
    expected = published(Z, counts, shift)
    np.testing.assert_allclose(n, expected, atol=3e-5 * expected.max())


@given(st.lists(st.floats(-0.14, 0.14), min_size=3, max_size=3))
def test_the_norm_is_one_for_every_shift(shift):
    n = shifted(jnp.array(shift, jnp.float32))
    np.testing.assert_allclose(np.trapezoid(np.asarray(n), SOURCES.nodes), 1.0, atol=2e-6)


def test_slopes_in_the_shift_are_those_of_finite_differences(float64):
    """Also at zero and at one bin width, where the pieces of the spline meet."""
    slopes = jax.jit(jax.jacfwd(SOURCES.shifted))
    for at in (0.0, 0.017, 0.05, -0.1):
        for point in (at - 1e-9, at + 1e-9):
            slope = np.einsum("ini->in", np.asarray(slopes(np.full(3, point))))
            up, down = (np.asarray(shifted(np.full(3, point + e))) for e in (1e-5, -1e-5))
            np.testing.assert_allclose(slope, (up - down) / 2e-5, atol=1e-6 * np.abs(slope).max())


def test_out_of_reach_is_nan_not_a_silent_cut():
    n = SOURCES.shifted(jnp.array([0.0, 0.151, -0.2]))
    assert np.isfinite(n[0]).all() and np.isnan(n[1:]).all()


def test_histograms_that_cannot_be_used_are_refused():
    with pytest.raises(DataError, match="equally spaced"):
        Redshifts.from_histogram(Z**2, COUNTS)
    with pytest.raises(DataError, match="positive sum"):
        Redshifts.from_histogram(Z, COUNTS * np.array([[1.0], [0.0], [1.0]]))
