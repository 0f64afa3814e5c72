"""Symmetries of a periodic cube: 48 rotations and reflections, and shifts, of scalar and vector fields.

A field and its components move together: y(R p) = x(p) for a scalar, y(R p) = R v(p) for a vector, and with
another sign under reflections for a pseudovector (an angular momentum). A reflection takes cell i of an axis
to n - 1 - i; with shifts by whole cells these are all symmetries of the lattice. Only the block that is asked
for is read.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError, unknown_name

KINDS = ("scalar", "vector", "pseudovector", "label")
"""What a field is under a rotation; a label (parameters) does not change."""

Read = Callable[[tuple[int, ...], tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Symmetry:
    """A rotation or reflection of a square or cube.

    axes: along axis a of what comes out lies axis axes[a] of what goes in. flips: whether it is turned round.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    @property
    def matrix(self) -> np.ndarray:
        """(d, d) R, with R[a, axes[a]] = -1 where turned round, +1 where not."""
        matrix = np.zeros((len(self.axes),) * 2)
        for row, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[row, axis] = -1.0 if flip else 1.0
        return matrix

    @property
    def parity(self) -> int:
        """Determinant of R: 1 for a rotation, -1 with a reflection."""
        return round(np.linalg.det(self.matrix))


def symmetries(dimensions: int) -> tuple[Symmetry, ...]:
    """Return the 48 symmetries of a cube, or the 8 of a square; the first is the identity."""
    return tuple(
        Symmetry(axes, flips)
        for axes in itertools.permutations(range(dimensions))
        for flips in itertools.product((False, True), repeat=dimensions)
    )


@dataclass(frozen=True)
class Move:
    """A shift by whole cells, then a symmetry. shift: (d,) cells, counted on a grid of `cells` a side."""

    symmetry: Symmetry
    shift: tuple[int, ...]
    cells: int


def still(dimensions: int) -> Move:
    """Return the move that changes nothing."""
    return Move(symmetries(dimensions)[0], (0,) * dimensions, 1)


def moved(
    read: Read,
    sides: Sequence[int],
    kind: str,
    move: Move,
    low: Sequence[int] | None = None,
    high: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the block [low, high) of a field after a move, C-contiguous; the whole when no block is given.

    read: (low, high) -> cells of the field before it, with channels last; the bounds stay within the grid.
    sides: its cells along each axis. kind: one of `KINDS`; a vector's channels are its components, in threes
    (or as many as there are axes) when there are several. Raises ConfigError, DataError.
    """
    dimensions = len(sides)
    low = (0,) * dimensions if low is None else tuple(low)
    high = tuple(sides) if high is None else tuple(high)
    axes, flips = move.symmetry.axes, move.symmetry.flips
    if any(sides[axis] != n for axis, n in zip(axes, sides, strict=True)):
        raise ConfigError(f"a grid of {tuple(sides)} cells is no cube, so its axes cannot change places")
    start, shape = [0] * dimensions, [0] * dimensions
    for a, axis in enumerate(axes):
        n = sides[a]
        if n % move.cells:
            raise ConfigError(f"a shift on {move.cells} cells a side is not one by whole cells of {n}")
        first = n - high[a] if flips[a] else low[a]
        start[axis] = (first - move.shift[axis] * (n // move.cells)) % n
        shape[axis] = high[a] - low[a]
    block = read_periodic(read, sides, start, shape)
    block = np.flip(block.transpose(*axes, dimensions), [a for a in range(dimensions) if flips[a]])
    return np.ascontiguousarray(_turned(block, kind, move.symmetry))


def _turned(block: np.ndarray, kind: str, symmetry: Symmetry) -> np.ndarray:
    """The components of vectors, turned as their places were."""
    if kind not in KINDS:
        raise unknown_name("kind of field", kind, KINDS)
    d = len(symmetry.axes)
    if kind == "scalar" or symmetry == symmetries(d)[0]:
        return block
    if block.shape[-1] % d:
        raise DataError(f"a {kind} field has {block.shape[-1]} channels, not a multiple of {d} components")
    signs = np.where(symmetry.flips, -1, 1).astype(block.dtype)
    if kind == "pseudovector":
        signs = signs * symmetry.parity
    vectors = block.reshape(*block.shape[:-1], -1, d)
    return (vectors[..., list(symmetry.axes)] * signs).reshape(block.shape)


def read_periodic(read: Read, sides: Sequence[int], start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Return shape cells from `start` on, around the edges of a periodic grid, in one read for each piece."""
    spans = []
    for n, first, count in zip(sides, start, shape, strict=True):
        if not 0 <= count <= n:
            raise ConfigError(f"a block of {count} cells does not fit a grid of {n}")
        first, last = first % n, first % n + count
        spans.append([(first, last)] if last <= n else [(first, n), (0, last - n)])

    def along(axis: int, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        if axis == len(spans):
            return read(low, high)
        parts = [along(axis + 1, (*low, a), (*high, b)) for a, b in spans[axis]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)

    return along(0, (), ())


def draw(bits: Sequence[int], sides: Mapping[str, Sequence[int]], rotate: bool, shift: bool) -> Move:
    """Return the move that random bits (4 numbers below 2^64) stand for, one that fits all fields.

    sides: cells of each field; where they differ (a coarse input, a fine target) the shift is by whole cells
    of the coarsest, which must divide the others.
    """
    dimensions = {len(s) for s in sides.values()}
    if len(dimensions) != 1:
        raise ConfigError(f"fields of different dimensions: {dict(sides)}")
    d = dimensions.pop()
    cells = min(n for s in sides.values() for n in s)
    if shift and any(n % cells for s in sides.values() for n in s):
        raise ConfigError(f"the coarsest of {dict(sides)} does not divide the others; shifts cannot fit all")
    known = symmetries(d)
    chosen = known[bits[0] % len(known)] if rotate else known[0]
    if not shift:
        return Move(chosen, (0,) * d, 1)
    return Move(chosen, tuple(b % cells for b in bits[1 : d + 1]), cells)
