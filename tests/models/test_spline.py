"""The knot line: exact on cubics, fourth order, smooth, the same for shared and separate wavenumbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

from galaxyjax.models.spline import KnotLine

LINE = KnotLine(1e-4, 10.0, 96)


@pytest.mark.usefixtures("float64")
def test_knots_are_even_in_position_and_densest_at_the_wiggles():
    np.testing.assert_allclose(LINE.position(LINE.wavenumbers), np.arange(96), atol=1e-5)
    spacing = np.diff(np.log(LINE.wavenumbers))
    assert np.exp(LINE.centre) == pytest.approx(LINE.wavenumbers[spacing.argmin()], rel=0.05)
    assert spacing.max() / spacing.min() == pytest.approx(3.0, rel=0.02)
    assert LINE.log_spacing.sum() == pytest.approx(np.log(10.0 / 1e-4), rel=0.02)


@pytest.mark.usefixtures("float64")
def test_not_a_knot_splines_as_in_scipy():
    values = np.random.default_rng(0).normal(size=(3, 96))
    k = np.geomspace(1e-4, 10.0, 777)
    oracle = make_interp_spline(np.arange(96), values, axis=1)(np.clip(LINE.position(k), 0, 95))
    found = LINE.evaluate(jnp.asarray(LINE.coefficients(values)), jnp.asarray(k))
    np.testing.assert_allclose(found, oracle, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_each_row_may_have_its_own_wavenumbers():
    coefficients = jnp.asarray(LINE.coefficients(np.random.default_rng(1).normal(size=(2, 5, 96))))
    k = jnp.asarray(np.random.default_rng(2).uniform(1e-3, 9.0, size=(2, 5, 11)))
    each = LINE.evaluate_each(coefficients, k)
    for i in range(2):
        for j in range(5):
            np.testing.assert_allclose(each[i, j], LINE.evaluate(coefficients[i, j], k[i, j]), rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_two_continuous_derivatives_across_knots():
    coefficients = jnp.asarray(LINE.coefficients(np.random.default_rng(3).normal(size=96)))

    def f(k):
        return LINE.evaluate(coefficients, k[None])[0]

    derivatives = (jax.grad(f), jax.grad(jax.grad(f)))
    for knot in LINE.wavenumbers[[10, 40, 70]]:
        for derivative in derivatives:
            below, above = (
                derivative(jnp.asarray(knot * (1 - 1e-9))),
                derivative(jnp.asarray(knot * (1 + 1e-9))),
            )
            assert abs(below - above) < 1e-5 * max(abs(above), 1.0)
