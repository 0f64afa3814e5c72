"""Rank statistics: whether posteriors of simulated data say what they mean.

If theta is drawn from the prior, data from theta, and draws from the posterior of the data, then theta's rank
among them is uniform (Cook, Gelman & Rubin 2006; Talts et al. 2018, arXiv:1804.06788); so is the rank of any
function of theta and data, the log likelihood among them (Modrak et al. 2023, arXiv:2211.02383). TARP (Lemos
et al. 2023, arXiv:2302.03026) looks at all parameters at once: the share of draws nearer to a random point
than the truth is uniform as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

LEVEL = 0.01  # of the whole test; each of q quantities is held against LEVEL / q


@dataclass(frozen=True)
class Verdict:
    """What the ranks of one quantity say. p: of Kolmogorov and Smirnov. bias: mean rank less 1/2, in its
    sampling deviations (positive: the posterior lies too low). width: excess variance of the ranks, in its
    sampling deviations (positive: too narrow). spread: that variance over 1/12.
    """

    name: str
    p: float
    bias: float
    width: float
    spread: float
    fails: bool

    @property
    def how(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        if not self.fails:
            return ""
        words = []
        if abs(self.bias) > 2.5:
            words.append(f"biased {'low' if self.bias > 0 else 'high'}")
        if abs(self.width) > 2.5:
            words.append("over-confident" if self.width > 0 else "under-confident")
        return " and ".join(words) or "ranks not uniform"


def ranks(truth, draws, rng: np.random.Generator) -> np.ndarray:
    """Ranks of truths (m, q) among draws (m, n, q), as uniform numbers in [0, 1] (m, q).

    Rank r of n draws becomes (r + U) / (n + 1) with U uniform; ties, as of quantities that do not vary, are
    broken at random.
    """
    below = np.sum(draws < truth[:, None], axis=1)
    equal = np.sum(draws == truth[:, None], axis=1)
    rank = below + rng.integers(0, equal + 1)
    return (rank + rng.random(rank.shape)) / (draws.shape[1] + 1.0)


def tarp(truth, draws, references, rng: np.random.Generator) -> np.ndarray:
    """Ranks (m,) of the truths' distance from references (m, d) among those of the draws (m, n, d); all in
    coordinates of like scale.
    """
    far = np.linalg.norm(truth - references, axis=-1)[:, None]
    near = np.linalg.norm(draws - references[:, None], axis=-1)[..., None]
    return ranks(far, near, rng)[:, 0]


def judge(names, uniform, level: float = LEVEL) -> list[Verdict]:
    """Verdicts on columns of `uniform` (m, q), each held against level / q."""
    uniform = np.asarray(uniform, float)
    m, q = uniform.shape
    verdicts = []
    for name, column in zip(names, uniform.T, strict=True):
        p = float(stats.kstest(column, "uniform").pvalue)
        bias = float((column.mean() - 0.5) * np.sqrt(12.0 * m))
        # The variance of (x - 1/2)^2 of a uniform x is 1/180.
        spread = float(np.mean((column - 0.5) ** 2))
        width = float((spread - 1.0 / 12.0) * np.sqrt(180.0 * m))
        verdicts.append(Verdict(name, p, bias, width, 12.0 * spread, p < level / q))
    return verdicts


def ecdf_difference(column, grid) -> np.ndarray:
    """Share of `column` (m,) at or below each of `grid`, less the grid itself."""
    return np.searchsorted(np.sort(column), grid, side="right") / len(column) - grid


@lru_cache
def band(m: int, points: int = 49, share: float = 0.95, trials: int = 4000) -> tuple[np.ndarray, ...]:
    """Grid, lower and upper limit between which the ECDF difference of m uniform numbers stays, everywhere at
    once, in `share` of all cases (Sailynoja, Buerkner & Vehtari 2022: binomial limits whose level is found by
    simulation).
    """
    grid = np.arange(1, points + 1) / (points + 1.0)
    rng = np.random.default_rng([m, points])
    counts = np.cumsum(rng.multinomial(m, np.full(points + 1, 1.0 / (points + 1)), trials)[:, :-1], axis=1)
    tails = np.minimum(stats.binom.cdf(counts, m, grid), stats.binom.sf(counts - 1, m, grid))
    level = np.quantile(tails.min(1), 1.0 - share)
    low, high = stats.binom.ppf(level, m, grid), stats.binom.isf(level, m, grid)
    return grid, low / m - grid, high / m - grid
