"""Lagrangian perturbation theory: where particles go to first and second order, and how fast.

x(q, z) = q + D psi1(q) + D2 psi2(q) (Bouchet et al. 1995, A&A 296, 575), with delta linear at z = 0 and

    psi1 = -grad phi1, lap phi1 = delta
    psi2 = grad phi2, lap phi2 = sum_(i>j) phi1,ii phi1,jj - phi1,ij^2
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from galaxyjax.core.background import growth_factor, growth_rate, hubble
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.core.growth_second import second_growth
from galaxyjax.mesh import fft


@partial(jax.jit, static_argnums=1)
def first_order(modes: fft.Spectrum, mesh: Mesh) -> Array:
    """Return psi1 (n, n, n, 3) in Mpc/h, sharded as a lattice, from the modes of linear density today."""
    return _gradient(modes.replace(-_over_laplacian(modes)), mesh)


@partial(jax.jit, static_argnums=1)
def second_order(modes: fft.Spectrum, mesh: Mesh) -> Array:
    """Return psi2 (n, n, n, 3) in Mpc/h, from the modes of linear density today; to be scaled by D2 < 0."""
    potential = _over_laplacian(modes)
    k = (modes.kx, modes.ky, modes.kz)

    def second(i: int, j: int) -> Array:
        return fft.inverse(modes.replace(-k[i] * k[j] * potential), mesh)

    diagonal = [second(i, i) for i in range(3)]
    source = diagonal[0] * diagonal[1] + diagonal[1] * diagonal[2] + diagonal[2] * diagonal[0]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        source = source - second(i, j) ** 2
    found = fft.forward(source, mesh)
    found = modes.replace(found.values)  # the same modes, with the box's wavenumbers
    return _gradient(found.replace(_over_laplacian(found)), mesh)


def displace(
    modes: fft.Spectrum, cosmology: Cosmology, z: Array | float, mesh: Mesh, order: int = 2
) -> tuple[Array, Array]:
    """Return displacement in Mpc/h and peculiar velocity in km/s, both (n, n, n, 3), at redshift z.

    modes: of the linear density contrast at z = 0. order: 1 (Zel'dovich 1970) or 2. Differentiable in all but
    the order. Raises ConfigError on another order.
    """
    if order not in (1, 2):
        raise ConfigError(f"LPT: order = {order}; 1 and 2 are known")
    return _displace(modes, cosmology, jnp.asarray(z, modes.kx.dtype), mesh, order)


@partial(jax.jit, static_argnums=(3, 4))
def _displace(modes: fft.Spectrum, cosmology: Cosmology, z: Array, mesh: Mesh, order: int):
    # In the precision of the field: numbers of a cosmology come as Python floats.
    cosmology = jax.tree.map(lambda leaf: jnp.asarray(leaf, z.dtype), cosmology)
    rate = hubble(cosmology, z) / (1.0 + z)  # km/s per Mpc/h of comoving displacement a unit of ln a
    growth, f = growth_factor(cosmology, z), growth_rate(cosmology, z)
    displacement = growth * first_order(modes, mesh)
    velocity = rate * f * displacement
    if order == 2:
        d2, f2 = second_growth(cosmology, z)
        step = d2 * second_order(modes, mesh)
        displacement, velocity = displacement + step, velocity + rate * f2 * step
    return displacement, velocity


def _over_laplacian(modes: fft.Spectrum) -> Array:
    """Values over -k^2, 0 for the mean."""
    k_squared = modes.k_squared
    return jnp.where(k_squared == 0.0, 0.0, -modes.values / jnp.where(k_squared == 0.0, 1.0, k_squared))


def _gradient(modes: fft.Spectrum, mesh: Mesh) -> Array:
    """The gradient (n, n, n, 3) of a potential's modes; an odd derivative has no Nyquist mode."""
    parts = []
    for k, n in zip((modes.kx, modes.ky, modes.kz), modes.shape, strict=True):
        unit = k.reshape(-1)[1]  # 2 pi over the side
        odd = jnp.where(jnp.abs(k) > (0.5 * n - 0.25) * unit, 0.0, k) if n % 2 == 0 else k
        parts.append(fft.inverse(modes.replace(1j * odd * modes.values), mesh))
    return jnp.stack(parts, axis=-1)
