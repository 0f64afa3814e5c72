"""Particles to a grid and back: nearest grid point, cloud in cell, triangular-shaped cloud.

Positions are in cells. The value at index i is the field at position i; a particle's cloud is a B-spline of
the order of the scheme around it (Hockney & Eastwood 1988, section 5.3; Sefusatti et al. 2016, eq. 18 to 20).
One block of a grid is painted here; halos between blocks are `mesh`'s, streams of particles `data`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import chex
import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core.errors import ConfigError, unknown_name

SUPPORT = {"ngp": 1, "cic": 2, "tsc": 3}
"""Cells that a particle touches along an axis."""

REACH = {"ngp": (1, 0), "cic": (1, 0), "tsc": (2, 1)}
"""Whole cells below and above a block within which a particle can touch it: it lies in
start - below <= x < stop + above."""


def paint(
    grid: Array,
    positions: Array,
    weights: Array | float = 1.0,
    scheme: str = "cic",
    periodic: Sequence[bool] = (True, True, True),
) -> Array:
    """Return grid (nx, ny, nz) plus the particles' weights, shape and dtype of grid.

    positions: (n, 3) in cells, relative to the grid's first point. weights: (n,) or one number. scheme:
    "ngp", "cic" or "tsc". periodic: along which axes the grid closes on itself; along the others what falls
    outside is left out. Weights are conserved on a periodic grid. Differentiable in grid, weights and (but
    for ngp) positions. Raises UnknownName on another scheme.
    """
    chex.assert_rank(grid, 3)
    chex.assert_shape(positions, (None, 3))
    nx, ny, nz = grid.shape
    weights = jnp.broadcast_to(jnp.asarray(weights, grid.dtype), positions.shape[:1])
    # Shares along z are neighbours in memory: added as one window of two or three they cost 0.6 of the time.
    *_, margin = _margin(scheme, periodic[2])
    size = _flat_size(grid.shape, margin)
    # `%` keeps every index inside a periodic grid, whatever a position is.
    mode = "promise_in_bounds" if all(periodic) else "drop"
    # Two sums side by side: XLA adds on one core each. Where the second grid costs more than it saves, one.
    halves = 2 if 2**16 <= len(positions) and size <= 4 * len(positions) else 1
    cuts = [len(positions) * part // halves for part in range(halves + 1)]
    sums = []
    for low, high in zip(cuts[:-1], cuts[1:], strict=True):
        padded = jnp.zeros(size, grid.dtype)
        for index, share in _columns(positions[low:high], grid.shape, scheme, periodic, grid.dtype):
            padded = jax.lax.scatter_add(padded, index, weights[low:high, None] * share, _ADD, mode=mode)
        sums.append(padded)
    padded = sum(sums[1:], sums[0])
    return grid + _fold(padded.reshape(nx * ny, -1), nz, scheme, periodic[2]).reshape(grid.shape)


def gather(
    grid: Array, positions: Array, scheme: str = "cic", periodic: Sequence[bool] = (True, True, True)
) -> Array:
    """Return the field at the particles, (n,) or (n, channels) in the dtype of grid: the transpose of `paint`.

    grid: (nx, ny, nz) or (nx, ny, nz, channels); the rest as for `paint`. Outside a grid that is not periodic
    the field counts as 0.
    """
    chex.assert_rank(grid, {3, 4})
    chex.assert_shape(positions, (None, 3))
    _flat_size(grid.shape, _margin(scheme, periodic[2])[1])
    columns = grid.reshape(grid.shape[0] * grid.shape[1], grid.shape[2], -1)
    channels = columns.shape[2]
    padded = _pad(columns, scheme, periodic[2]).reshape(-1, channels)
    found = jnp.zeros((len(positions), channels), grid.dtype)
    # All channels of a window come together: their cells are neighbours in memory.
    size = (SUPPORT[scheme], channels)
    # `%` keeps every index inside a periodic grid, whatever a position is.
    mode = {"mode": "promise_in_bounds"} if all(periodic) else {"mode": "fill", "fill_value": 0}
    for index, share in _columns(positions, grid.shape, scheme, periodic, grid.dtype):
        values = jax.lax.gather(padded, index, _TAKE, size, **mode)
        found = found + jnp.sum(values * share[:, :, None], axis=1)
    return found[:, 0] if grid.ndim == 3 else found


def window(k: Array, scheme: str = "cic") -> Array:
    """Return the Fourier transform of a scheme's cloud along one axis, shape of k (radians a cell).

    sinc(k / 2)^p, p = 1, 2, 3 for ngp, cic, tsc (Jing 2005, eq. 17): divide by the product over three axes to
    undo the smoothing.
    """
    return jnp.sinc(k / (2.0 * jnp.pi)) ** _support(scheme)


# One flat index: two a window cost 1.6 times as much.
_ADD = jax.lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)
_TAKE = jax.lax.GatherDimensionNumbers(offset_dims=(1, 2), collapsed_slice_dims=(), start_index_map=(0,))


def _flat_size(shape: Sequence[int], margin: int) -> int:
    size = shape[0] * shape[1] * (shape[2] + margin)
    if size >= 2**31:
        raise ConfigError(f"grid: {shape} has {size} cells, 2^31 at most in one block; paint smaller blocks")
    return size


def _support(scheme: str) -> int:
    if scheme not in SUPPORT:
        raise unknown_name("scheme", scheme, SUPPORT)
    return SUPPORT[scheme]


def _margin(scheme: str, periodic: bool) -> tuple[int, int]:
    """(before, both): columns that the z axis is padded with, so that each window lies inside."""
    extra = _support(scheme) - 1
    return (0, extra) if periodic else (extra, 2 * extra)


def _fold(padded: Array, nz: int, scheme: str, periodic: bool) -> Array:
    """Bring what was painted on the margin back to the axis, or leave it out."""
    before, both = _margin(scheme, periodic)
    grid = padded[:, before : before + nz]
    for column in range(both if periodic else 0):  # one by one: an axis may be shorter than the margin
        grid = grid.at[:, column % nz].add(padded[:, nz + column])
    return grid


def _pad(grid: Array, scheme: str, periodic: bool) -> Array:
    """The transpose of `_fold`, of columns (n, nz, channels)."""
    before, both = _margin(scheme, periodic)
    if periodic:
        nz = grid.shape[1]
        return jnp.concatenate([grid, *(grid[:, c % nz, None] for c in range(both))], axis=1)
    return jnp.pad(grid, ((0, 0), (before, both - before), (0, 0)))


def _columns(
    positions: Array, shape: Sequence[int], scheme: str, periodic: Sequence[bool], dtype
) -> Iterator[tuple[Array, Array]]:
    """Yield flat index (n, 1) of each window's first cell, and share (n, support) of the weight."""
    nx, ny, nz = shape[:3]
    first, shares = zip(*(_axis(positions[:, axis], scheme, dtype) for axis in range(3)), strict=True)
    before, both = _margin(scheme, periodic[2])
    z = first[2] % nz if periodic[2] else first[2] + before
    inside_z = True if periodic[2] else (z >= 0) & (z <= nz + both - _support(scheme))
    along_z = jnp.stack(shares[2], axis=1)
    for a, b in product(range(_support(scheme)), repeat=2):
        x, y = first[0] + a, first[1] + b
        x, inside_x = (x % nx, True) if periodic[0] else (x, (x >= 0) & (x < nx))
        y, inside_y = (y % ny, True) if periodic[1] else (y, (y >= 0) & (y < ny))
        inside = inside_x & inside_y & inside_z
        # -1 is dropped, or filled with 0.
        index = jnp.where(inside, (x * ny + y) * (nz + both) + z, -1)
        yield index[:, None], (shares[0][a] * shares[1][b])[:, None] * along_z


def _axis(x: Array, scheme: str, dtype) -> tuple[Array, list[Array]]:
    """The first cell of each particle's cloud along an axis, and the share of each of its cells."""
    support = _support(scheme)
    base = jnp.floor(x) if support == 2 else jnp.floor(x + 0.5)
    d = (x - base).astype(dtype)
    first = base.astype(jnp.int32) - (support - 1) // 2
    if support == 1:
        return first, [jnp.ones_like(d)]
    if support == 2:
        return first, [1 - d, d]
    return first, [0.5 * (0.5 - d) ** 2, 0.75 - d**2, 0.5 * (0.5 + d) ** 2]
