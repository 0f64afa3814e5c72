"""Second-order growth against an ODE solver in float64, the matter-only limit and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from galaxyjax.core import background
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.growth_second import second_growth

LCDM = Cosmology(0.0224, 0.12, 0.67, 0.965, 3.05)
Z = np.array([9.0, 3.0, 1.0, 0.0])


def solver(cosmology, z):
    """D2 and f2 from scipy's integrator, started on our growing mode deep in matter domination."""
    lna = np.linspace(-np.log(200.0), 0.0, 2000)
    at = jnp.exp(-lna) - 1.0
    rate = np.log(np.asarray(background.expansion(cosmology, at)))
    damping, matter = (
        2.0 + np.gradient(rate, lna),
        1.5 * np.asarray(background.matter_fraction(cosmology, at)),
    )
    first = np.asarray(background.growth_factor(cosmology, at))

    def slope(x, y):
        m = np.interp(x, lna, matter)
        return [y[1], -np.interp(x, lna, damping) * y[1] + m * (y[0] - np.interp(x, lna, first) ** 2)]

    start, f2 = (float(v) for v in second_growth(cosmology, at[0]))
    found = solve_ivp(
        slope, (lna[0], 0.0), [start, f2 * start], t_eval=-np.log1p(z), rtol=1e-9, atol=1e-14, max_step=0.01
    )
    return found.y[0], found.y[1] / found.y[0]


@pytest.mark.parametrize("w0, wa", [(-1.0, 0.0), (-0.8, -0.6)])
def test_it_solves_its_equation(float64, w0, wa):
    cosmology = Cosmology(0.0224, 0.12, 0.67, 0.965, 3.05, w0=w0, wa=wa)
    expected, rate = solver(cosmology, Z)
    d2, f2 = second_growth(cosmology, jnp.asarray(Z))
    np.testing.assert_allclose(d2, expected, rtol=2e-5)
    np.testing.assert_allclose(f2, rate, rtol=2e-4)


def test_it_is_three_sevenths_of_the_square_when_matter_rules(float64):
    """A universe of matter but for photons; Bouchet et al. 1995 give -3/7 Omega_m^(-1/143) otherwise."""
    h = 5.0
    omega_m = h**2 * (1.0 - 1e-6) - 5e-5
    almost = Cosmology(0.02, omega_m - 0.02, h, 0.965, 3.05, m_nu=0.0)
    d2, f2 = second_growth(almost, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(
        d2 / background.growth_factor(almost, jnp.array([0.0, 1.0])) ** 2, -3 / 7, rtol=1e-4
    )
    np.testing.assert_allclose(f2, 2.0, rtol=1e-4)
    ratio = second_growth(LCDM, jnp.array(0.0))[0] / (-3.0 / 7.0)
    assert float(ratio) == pytest.approx(float(background.matter_fraction(LCDM, 0.0)) ** (-1 / 143), rel=1e-3)


def test_gradient_and_float32(float64):
    def d2(omega_cdm, dtype=jnp.float64):
        leaves = jax.tree.map(lambda v: jnp.asarray(v, dtype), LCDM)
        given = {**leaves.to_mapping(), "omega_cdm": jnp.asarray(omega_cdm, dtype)}
        return second_growth(Cosmology(**given), jnp.asarray(0.5, dtype))[0]

    step = 1e-4
    numeric = (d2(0.12 + step) - d2(0.12 - step)) / (2 * step)
    assert float(jax.grad(d2)(0.12)) == pytest.approx(float(numeric), rel=1e-5)
    single = d2(0.12, jnp.float32)
    assert single.dtype == jnp.float32 and float(single) == pytest.approx(float(d2(0.12)), rel=3e-6)
    assert np.isnan(second_growth(LCDM, jnp.array(1200.0))[0])
