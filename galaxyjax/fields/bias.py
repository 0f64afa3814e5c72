"""Lagrangian bias: how many tracers form at each place of the initial field, and the linear field they make.

A tracer's initial overdensity is a local function of the linear field delta, evolved to its redshift
(Matsubara 2008, PRD 78, 083519; Modi, Chen & White 2020, MNRAS 492, 5754, eq. 2):

    w(q) = 1 + b1 delta + b2/2 (delta^2 - <delta^2>) + bs2 (s^2 - <s^2>) + bn2 lap delta

with the tidal field s_ij = (d_i d_j / lap - 1/3) delta and s^2 = sum_ij s_ij^2. Particles carry w to where
gravity moves them. To first order that is the Kaiser formula, D (1 + b1 - bn2 k^2 + f mu^2) delta.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from galaxyjax.core.errors import unknown_name
from galaxyjax.fields.spectra import cloud_window
from galaxyjax.mesh import fft

BIASES = ("b1", "b2", "bs2", "bn2")


def lagrangian_weight(modes: fft.Spectrum, biases: Mapping[str, Array | float], mesh: Mesh) -> Array:
    """Return w (n, n, n), mean 1, sharded as a grid.

    modes: of the linear density contrast at the tracers' redshift. biases: any of b1, b2, bs2 (numbers) and
    bn2 (Mpc^2/h^2); what is not named is 0 and costs nothing. Differentiable. Raises UnknownName.
    """
    for name in biases:
        if name not in BIASES:
            raise unknown_name("bias", name, BIASES)
    weight = jnp.ones(modes.shape, modes.kx.dtype)
    if "b1" in biases or "bn2" in biases:
        factor = biases.get("b1", 0.0) - biases.get("bn2", 0.0) * modes.k_squared
        weight = weight + fft.inverse(modes.replace(factor * modes.values), mesh)
    if "b2" in biases or "bs2" in biases:
        squared = fft.inverse(modes, mesh) ** 2
        quadratic = 0.5 * biases.get("b2", 0.0) * squared
        if "bs2" in biases:
            quadratic = quadratic + biases["bs2"] * (_hessian_squared(modes, mesh) - squared / 3.0)
        weight = weight + quadratic - jnp.mean(quadratic)
    return weight


def _hessian_squared(modes: fft.Spectrum, mesh: Mesh) -> Array:
    """sum_ij (d_i d_j lap^-1 delta)^2, (n, n, n)."""
    k_squared = modes.k_squared
    potential = jnp.where(k_squared == 0.0, 0.0, -modes.values / jnp.where(k_squared == 0.0, 1.0, k_squared))
    k = (modes.kx, modes.ky, modes.kz)
    total = jnp.zeros(modes.shape, modes.kx.dtype)
    for i in range(3):
        for j in range(i, 3):
            part = fft.inverse(modes.replace(-k[i] * k[j] * potential), mesh)
            total = total + (1.0 if i == j else 2.0) * part**2
    return total


def linear_response(
    modes: fft.Spectrum,
    growth: Array,
    rate: Array | None,
    biases: Mapping[str, Array | float],
    box_size: float,
    scheme: str | None = "cic",
) -> Array:
    """Return G, by which linear theory makes a tracer's modes of matter's today, shape of modes.values.

    G = D (1 + b1 - bn2 k^2 + f mu^2) times the window of the cloud that paints particles (Kaiser 1987,
    MNRAS 227, 1, eq. 3.8). growth: D. rate: f, with z the line of sight; None for real space.
    """
    k_squared = modes.k_squared
    factor = 1.0 + biases.get("b1", 0.0) - biases.get("bn2", 0.0) * k_squared
    if rate is not None:
        safe = jnp.where(k_squared == 0.0, 1.0, k_squared)
        factor = factor + rate * jnp.where(k_squared == 0.0, 0.0, modes.kz**2 / safe)
    factor = growth * jnp.broadcast_to(factor, k_squared.shape)
    return factor if scheme is None else factor * cloud_window(modes, box_size, scheme)
