"""Space-filling designs over a prior box: where a suite of simulations is run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """One input of a design: its name and the closed interval it is drawn from."""

    name: str
    low: float
    high: float

    def __post_init__(self):
        if not self.low < self.high:
            raise ConfigError(f"range of {self.name}: low {self.low} must be below high {self.high}")


@dataclass(frozen=True)
class SumBelow:
    """The joint bound ``first + second <= bound``; `second` is drawn below it."""

    first: str
    second: str
    bound: float


def sobol(ranges, n: int, seed: int, constraints=()) -> dict[str, np.ndarray]:
    """Scrambled Sobol points over a box, with joint bounds kept by shrinking the second range.

    Point i does not depend on `n`, so a suite can grow without moving the runs it already has.

    Args:
        ranges: sequence of `Range`.
        n: number of points.
        seed: of the Owen scrambling.
        constraints: sequence of `SumBelow`; the second input is drawn between its low end and
            ``min(high, bound - first)``, which keeps the points space-filling inside the bound.

    Returns:
        name -> (n,) float64 array.
    """
    sampler = qmc.Sobol(len(ranges), scramble=True, seed=seed)
    unit = sampler.random_base2(max(int(np.ceil(np.log2(max(n, 2)))), 1))[:n]
    points = {r.name: r.low + unit[:, i] * (r.high - r.low) for i, r in enumerate(ranges)}
    column = {r.name: i for i, r in enumerate(ranges)}
    for bound in constraints:
        second = ranges[column[bound.second]]
        high = np.minimum(second.high, bound.bound - points[bound.first])
        if np.any(high < second.low):
            raise ConfigError(
                f"{bound.first} + {bound.second} <= {bound.bound} leaves no room above "
                f"{bound.second} = {second.low}: widen the range of {bound.second} or the bound"
            )
        points[bound.second] = second.low + unit[:, column[bound.second]] * (high - second.low)
    return points


def latin_hypercube(ranges, n: int, seed: int) -> dict[str, np.ndarray]:
    """Latin hypercube points over a box: name -> (n,) float64 array."""
    unit = qmc.LatinHypercube(len(ranges), seed=seed).random(n)
    return {r.name: r.low + unit[:, i] * (r.high - r.low) for i, r in enumerate(ranges)}
