"""The primordial spectrum and Eisenstein & Hu's transfer function without wiggles: baselines of P(k)."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.background import growth_early
from galaxyjax.core.cosmology import Cosmology


def primordial_power(cosmology: Cosmology, k: Array) -> Array:
    """Return the dimensionless curvature spectrum A_s (k / k_pivot)^(n_s - 1); k in h/Mpc, shape of k."""
    return jnp.exp(log_primordial_power(cosmology, k))


@jax.jit
def log_primordial_power(cosmology: Cosmology, k: Array) -> Array:
    """Return the natural logarithm of `primordial_power`, exact in float32; k in h/Mpc, shape of k."""
    tilt = (cosmology.n_s - 1.0) * jnp.log(k * (cosmology.h / units.K_PIVOT))
    return cosmology.ln10A_s - 10.0 * math.log(10.0) + tilt


@jax.jit
def eisenstein_hu_no_wiggle(cosmology: Cosmology, k: Array) -> Array:
    """Return the matter transfer function without acoustic wiggles, 1 as k -> 0; k in h/Mpc, shape of k.

    Eisenstein & Hu (1998), eqs 26 and 28 to 31, with all matter (neutrinos included) as Omega_0.
    """
    omega_m = cosmology.omega_m
    share = cosmology.omega_b / omega_m
    theta2 = (units.T_CMB / 2.7) ** 2
    # Eq. 26: the sound horizon in Mpc, here in Mpc/h.
    horizon = 44.5 * jnp.log(9.83 / omega_m) / jnp.sqrt(1.0 + 10.0 * cosmology.omega_b**0.75) * cosmology.h
    # Eqs 31 and 30: the shape parameter falls below the horizon, where baryons hold growth back.
    alpha = 1.0 - 0.328 * jnp.log(431.0 * omega_m) * share + 0.38 * jnp.log(22.3 * omega_m) * share**2
    shape = omega_m / cosmology.h * (alpha + (1.0 - alpha) / (1.0 + (0.43 * k * horizon) ** 4))
    # Eqs 28 and 29.
    q = k * theta2 / shape
    ell = jnp.log(2.0 * math.e + 1.8 * q)
    return ell / (ell + (14.2 + 731.0 / (1.0 + 62.5 * q)) * q**2)


@jax.jit
def no_wiggle_power(cosmology: Cosmology, k: Array, z: Array) -> Array:
    """Return the no-wiggle linear spectrum of all matter in (Mpc/h)^3.

    k in h/Mpc, z up to 999; returns shape of z + shape of k. A baseline, not a result: it has neither wiggles
    nor the neutrinos' suppression (against CAMB at k <= 10 h/Mpc: 7% at m_nu = 0, 11% at 0.06 eV, 30% at
    0.3 eV). Poisson's equation turns curvature into matter (Dodelson & Schmidt 2020, eq. 8.8):
    P = 8 pi^2 / 25 (c / H0)^4 k T(k)^2 D(z)^2 A(k) / Omega_m^2, D -> a early on.
    """
    k, z = jnp.asarray(k), jnp.asarray(z)
    growth = growth_early(cosmology, z).reshape(z.shape + (1,) * k.ndim)
    transfer = eisenstein_hu_no_wiggle(cosmology, k)
    # Logarithms, because (c k / H0)^4 A_s spans the range of float32.
    shape = log_primordial_power(cosmology, k) + jnp.log(k) + 2.0 * jnp.log(transfer / cosmology.Omega_m)
    constant = math.log(8.0 * math.pi**2 / 25.0) + 4.0 * math.log(units.HUBBLE_DISTANCE)
    return jnp.exp(shape + constant) * growth**2
