"""A block of a periodic box: what one process reads, with a halo around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galaxyjax.core.box import Box
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """Positions with low <= x < high on each axis, Mpc/h, modulo the box: low may be negative.

    Raises ConfigError unless low < high on each axis.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self):
        low, high = tuple(float(x) for x in self.low), tuple(float(x) for x in self.high)
        if len(low) != 3 or len(high) != 3 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ConfigError(f"window: low={low} must lie below high={high} on each of three axes")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @classmethod
    def block(cls, box: Box, parts: Sequence[int], index: Sequence[int], halo: float = 0.0) -> Window:
        """Return block `index` of a box cut into `parts` along x, y and z, with a halo in Mpc/h around it."""
        for axis, n, i in zip("xyz", parts, index, strict=True):
            if not 0 <= i < n:
                raise ConfigError(f"window: block {i} along {axis} must lie in 0..{n - 1}")
        low = tuple(box.size * i / n - halo for n, i in zip(parts, index, strict=True))
        high = tuple(box.size * (i + 1) / n + halo for n, i in zip(parts, index, strict=True))
        return cls(low, high)

    @classmethod
    def balanced(cls, box: Box, counts: np.ndarray, parts: int, halo: float = 0.0) -> list[Window]:
        """Return `parts` blocks that hold about equally many particles, with a halo in Mpc/h around each.

        counts: particles in cells of the box, (cx, cy, cz). The box is bisected, and its parts again, between
        cells, along the longest side that divides the particles nearly as well as any (orthogonal recursive
        bisection, Salmon 1991). Blocks differ in volume: for work on particles, not on blocks of a mesh.
        Raises ConfigError when the cells are too few to cut between.
        """
        if parts < 1:
            raise ConfigError(f"window: parts={parts} must be at least 1")
        cell = box.size / np.array(counts.shape)
        blocks = _bisected(counts, np.zeros(3, int), np.array(counts.shape), parts)
        return [cls(tuple(low * cell - halo), tuple(high * cell + halo)) for low, high in blocks]

    def contains(self, positions: np.ndarray, box: Box) -> np.ndarray:
        """Return (n,) bool: which positions (n, 3) lie in the window or in a periodic image of it."""
        inside = np.ones(len(positions), bool)
        for axis in range(3):
            length = self.high[axis] - self.low[axis]
            if length < box.size:
                offset = positions[:, axis].astype(np.float64) - self.low[axis]
                inside &= offset % box.size < length
        return inside

    def cells(self, axis: int, side: float, cells: int) -> np.ndarray:
        """Return the numbers of the cells, of `cells` along a side, that the window touches on an axis."""
        step = side / cells
        # The edge of a block is the edge of a cell when it divides: rounding must not add one.
        first = int(np.floor(self.low[axis] / step + 1e-9))
        last = int(np.ceil(self.high[axis] / step - 1e-9))
        return np.unique(np.arange(first, min(last, first + cells)) % cells)


NEARLY = 1.05
"""How much fuller than the best cut's fullest half another cut's may be, to leave a more compact block."""


def _bisected(counts: np.ndarray, low: np.ndarray, high: np.ndarray, parts: int) -> list[tuple]:
    """(low, high) cells of `parts` blocks that share out the cells from low to high."""
    if parts == 1:
        return [(low, high)]
    inside = counts[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    first, found = parts // 2, []
    for axis, side in enumerate(inside.shape):
        rest = inside.size // side
        # Each half needs a cell for each of its parts.
        least, most = -(-first // rest), side - -(-(parts - first) // rest)
        if least > most:
            continue
        before = np.cumsum(inside.sum(tuple({0, 1, 2} - {axis})))[least - 1 : most]
        fullest = np.maximum(before / first, (inside.sum() - before) / (parts - first))
        best = int(np.argmin(fullest))
        found.append((float(fullest[best]), side, axis, least + best))
    if not found:
        raise ConfigError(
            f"window: {inside.size} cells cannot be cut in {parts} parts; ask for fewer windows"
        )
    limit = NEARLY * min(cost for cost, *_ in found)
    _, axis, cut = max((side, axis, cut) for cost, side, axis, cut in found if cost <= limit)
    upper, lower = high.copy(), low.copy()
    upper[axis] = lower[axis] = low[axis] + cut
    return _bisected(counts, low, upper, first) + _bisected(counts, lower, high, parts - first)
