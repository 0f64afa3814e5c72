"""Gaussian random fields: white noise that no mesh changes, and linear density with any spectrum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID, check_field


def white_noise(key: Array, cells: int, mesh: Mesh, dtype=jnp.float32) -> Array:
    """Return independent standard normals (cells, cells, cells), born sharded as a grid.

    The same numbers on every mesh: JAX's counter-based generator is asked cell by cell. key: of
    `jax.random.key`. Raises ConfigError when the grid does not divide over the mesh.
    """
    check_field(mesh, cells)
    if not jax.config.jax_threefry_partitionable:
        raise ConfigError(
            "white noise: jax_threefry_partitionable is off, so numbers depend on the mesh; turn it on"
        )
    draw = partial(jax.random.normal, shape=(cells,) * 3, dtype=dtype)
    return jax.jit(draw, out_shardings=NamedSharding(mesh, GRID))(key)


def linear_modes(noise: Array, power: Callable[[Array], Array], box_size: float, mesh: Mesh) -> fft.Spectrum:
    """Return the modes of a Gaussian field of density contrast: white noise times the root of its spectrum.

    Args:
        noise: (n, n, n) white noise of unit variance.
        power: k in h/Mpc -> P(k) in (Mpc/h)^3, any shape; not asked for k = 0, where the contrast vanishes.
        box_size: side of the periodic box, Mpc/h.

    Returns:
        modes delta(k) = sum_x delta(x) exp(-i k x); <|delta(k)|^2> = P(k) n^6 / box_size^3. Differentiable in
        noise and in whatever `power` depends on.
    """
    modes = fft.forward(noise, mesh, box_size)
    k_squared = modes.k_squared
    at_rest = k_squared == 0.0
    k = jnp.sqrt(jnp.where(at_rest, 1.0, k_squared))
    scale = jnp.sqrt(power(k) * (noise.size / box_size**3))
    return modes.replace(modes.values * jnp.where(at_rest, 0.0, scale).astype(noise.dtype))


def linear_density(noise: Array, power: Callable[[Array], Array], box_size: float, mesh: Mesh) -> Array:
    """Return the density contrast (n, n, n) of `linear_modes`, sharded as the noise."""
    return fft.inverse(linear_modes(noise, power, box_size, mesh), mesh)
