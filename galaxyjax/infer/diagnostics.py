"""Convergence of Markov chains: rank-normalised split R-hat, bulk and tail effective sample size.

Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Bayesian Analysis 16, 667 (their equations in brackets).
All quantities are treated at once, in NumPy, so that a look after every block of draws costs milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata


@dataclass(frozen=True)
class Convergence:
    """Per quantity: r_hat, ess_bulk, ess_tail, each (q,). NaN where a chain is too short or does not move."""

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray

    @property
    def max_r_hat(self) -> float:
        """Largest R-hat; infinite when any is unknown, so that a comparison never passes by accident."""
        return float(np.max(np.where(np.isnan(self.r_hat), np.inf, self.r_hat)))

    @property
    def min_ess(self) -> float:
        """Smallest of all bulk and tail effective sizes; 0 when any is unknown."""
        both = np.concatenate([self.ess_bulk, self.ess_tail])
        return float(np.min(np.where(np.isnan(both), 0.0, both)))


def convergence(draws) -> Convergence:
    """Diagnostics of draws (chains, draws, q)."""
    draws = np.asarray(draws, np.float64)
    return Convergence(r_hat(draws), ess_bulk(draws), ess_tail(draws))


def r_hat(draws) -> np.ndarray:
    """Rank-normalised split R-hat of draws (chains, draws, q), the larger of bulk and folded (eq. 14) ->
    (q,).
    """
    split = _split(draws)
    if split.shape[1] < 2:
        return np.full(split.shape[-1], np.nan)
    folded = np.abs(split - np.median(split, axis=(0, 1)))
    return np.maximum(_plain_r_hat(_rank_normal(split)), _plain_r_hat(_rank_normal(folded)))


def ess_bulk(draws) -> np.ndarray:
    """Effective sample size for the centre of the distribution, from rank-normalised split chains -> (q,)."""
    return _ess(_rank_normal(_split(draws)))


def ess_tail(draws) -> np.ndarray:
    """The smaller effective sample size of the 5% and 95% quantiles -> (q,)."""
    draws = np.asarray(draws, np.float64)
    low, high = np.quantile(draws, (0.05, 0.95), axis=(0, 1))
    below = draws <= high
    # A stuck chain repeats its extreme; then nothing lies above, and the indicator would be constant.
    below = np.where(below.all(axis=(0, 1)), draws < high, below)
    return np.minimum(_ess(_split(draws <= low)), _ess(_split(below)))


def _split(draws) -> np.ndarray:
    """Halves of each chain as chains of their own; the middle draw of an odd number is dropped."""
    draws = np.asarray(draws, np.float64)
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def _rank_normal(draws) -> np.ndarray:
    """Normal scores of the ranks over all chains (eq. 14 of section 4, with Blom's offset 3/8)."""
    flat = draws.reshape(-1, draws.shape[-1])
    ranks = rankdata(flat, method="average", axis=0)
    return ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(draws.shape)


def _plain_r_hat(draws) -> np.ndarray:
    """Square root of pooled over within-chain variance (eqs. 1 to 4)."""
    n = draws.shape[1]
    between = n * np.var(draws.mean(1), axis=0, ddof=1)
    within = np.mean(np.var(draws, axis=1, ddof=1), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + n - 1) / n)


def _autocovariance(draws) -> np.ndarray:
    """Biased autocovariance of every chain at every lag, averaged over chains: (chains, n, q) -> (n, q)."""
    n = draws.shape[1]
    centred = draws - draws.mean(1, keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * n, axis=1)
    return np.fft.irfft(np.abs(spectrum) ** 2, n=2 * n, axis=1)[:, :n].mean(0) / n


def _ess(draws) -> np.ndarray:
    """Geyer's initial monotone sequence over already split chains (chains, n, q) -> (q,) (eqs. 10 to 13)."""
    chains, n, quantities = draws.shape
    if n < 4:
        return np.full(quantities, np.nan)
    covariance = _autocovariance(draws)
    within = covariance[0] * n / (n - 1)
    pooled = covariance[0] + np.var(draws.mean(1), axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1.0 - (within - covariance) / pooled
    rho[0] = 1.0
    return np.array([_ess_of(rho[:, q], chains * n) for q in range(quantities)])


def _ess_of(rho, total: int) -> float:
    """Effective size from autocorrelations rho (n,) of `total` draws."""
    if not np.isfinite(rho).all():
        return np.nan
    n = len(rho)
    pairs = rho[0 : 2 * (n // 2)].reshape(-1, 2)
    sums = pairs.sum(1)
    # Stan and ArviZ look at pairs that start at lag n - 3 or before; the last one looked at ends the
    # sequence.
    last = (n - 3) // 2
    negative = np.flatnonzero(sums[: last + 1] <= 0)
    count = int(negative[0]) if negative.size else last
    kept = np.minimum.accumulate(sums[:count]).sum()
    # The even term of the first pair left out still carries information when it is positive.
    extra = float(pairs[count, 0]) if pairs[count, 0] > 0 or sums[count] >= 0 else 0.0
    tau = max(2.0 * kept - 1.0 + extra, 1.0 / np.log10(total))
    return total / tau
