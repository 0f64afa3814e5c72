"""A closed-form growth factor: the baseline that a network corrects, not the physics of `core.background`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

NEUTRINO_EV = 94.07  # m_nu / omega_nu for three neutrinos at T = (4/11)^(1/3) T_cmb
N_EFF = 3.044
# Gauss-Legendre nodes on (0, 1): the integrand is smooth, and whatever 10 nodes miss the network learns.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


def omega_matter(x) -> jax.Array:
    """Physical density of baryons, cold dark matter and massive neutrinos, (...)."""
    omega_nu = x["m_nu"] / NEUTRINO_EV * (N_EFF / 3.0) ** 0.75
    return x["omega_b"] + x["omega_cdm"] + omega_nu


def matter_fraction(Omega_m, w0, wa, a) -> jax.Array:
    """Omega_m(a) of flat CPL dark energy without radiation."""
    # Dark energy over matter, (1 - Omega_m) / Omega_m a^(-3 (w0 + wa)) exp(-3 wa (1 - a)).
    ratio = (1.0 - Omega_m) / Omega_m * jnp.exp(-3.0 * (w0 + wa) * jnp.log(a) - 3.0 * wa * (1.0 - a))
    return 1.0 / (1.0 + ratio)


def log_growth(Omega_m, w0, wa, z) -> tuple[jax.Array, jax.Array]:
    """ln D with D -> a early on, and Omega_m(z); inputs broadcast together.

    ln D = ln a + int_0^a [Omega_m(a')^gamma - 1] dln a' with gamma = 0.55 + 0.05 [1 + w(z = 1)]
    (Linder 2005, eqs 1 and 14).
    """
    a = 1.0 / (1.0 + z)
    nodes = jnp.asarray(_NODES, jnp.result_type(Omega_m, z))
    weights = jnp.asarray(_WEIGHTS, nodes.dtype)
    gamma = 0.55 + 0.05 * (1.0 + w0 + 0.5 * wa)
    inner = matter_fraction(*(v[..., None] for v in (Omega_m, w0, wa)), a[..., None] * nodes)
    integrand = (jnp.exp(gamma[..., None] * jnp.log(inner)) - 1.0) / nodes
    return jnp.log(a) + integrand @ weights, matter_fraction(Omega_m, w0, wa, a)
