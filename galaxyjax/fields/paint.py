"""Particles to a grid and back: nearest grid point, cloud in cell, triangular-shaped cloud.

Positions are in cells. The value at index i is the field at position i; a particle's cloud is a B-spline of
the order of the scheme around it (Hockney & Eastwood 1988, section 5.3; Sefusatti et al. 2016, eq. 18 to 20).
One block of a grid is painted here; halos between blocks are `mesh`'s, streams of particles `data`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import chex
import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.mesh.collect import varies_over, varying

SUPPORT = {"ngp": 1, "cic": 2, "tsc": 3}
"""Cells that a particle touches along an axis."""

REACH = {"ngp": (1, 0), "cic": (1, 0), "tsc": (2, 1)}
"""Whole cells below and above a block within which a particle can touch it: it lies in
start - below <= x < stop + above."""

ROWS = 1 << 17
"""Particles painted at a time, so that memory beyond the grid is small: asking the system for new pages in
each call had cost a third of the time."""


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
    # `%` keeps every index inside a periodic grid, whatever a position is.
    mode = "promise_in_bounds" if all(periodic) else "drop"

    @jax.checkpoint  # the way back needs the particles only: computing shares again beats keeping them
    def add(padded: Array, piece: list[Array]) -> tuple[Array, None]:
        *axes, weight = piece
        for index, share, along_z in _columns(axes, grid.shape, scheme, periodic, grid.dtype):
            updates = _repeat(weight * share, len(along_z)) * jnp.stack(along_z, axis=1)
            padded = jax.lax.scatter_add(padded, index, updates, _ADD, mode=mode)
        return padded, None

    pieces = _pieces(positions, weights)
    axes = frozenset().union(*(varies_over(array) for array in pieces))
    empty = varying(jnp.zeros(_flat_size(grid.shape, margin), grid.dtype), tuple(sorted(axes)))
    padded, _ = jax.lax.scan(add, empty, pieces)
    return grid + _fold(padded.reshape(nx * ny, -1), nz, scheme, periodic[2]).reshape(grid.shape)


def gather(
    grid: Array, positions: Array, scheme: str = "cic", periodic: Sequence[bool] = (True, True, True)
) -> Array:
    """Return the field at the particles, (n,) or (n, channels) in grid's dtype: the transpose of `paint`.

    grid: (nx, ny, nz) or (nx, ny, nz, channels); the rest as for `paint`. Outside a grid that is not periodic
    the field counts as 0.
    """
    chex.assert_rank(grid, {3, 4})
    chex.assert_shape(positions, (None, 3))
    _flat_size(grid.shape, _margin(scheme, periodic[2])[1])
    columns = grid.reshape(grid.shape[0] * grid.shape[1], grid.shape[2], -1)
    channels = columns.shape[2]
    padded = _pad(columns, scheme, periodic[2]).reshape(-1, channels)
    # `%` keeps every index inside a periodic grid, whatever a position is.
    mode = {"mode": "promise_in_bounds"} if all(periodic) else {"mode": "fill", "fill_value": 0}

    @jax.checkpoint
    def read(padded: Array, axes: list[Array]) -> Array:
        found = jnp.zeros((len(positions), channels), grid.dtype)
        for index, share, along_z in _columns(axes, grid.shape, scheme, periodic, grid.dtype):
            # All channels of a window come together: their cells are neighbours in memory.
            values = jax.lax.gather(padded, index, _TAKE, (len(along_z), channels), **mode)
            # Term by term: XLA's sum over an axis of two took more time than all the rest.
            found = found + sum(
                _repeat(share * part, channels) * values[:, k] for k, part in enumerate(along_z)
            )
        return found

    # Not in pieces as `paint` is: each would add a whole grid to the gradient.
    found = read(padded, [positions[:, axis] for axis in range(3)])
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


def _pieces(positions: Array, *columns: Array) -> list[Array]:
    """x, y, z and other columns, each (pieces, rows): rows of zeros at the end where they do not divide.

    Apart: with the three numbers of a particle side by side, the arithmetic took 3 times as long.
    """
    positions, count = jnp.asarray(positions), len(positions)
    pieces = max(1, -(-count // ROWS))
    rows = -(-count // pieces)
    missing = pieces * rows - count
    columns = (*(positions[:, axis] for axis in range(3)), *columns)
    return [jnp.pad(column, (0, missing)).reshape(pieces, rows) for column in columns]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _repeat(column: Array, times: int) -> Array:
    """(n,) to (n, times); its gradient sums slices, at half the cost of XLA's sum over a short axis."""
    return jnp.broadcast_to(column[:, None], (len(column), times))


@_repeat.defjvp
def _repeat_jvp(times: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return _repeat(primals[0], times), jnp.stack([tangents[0]] * times, axis=1)


def _columns(
    axes: Sequence[Array], shape: Sequence[int], scheme: str, periodic: Sequence[bool], dtype
) -> Iterator[tuple[Array, Array, list[Array]]]:
    """Yield flat index (n, 1) of each window's first cell, its share (n,), and those along z."""
    nx, ny, nz = shape[:3]
    first, shares = zip(*(_axis(axis, scheme, dtype) for axis in axes), strict=True)
    before, both = _margin(scheme, periodic[2])
    z = first[2] % nz if periodic[2] else first[2] + before
    inside_z = True if periodic[2] else (z >= 0) & (z <= nz + both - _support(scheme))
    for a, b in product(range(_support(scheme)), repeat=2):
        x, y = first[0] + a, first[1] + b
        x, inside_x = (x % nx, True) if periodic[0] else (x, (x >= 0) & (x < nx))
        y, inside_y = (y % ny, True) if periodic[1] else (y, (y >= 0) & (y < ny))
        inside = inside_x & inside_y & inside_z
        # -1 is dropped, or filled with 0.
        index = jnp.where(inside, (x * ny + y) * (nz + both) + z, -1)
        yield index[:, None], shares[0][a] * shares[1][b], shares[2]


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
