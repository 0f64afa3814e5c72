"""One-point distributions of grids: smoothed in spheres or cubes, shared out among bins, on any mesh."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID, SPATIAL

SHAPES = ("sphere", "cube")


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def smooth(grid: Array, size: float, box_size: float, mesh: Mesh, shape: str = "sphere") -> Array:
    """Return the means of a grid (n, n, n) over spheres of radius `size`, or cubes of that side, around
    cells.

    size, box_size: Mpc/h. The mean is kept. Differentiable. Raises ConfigError when the sphere or cube is not
    between nothing and the box, UnknownName on another shape.
    """
    if shape not in SHAPES:
        raise unknown_name("shape", shape, SHAPES)
    if not 0 < (2 * size if shape == "sphere" else size) <= box_size:
        raise ConfigError(
            f"smoothing: a {shape} of {size:g} Mpc/h does not fit in a box of {box_size:g} Mpc/h"
        )
    modes = fft.forward(grid, mesh, box_size)
    if shape == "sphere":
        window = _sphere(jnp.sqrt(modes.k_squared) * size)
    else:
        parts = [jnp.sinc(k * size / (2.0 * jnp.pi)) for k in (modes.kx, modes.ky, modes.kz)]
        window = parts[0] * parts[1] * parts[2]
    return fft.inverse(modes.replace(modes.values * window), mesh)


def _sphere(x: Array) -> Array:
    """3 (sin x - x cos x) / x^3: by its series below 0.5, where float32 would lose it."""
    near = x < 0.5
    safe = jnp.where(near, 1.0, x)
    series = 1.0 - x**2 / 10.0 + x**4 / 280.0
    return jnp.where(near, series, 3.0 * (jnp.sin(safe) - safe * jnp.cos(safe)) / safe**3)


def pdf(grid: Array, centres: np.ndarray, mesh: Mesh) -> Array:
    """Return the probability density (nb,) of a grid's values at equally spaced centres (nb,).

    A cell's value is shared out linearly between the two nearest centres: what falls between the first and
    the last keeps its sum and its mean exactly, its variance grows by less than a quarter of the spacing
    squared, and the density is differentiable in the grid. The rest is left out: the density's sum times the
    spacing says how much. Raises ConfigError when the centres are not at least two, equally spaced and
    rising.
    """
    centres = np.asarray(centres, float)
    step = np.diff(centres)
    if centres.ndim != 1 or len(centres) < 2 or not step[0] > 0 or not np.allclose(step, step[0], rtol=1e-4):
        raise ConfigError(f"pdf: centres {centres} must be at least two, rising by equal steps")
    return _pdf(grid, float(centres[0]), float(centres[-1]), len(centres), mesh)


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _pdf(grid: Array, low: float, high: float, bins: int, mesh: Mesh) -> Array:
    step = (high - low) / (bins - 1)

    def block(values):
        x = (values.ravel() - low) / step
        bin = jnp.clip(jnp.floor(jax.lax.stop_gradient(x)), 0, bins - 2).astype(jnp.int32)
        inside = (x >= 0) & (x <= bins - 1)
        above = jnp.where(inside, x - bin, 0.0)
        below = jnp.where(inside, 1.0 - (x - bin), 0.0)
        total = jax.ops.segment_sum(below, bin, bins) + jax.ops.segment_sum(above, bin + 1, bins)
        return jax.lax.psum(total, SPATIAL)

    total = jax.shard_map(block, mesh=mesh, in_specs=GRID, out_specs=P())(grid)
    return total / (grid.size * step)
