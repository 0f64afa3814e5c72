"""Periodic halos: each block grows by its neighbours' outermost cells, along x, then y, then z.

The second axis sends what the first received, so that corners arrive without messages of their own. Nothing
is gathered, and the transpose is the reverse exchange: cotangents of halo cells travel back to their owners
and are added there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.topology import SPATIAL


def exchange(
    block: jax.Array, width: int = 1, axis_names: Sequence[str | None] = SPATIAL, *, first: int = 1
) -> jax.Array:
    """Return the block with `width` cells of its periodic neighbours on both sides of three axes.

    Call it inside `shard_map`, where it permutes among the devices of a mesh axis; a mesh axis of one device
    and an axis without a name wrap locally. Outside `shard_map`, `axis_names=()` is the periodic pad of a
    whole field.

    Args:
        block: (batch, nx, ny, nz, ...), this device's cells; any dtype.
        width: cells to add on each side.
        axis_names: mesh axis of x and of y (and of z, if a mesh ever had one); None, or left out, is local.
        first: the position of x in the shape, 0 for (nx, ny, nz, ...).

    Returns:
        (batch, nx + 2 width, ny + 2 width, nz + 2 width, ...).

    Raises:
        ConfigError: the block is thinner than the halo, which would then need a second neighbour.
    """
    names = (*axis_names, None, None, None)[:3]
    _check(block.shape[first : first + 3], width, names)
    if width == 0:
        return block
    for axis, name in enumerate(names, start=first):
        block = _grow(block, width, axis, name)
    return block


def _grow(block: jax.Array, width: int, axis: int, name: str | None) -> jax.Array:
    """The block between the last cells of its left and the first cells of its right neighbour."""
    n = block.shape[axis]
    below = lax.slice_in_dim(block, n - width, n, axis=axis)
    above = lax.slice_in_dim(block, 0, width, axis=axis)
    size = 1 if name is None else lax.axis_size(name)
    if size > 1:
        below = lax.ppermute(below, name, [(i, (i + 1) % size) for i in range(size)])
        above = lax.ppermute(above, name, [((i + 1) % size, i) for i in range(size)])
    return jnp.concatenate([below, block, above], axis=axis)


def halo_bytes(
    cells: Sequence[int], width: int, bytes_per_cell: int, sizes: Mapping[str, int], batch: int = 1
) -> int:
    """Return the bytes that one device sends in one `exchange`, counted by hand; the gradient sends as many.

    Two slabs of ny nz cells along x, two of (nx + 2 width) nz along y: the 2 width columns are the corners.
    z is never sharded, and its wrap comes last, so no slab carries it.

    Args:
        cells: (nx, ny, nz) of one device's block, before the exchange.
        width: of the halo.
        bytes_per_cell: channels times the size of their dtype.
        sizes: devices along each mesh axis; axes left out have one, and cost nothing.
        batch: fields on one device.
    """
    nx, ny, nz = cells
    sharded_x, sharded_y = (sizes.get(name, 1) > 1 for name in SPATIAL)
    along_x = ny if sharded_x else 0
    along_y = nx + 2 * width if sharded_y else 0
    return 2 * width * (along_x + along_y) * nz * bytes_per_cell * batch


def surface_factor(cells: Sequence[int], width: int = 1) -> float:
    """Return how much larger a block (nx, ny, ...) is with its halo: the product of 1 + 2 width / n."""
    return math.prod(1.0 + 2.0 * width / n for n in cells)


def _check(cells: Sequence[int], width: int, names: Sequence[str | None]) -> None:
    if width < 0:
        raise ConfigError(f"halo: width={width} must be at least 0")
    for label, n, name in zip("xyz", cells, names, strict=True):
        if n < width:
            where = f" on mesh axis {name!r} of {lax.axis_size(name)} devices" if name else ""
            raise ConfigError(
                f"halo: a block of {n} cells along {label}{where} is thinner than its halo of {width}; "
                f"use blocks of at least {width} cells: fewer devices along {label}, or a larger field"
            )
