"""The peak of a posterior and the normal distribution around it: where the chains start, and their first
metric.

Only values of the density are used, differenced: a program without gradients compiles in a third of the time,
and with a hundred points in one batch an iteration costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import DataError

MAX_NEWTON_STEPS = 40
# Coordinates are standard normal under the prior, so no direction curves much less than 1 at a peak.
LEAST_CURVATURE = 0.5
STEP = (
    0.5  # of differences, in conditional standard deviations: large against float32's rounding, small enough
)


@dataclass(frozen=True)
class Laplace:
    """Normal approximation at the peak: mode (d,), covariance (d, d), log_density there, evaluations
    spent.
    """

    mode: np.ndarray
    covariance: np.ndarray
    log_density: float
    evaluations: int
    converged: bool

    def sample(self, rng: np.random.Generator, n: int, spread: float = 1.0) -> np.ndarray:
        """Draws (n, d), the standard deviations multiplied by `spread`."""
        return (
            self.mode
            + spread * rng.standard_normal((n, self.mode.size)) @ np.linalg.cholesky(self.covariance).T
        )

    def gradient(self, points) -> np.ndarray:
        """Gradient of the approximation's log density at points (n, d)."""
        return -np.linalg.solve(self.covariance, (points - self.mode).T).T


def points_at_once(dimension: int) -> int:
    """Points of one batch: a centre, two neighbours a coordinate, one a pair of coordinates."""
    return 1 + 2 * dimension + dimension * (dimension - 1) // 2


def laplace(evaluate: Callable, dimension: int, seed: int = 0) -> Laplace:
    """Newton's method from the best of the prior's centre and draws from it.

    evaluate: points (n, d) -> log densities (n,), with n = `points_at_once`; every batch is either one set of
    differences or one line search. Negative curvatures are followed downhill (their absolute value is used).
    Raises DataError when the density is finite at none of the first points.
    """
    rng = np.random.default_rng(seed)
    count = points_at_once(dimension)
    evaluations = 0

    def call(points):
        nonlocal evaluations
        evaluations += count
        values = np.asarray(evaluate(points), np.float64)
        return np.where(np.isfinite(values), values, -np.inf)

    points = np.concatenate([np.zeros((1, dimension)), 0.7 * rng.standard_normal((count - 1, dimension))])
    values = call(points)
    if not np.isfinite(values).any():
        raise DataError(
            "the posterior is not finite at the prior's centre nor at draws from it: check the data vector, "
            "and that the prior lies inside the emulator's domain"
        )
    mode, peak = points[np.argmax(values)], values.max()
    spacing = np.full(dimension, 0.05)
    lengths = np.concatenate([[0.0], 2.0 ** np.linspace(1.0, -9.0, count - 1)])
    converged = False
    for _ in range(MAX_NEWTON_STEPS):
        slope, curvature = _derivatives(call(mode + _stencil(spacing)), spacing)
        size, axes = np.linalg.eigh(curvature)
        size = np.maximum(np.abs(size), LEAST_CURVATURE)
        step = axes @ ((axes.T @ slope) / size)
        settled = np.all(
            np.abs(spacing * np.sqrt(np.diag(curvature).clip(LEAST_CURVATURE)) / STEP - 1.0) < 0.5
        )
        spacing = np.clip(STEP / np.sqrt(np.diag(curvature).clip(LEAST_CURVATURE)), 1e-3, STEP)
        # Half of slope . step is what a full step promises to add to the log density.
        if settled and slope @ step < 0.02:
            converged = True
            break
        values = call(mode + lengths[:, None] * step)
        best = int(np.argmax(values))
        if best == 0 and settled:
            break
        mode, peak = mode + lengths[best] * step, values[best]
    covariance = (axes / size) @ axes.T
    return Laplace(mode, 0.5 * (covariance + covariance.T), float(peak), evaluations, converged)


def _stencil(spacing) -> np.ndarray:
    """Offsets (n, d): none, + and - along every coordinate, + + along every pair."""
    dimension = spacing.size
    first, second = np.triu_indices(dimension, 1)
    ahead = np.diag(spacing)
    return np.concatenate([np.zeros((1, dimension)), ahead, -ahead, ahead[first] + ahead[second]])


def _derivatives(values, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Slope (d,) and minus the Hessian (d, d) from values on the stencil.

    Where a neighbour lies outside the domain: a one-sided slope, the prior's own curvature 1, no correlation.
    """
    d = spacing.size
    centre, above, below, pairs = values[0], values[1 : d + 1], values[d + 1 : 2 * d + 1], values[2 * d + 1 :]
    first, second = np.triu_indices(d, 1)
    with np.errstate(invalid="ignore"):
        slope = (above - below) / (2.0 * spacing)
        slope = np.where(np.isfinite(slope), slope, (above - centre) / spacing)
        slope = np.where(np.isfinite(slope), slope, (centre - below) / spacing)
        diagonal = (2.0 * centre - above - below) / spacing**2
        mixed = (above[first] + above[second] - pairs - centre) / (spacing[first] * spacing[second])
    curvature = np.diag(np.where(np.isfinite(diagonal), diagonal, 1.0))
    mixed = np.where(np.isfinite(mixed), mixed, 0.0)
    curvature[first, second] = curvature[second, first] = mixed
    return np.where(np.isfinite(slope), slope, 0.0), curvature
