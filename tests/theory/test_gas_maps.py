"""Maps of gas against Astropy's constants: a uniform slab has a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
from astropy import constants, units

from galaxyjax.theory.gas_maps import HOT_K, HYDROGEN, compton_y, xray_brightness

SOLAR = 1e10 * constants.M_sun  # times 1 / h
BOX, H, Z = 40.0, 0.7, 0.5


def test_compton_y_of_uniform_gas():
    """sigma_T n_e k T L / (m_e c^2) of gas at one density and temperature, put together by Astropy."""
    density, heat = 2.5, 3e7
    x = HYDROGEN
    mu = 4.0 / (3.0 + 5.0 * x)
    physical = density * SOLAR / H / (units.Mpc / H) ** 3 * (1 + Z) ** 3
    electrons = physical / constants.m_p * 0.5 * (1 + x)
    way = BOX * units.Mpc / H / (1 + Z)
    thermal = constants.k_B * heat * units.K
    wanted = (constants.sigma_T * electrons * thermal * way / (constants.m_e * constants.c**2)).to_value("")
    speed = (thermal / (mu * constants.m_p)).to_value("km2/s2")
    found = compton_y(jnp.full((4, 4, 8), density * speed), BOX, H, Z)
    np.testing.assert_allclose(found, wanted, rtol=2e-5)


def test_free_free_of_uniform_hot_gas():
    density, heat, x = 2.5, 1e8, HYDROGEN
    physical = density * SOLAR / H / (units.Mpc / H) ** 3 * (1 + Z) ** 3 / constants.m_p
    electrons = (0.5 * (1 + x) * physical).to_value("cm-3")
    ions = (physical * (x + 4 * (1 - x) / 4)).to_value("cm-3")
    way = (BOX * units.Mpc / H / (1 + Z)).to_value("cm")
    wanted = 1.4e-27 * 1.2 * np.sqrt(heat) * electrons * ions * way / (4 * np.pi * (1 + Z) ** 4)
    found = xray_brightness(jnp.full((4, 4, 8), density), jnp.full((4, 4, 8), heat), BOX, H, Z)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_cool_gas_does_not_shine_and_slopes_exist():
    gas = jnp.ones((2, 2, 2))
    bright, dim = (float(xray_brightness(gas, t * gas, BOX, H, Z).mean()) for t in (10 * HOT_K, HOT_K / 10))
    assert dim < 1e-4 * bright
    slope = jax.grad(lambda t: xray_brightness(gas, t * gas, BOX, H, Z).sum())(1e7)
    np.testing.assert_allclose(slope * 2e7 / xray_brightness(gas, 1e7 * gas, BOX, H, Z).sum(), 1.0, rtol=1e-3)
