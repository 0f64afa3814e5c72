"""Eisenstein & Hu's transfer function with acoustic wiggles, and the linear spectrum of a given sigma_8.

No Boltzmann code, differentiable, any cosmology without massive neutrinos: the linear theory of fields, where
what counts is the map from a linear field to what gravity makes of it. Against CAMB it misses a few per cent
of P(k); `matter_power` has the real thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.cosmology import Cosmology

_NODES = np.linspace(math.log(1e-4), math.log(30.0), 601)  # ln k of the integral for sigma_8


@jax.jit
def eisenstein_hu(cosmology: Cosmology, k: Array) -> Array:
    """Return the transfer function of matter, 1 as k -> 0; k in h/Mpc, shape of k.

    Eisenstein & Hu (1998, ApJ 496, 605), eqs 2 to 24, with all matter as Omega_0.
    """
    matter, baryons = cosmology.omega_m, cosmology.omega_b
    share = baryons / matter
    theta = units.T_CMB / 2.7
    k = k * cosmology.h  # 1/Mpc
    # Eqs 2 to 7: equality, the drag epoch, the sound horizon, Silk damping.
    z_eq, k_eq = 2.5e4 * matter * theta**-4, 7.46e-2 * matter * theta**-2
    b1 = 0.313 * matter**-0.419 * (1.0 + 0.607 * matter**0.674)
    b2 = 0.238 * matter**0.223
    z_d = 1291.0 * matter**0.251 / (1.0 + 0.659 * matter**0.828) * (1.0 + b1 * baryons**b2)
    ratio = lambda z: 31.5 * baryons * theta**-4 * (1e3 / z)  # noqa: E731
    r_d, r_eq = ratio(z_d), ratio(z_eq)
    sound = (
        2.0 / (3.0 * k_eq) * jnp.sqrt(6.0 / r_eq)
        * jnp.log((jnp.sqrt(1.0 + r_d) + jnp.sqrt(r_d + r_eq)) / (1.0 + jnp.sqrt(r_eq)))
    )  # fmt: skip
    silk = 1.6 * baryons**0.52 * matter**0.73 * (1.0 + (10.4 * matter) ** -0.95)
    # Eqs 9 to 12 and 17 to 20: cold dark matter.
    a1 = (46.9 * matter) ** 0.670 * (1.0 + (32.1 * matter) ** -0.532)
    a2 = (12.0 * matter) ** 0.424 * (1.0 + (45.0 * matter) ** -0.582)
    alpha_c = a1**-share * a2 ** -(share**3)
    c1 = 0.944 / (1.0 + (458.0 * matter) ** -0.708)
    c2 = (0.395 * matter) ** -0.0266
    beta_c = 1.0 / (1.0 + c1 * ((1.0 - share) ** c2 - 1.0))
    q = k / (13.41 * k_eq)
    f = 1.0 / (1.0 + (k * sound / 5.4) ** 4)
    cold = f * _pressureless(q, 1.0, beta_c) + (1.0 - f) * _pressureless(q, alpha_c, beta_c)
    # Eqs 14, 15 and 21 to 24: baryons.
    y = (1.0 + z_eq) / (1.0 + z_d)
    root = jnp.sqrt(1.0 + y)
    g = y * (-6.0 * root + (2.0 + 3.0 * y) * jnp.log((root + 1.0) / (root - 1.0)))
    alpha_b = 2.07 * k_eq * sound * (1.0 + r_d) ** -0.75 * g
    beta_node = 8.41 * matter**0.435
    beta_b = 0.5 + share + (3.0 - 2.0 * share) * jnp.sqrt((17.2 * matter) ** 2 + 1.0)
    ks = k * sound
    shifted = ks / (1.0 + (beta_node / ks) ** 3) ** (1.0 / 3.0)
    # Above exp(-80) nothing is left, and float32 keeps a gradient.
    damping = jnp.exp(-jnp.minimum((k / silk) ** 1.4, 80.0))
    early = _pressureless(q, 1.0, 1.0) / (1.0 + (ks / 5.2) ** 2)
    waves = (early + alpha_b / (1.0 + (beta_b / ks) ** 3) * damping) * jnp.sinc(shifted / math.pi)
    return share * waves + (1.0 - share) * cold


def _pressureless(q: Array, alpha: Array | float, beta: Array | float) -> Array:
    """Eqs 19 and 20."""
    c = 14.2 / alpha + 386.0 / (1.0 + 69.9 * q**1.08)
    ell = jnp.log(math.e + 1.8 * beta * q)
    return ell / (ell + c * q**2)


def linear_power(cosmology: Cosmology, sigma8: Array | float) -> Callable[[Array], Array]:
    """Return k in h/Mpc -> linear P(k) of matter today in (Mpc/h)^3, any shape, with the given sigma_8.

    A_s of the cosmology does not count. Differentiable in the cosmology, sigma8 and k.
    """
    nodes = jnp.asarray(np.exp(_NODES), jnp.result_type(float, *jax.tree.leaves(cosmology), sigma8))
    # P = (scale k)^n_s T^2: within the range of float32 whatever the cosmology is.
    shape = lambda k: k**cosmology.n_s * eisenstein_hu(cosmology, k) ** 2  # noqa: E731
    x = 8.0 * nodes
    tophat = jnp.where(x < 0.05, 1.0 - x**2 / 10.0, 3.0 * (jnp.sin(x) - x * jnp.cos(x)) / x**3)
    weights = nodes**3 * tophat**2 / (2.0 * math.pi**2)
    step = (_NODES[1] - _NODES[0]) * np.where((np.arange(601) == 0) | (np.arange(601) == 600), 0.5, 1.0)
    variance = jnp.sum(weights * shape(nodes) * jnp.asarray(step, nodes.dtype))
    return lambda k: sigma8**2 / variance * shape(k)
