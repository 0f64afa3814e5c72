"""Whether posteriors cover the truth as often as they say: ranks, and coverage by random points (TARP).

For exact posteriors ranks are uniform (Cook, Gelman & Rubin 2006; Talts et al. 2018), and so is the share of
draws nearer than the truth to a point that knows nothing of either (TARP; Lemos, Coogan, Hezaveh &
Perreault-Levasseur 2023). TARP sees all parameters at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import kstest

from galaxyjax.core.errors import DataError


class Coverage(NamedTuple):
    """Shares (m,) in [0, 1], uniform if the posteriors are right; p: of that, by Kolmogorov and Smirnov."""

    shares: np.ndarray
    p: float

    def expected(self, levels: np.ndarray) -> np.ndarray:
        """Share of truths within each credible level (n,): `levels` themselves if right."""
        return np.searchsorted(np.sort(self.shares), levels, side="right") / len(self.shares)


def ranks(draws: np.ndarray, truth: np.ndarray, seed: int = 0) -> list[Coverage]:
    """Return for each parameter the share of draws (m, draws, d) below truth (m, d)."""
    draws, truth = _checked(draws, truth)
    below = (draws < truth[:, None]).sum(axis=1)
    return [_covered(below[:, i], draws.shape[1], seed) for i in range(truth.shape[1])]


def tarp(draws: np.ndarray, truth: np.ndarray, seed: int = 0) -> Coverage:
    """Return the shares of draws (m, draws, d) nearer than truth (m, d) to a random point.

    Points are uniform in the box of the draws and truths of all simulations, and distances are measured in
    units of its sides.
    """
    draws, truth = _checked(draws, truth)
    low = np.minimum(truth.min(axis=0), draws.min(axis=(0, 1)))
    high = np.maximum(truth.max(axis=0), draws.max(axis=(0, 1)))
    width = np.where(high > low, high - low, 1.0)
    points = low + width * np.random.default_rng(seed).uniform(size=truth.shape)
    distance = np.sqrt((((draws - points[:, None]) / width) ** 2).sum(axis=-1))
    limit = np.sqrt((((truth - points) / width) ** 2).sum(axis=-1))
    nearer = (distance < limit[:, None]).sum(axis=1)
    return _covered(nearer, draws.shape[1], seed)


def band(count: int, levels: np.ndarray, chance: float = 0.95, seed: int = 0) -> np.ndarray:
    """Return half the width (n,) of the band that holds the whole curve of `count` right posteriors.

    It does with probability `chance`, and is proportional to the binomial scatter at each level.
    """
    draws = np.sort(np.random.default_rng(seed).uniform(size=(2000, count)), axis=1)
    levels = np.asarray(levels, float)
    curves = np.stack([np.searchsorted(row, levels, side="right") for row in draws]) / count
    sigma = np.sqrt(np.maximum(levels * (1.0 - levels), 0.25 / count) / count)
    worst = np.abs((curves - levels) / sigma).max(axis=1)
    return np.quantile(worst, chance) * sigma


def _covered(counts: np.ndarray, draws: int, seed: int) -> Coverage:
    # Spread within each rank, so that a right posterior's shares are uniform for any number of draws.
    shares = (counts + np.random.default_rng(seed + 1).uniform(size=len(counts))) / (draws + 1)
    return Coverage(shares, float(kstest(shares, "uniform").pvalue))


def _checked(draws, truth) -> tuple[np.ndarray, np.ndarray]:
    draws, truth = np.asarray(draws, float), np.asarray(truth, float)
    if draws.ndim != 3 or truth.shape != (draws.shape[0], draws.shape[2]):
        raise DataError(
            f"coverage: draws {draws.shape} and truth {truth.shape}, not (m, draws, d) and (m, d)"
        )
    return draws, truth
