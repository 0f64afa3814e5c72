"""Particles that stay with their Lagrangian owner and meet a sharded grid through a halo of H cells.

A particle's row and home cell are its lattice site, so it never changes device. The grid may be `refine`
times finer than the lattice. A particle's mass may land, and its force may be read, up to H cells outside the
block along the axes of the mesh that have several devices; along the others the block is the whole box and
wraps:

    scatter   paint on the block grown by H, then send the halo home and add it there (`reduce_halo`)
    gather    grow the block by H with the neighbours' cells (`pad`), then read

Each is the other's transpose, so the gradients are exact and send as much. A particle that strays
further than H is counted: outside `jit` that is an error, inside it the result is NaN.

A kernel is any periodic assignment on one grid, positions in cells:
    deposit(positions (n, 3), shape (nx, ny, nz)) -> grid (nx, ny, nz), periodic
    interpolate(grid (nx, ny, nz, ...), positions (n, 3)) -> values (n, ...)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.topology import GRID, LATTICE, SPATIAL, check_field

REACH = 1  # cells beyond a particle that a cloud-in-cell kernel touches; TSC needs 1 too, PCS 2


def scatter(
    deposit: Callable,
    displacement: jax.Array,
    mesh: Mesh,
    width: int,
    cell: float = 1.0,
    reach: int = REACH,
    refine: int = 1,
) -> jax.Array:
    """Return the grid that displaced lattice particles paint.

    Args:
        deposit: kernel, see above.
        displacement: (nx, ny, nz, 3), Mpc/h, sharded as the lattice (`LATTICE`).
        mesh: with axes "x" and "y".
        width: H, cells of halo; at least the largest displacement along x and y plus `reach`.
        cell: side of a cell of the grid, Mpc/h.
        reach: cells beyond a particle that the kernel touches.
        refine: cells of the grid between two neighbours of the lattice.

    Returns:
        (refine nx, refine ny, refine nz), in the kernel's units, sharded as a grid (`GRID`).

    Raises:
        DataError: particles strayed beyond the halo (outside `jit`; inside, the grid is NaN).
        ConfigError: the halo is wider than a block, or the lattice does not divide.
    """
    check_field(mesh, displacement.shape[:3])
    run = _mapped(scatter_block, deposit, mesh, (LATTICE,), GRID, width, cell, reach, refine)
    return _checked(*run(displacement), width)


def gather(
    interpolate: Callable,
    grid: jax.Array,
    displacement: jax.Array,
    mesh: Mesh,
    width: int,
    cell: float = 1.0,
    reach: int = REACH,
    refine: int = 1,
) -> jax.Array:
    """Return the values (nx, ny, nz, ...) of a grid at displaced lattice particles.

    grid: (refine nx, refine ny, refine nz, ...), sharded by its first two axes. The rest, and
    what is raised, as in `scatter`.
    """
    check_field(mesh, displacement.shape[:3])
    field = P(*SPATIAL)
    run = _mapped(gather_block, interpolate, mesh, (field, LATTICE), field, width, cell, reach, refine)
    return _checked(*run(grid, displacement), width)


@lru_cache(maxsize=64)  # compiled once, also for callers outside `jit`
def _mapped(block: Callable, kernel: Callable, mesh: Mesh, specs: tuple, out: P, *settings) -> Callable:
    given = lambda *arrays: block(kernel, *arrays, *settings)  # noqa: E731
    return jax.jit(jax.shard_map(given, mesh=mesh, in_specs=specs, out_specs=(out, P(), P())))


def scatter_block(
    deposit: Callable,
    displacement: jax.Array,
    width: int,
    cell: float = 1.0,
    reach: int = REACH,
    refine: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (grid, strays, halo needed) of this device's particles, inside a `shard_map` over "x" and "y".

    displacement: (nx / X, ny / Y, nz, 3). The grid, `refine` times as fine, is NaN when there are strays;
    `strays` (particles, all devices) and `halo needed` (cells, all devices) are int32 scalars.
    """
    nx, ny, nz = (refine * n for n in displacement.shape[:3])
    positions, strays, needed = _positions(displacement / cell, width, reach, refine)
    wide = _widths(width)
    grown = deposit(positions, (nx + 2 * wide[0], ny + 2 * wide[1], nz))
    return _poison(reduce_halo(grown, wide), strays), strays, needed


def gather_block(
    interpolate: Callable,
    grid: jax.Array,
    displacement: jax.Array,
    width: int,
    cell: float = 1.0,
    reach: int = REACH,
    refine: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (values, strays, halo needed) at this device's particles, inside a `shard_map`."""
    positions, strays, needed = _positions(displacement / cell, width, reach, refine)
    values = interpolate(pad(grid, _widths(width)), positions)
    return _poison(values.reshape(displacement.shape[:3] + grid.shape[3:]), strays), strays, needed


def pad(block: jax.Array, width: int | tuple[int, int]) -> jax.Array:
    """Return the block (nx, ny, ...) grown by the neighbours' nearest `width` cells along x and y.

    width: one number, or one for x and one for y. Inside a `shard_map`; periodic; corners
    come through the neighbour along y; z stays as it is, unlike in `halo.exchange`. Raises ConfigError when
    the halo is wider than the block.
    """
    for axis, (name, wide) in enumerate(zip(SPATIAL, _both(width), strict=True)):
        n = _thick_enough(block.shape[axis], wide, name)
        if not wide:
            continue
        below = _shift(jax.lax.slice_in_dim(block, n - wide, n, axis=axis), name, 1)
        above = _shift(jax.lax.slice_in_dim(block, 0, wide, axis=axis), name, -1)
        block = jnp.concatenate([below, block, above], axis=axis)
    return block


def reduce_halo(grown: jax.Array, width: int | tuple[int, int]) -> jax.Array:
    """Return the block (nx, ny, ...) with what lies in its halo, and in its neighbours', added at home.

    The transpose of `pad`: <pad(x), y> = <x, reduce_halo(y)>. grown: (nx + 2 width, ny + 2 width, ...).
    """
    for axis, (name, wide) in reversed(list(enumerate(zip(SPATIAL, _both(width), strict=True)))):
        n = _thick_enough(grown.shape[axis] - 2 * wide, wide, name)
        if not wide:
            continue
        low = _shift(jax.lax.slice_in_dim(grown, 0, wide, axis=axis), name, -1)
        high = _shift(jax.lax.slice_in_dim(grown, n + wide, n + 2 * wide, axis=axis), name, 1)
        block = jax.lax.slice_in_dim(grown, wide, n + wide, axis=axis)
        start, end = (
            (slice(None),) * axis + (slice(0, wide),),
            (slice(None),) * axis + (slice(n - wide, n),),
        )
        grown = block.at[start].add(high).at[end].add(low)
    return grown


def _both(width: int | tuple[int, int]) -> tuple[int, int]:
    return (width, width) if isinstance(width, int) else width


def _widths(width: int) -> tuple[int, int]:
    """The halo along x and y: none where one device holds the whole axis."""
    x, y = (width if jax.lax.axis_size(name) > 1 else 0 for name in SPATIAL)
    return x, y


def _shift(slab: jax.Array, name: str, step: int) -> jax.Array:
    """Send a slab to the next (step 1) or previous (-1) device of a periodic mesh axis."""
    size = jax.lax.axis_size(name)
    if size == 1:
        return slab
    return jax.lax.ppermute(slab, name, [(i, (i + step) % size) for i in range(size)])


def _thick_enough(n: int, width: int, name: str) -> int:
    if not 0 <= width <= n:
        raise ConfigError(
            f"particle halo: width={width} must lie in 0..{n}, the cells of a block along {name} with "
            f"{name}={jax.lax.axis_size(name)} devices; use fewer devices along {name} or a smaller halo"
        )
    return n


def _positions(displacement: jax.Array, width: int, reach: int, refine: int):
    """Positions (n, 3) in cells of the grown block, and how many particles strayed out of it."""
    wide = (*_widths(width), 0)
    positions, furthest = [], jnp.zeros((), displacement.dtype)
    for axis, (n, extra) in enumerate(zip(displacement.shape[:3], wide, strict=True)):
        home = refine * jnp.arange(n, dtype=displacement.dtype).reshape((-1,) + (1,) * (2 - axis))
        moved = home + extra + displacement[..., axis]
        positions.append(moved if extra else jnp.mod(moved, refine * n))
        if extra:
            furthest = jnp.maximum(furthest, jax.lax.stop_gradient(jnp.abs(displacement[..., axis])))
    positions = jnp.stack(positions, axis=-1).reshape(-1, 3)
    # Nobody can leave a block that is the whole box, but NaN is no place there either.
    lost = ~jnp.isfinite(jax.lax.stop_gradient(displacement)).all(axis=-1)
    if not any(wide):
        return positions, jax.lax.psum(jnp.sum(lost, dtype=jnp.int32), SPATIAL), jnp.zeros((), jnp.int32)
    strays = jnp.sum(lost | ~(furthest <= width - reach), dtype=jnp.int32)
    needed = jnp.ceil(jnp.max(jnp.nan_to_num(furthest))).astype(jnp.int32) + reach
    return positions, jax.lax.psum(strays, SPATIAL), jax.lax.pmax(needed, SPATIAL)


def _poison(values: jax.Array, strays: jax.Array) -> jax.Array:
    return jnp.where(strays > 0, jnp.nan, values)


def _checked(values: jax.Array, strays: jax.Array, needed: jax.Array, width: int) -> jax.Array:
    """The values, after an error where one can be raised; a traced count leaves its NaN instead."""
    if not isinstance(strays, jax.core.Tracer) and int(strays):
        raise DataError(
            f"particles: {int(strays)} strayed beyond the halo of {width} cells; width={int(needed)} holds "
            f"the furthest, or use larger cells"
        )
    return values
