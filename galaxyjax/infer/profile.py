"""Profile likelihoods: the best fit at each value of one parameter, all others free; no volume effects.

What external measurements say about nuisance parameters (normal terms of the prior) counts as data; flat
priors only bound the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate
import scipy.optimize

from galaxyjax.core.errors import ConfigError, DataError, unknown_name
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import Uniform

LEVELS = {"68%": 1.0, "95%": 3.841}  # Delta chi2 of one parameter (Wilks 1938)
EDGE = 1e-4  # of a flat prior's width: the search stays this far inside, where the model is defined
SPAN = 6.0  # standard deviations that a normal parameter may go


@dataclass(frozen=True)
class Profile:
    """grid (n,) of one parameter; chi2 (n,), minimised over the others; best (n, d), these at the minimum."""

    name: str
    grid: np.ndarray
    chi2: np.ndarray
    names: tuple[str, ...]
    best: np.ndarray

    @property
    def delta(self) -> np.ndarray:
        """chi2 less its minimum, that of the parabola through the three lowest points, (n,)."""
        return self.chi2 - self._vertex()[1]

    @property
    def best_fit(self) -> float:
        """Where chi2 is smallest, between the points of the grid."""
        return self._vertex()[0]

    def interval(self, delta_chi2: float = 1.0) -> tuple[float | None, float | None]:
        """Where Delta chi2 crosses a level on either side, by a cubic spline; None where it does not."""
        lowest, delta = int(np.argmin(self.chi2)), self.delta - delta_chi2
        sides = []
        for order in (range(lowest, -1, -1), range(lowest, len(self.grid))):
            at = list(order)
            crossed = [i for i, j in zip(at[:-1], at[1:], strict=True) if delta[i] < 0 <= delta[j]]
            if not crossed:
                sides.append(None)
                continue
            i = crossed[0]
            spline = scipy.interpolate.CubicSpline(self.grid, delta)
            j = at[at.index(i) + 1]
            sides.append(float(scipy.optimize.brentq(spline, *sorted((self.grid[i], self.grid[j])))))
        return sides[0], sides[1]

    def _vertex(self) -> tuple[float, float]:
        lowest = int(np.clip(np.argmin(self.chi2), 1, len(self.grid) - 2))
        if lowest != int(np.argmin(self.chi2)):  # on the edge: no parabola
            at = int(np.argmin(self.chi2))
            return float(self.grid[at]), float(self.chi2[at])
        a, b, c = np.polyfit(self.grid[lowest - 1 : lowest + 2], self.chi2[lowest - 1 : lowest + 2], 2)
        return float(-b / (2.0 * a)), float(c - b**2 / (4.0 * a))


def profile(posterior: Posterior, name: str, grid, start: Mapping[str, float]) -> Profile:
    """Return the profile likelihood of one parameter on an ascending grid (n,), from `start` outwards.

    Each point begins at its neighbour's best fit; the minimiser (L-BFGS-B) has exact gradients. Raises
    UnknownName for a parameter that is not sampled, ConfigError for fewer than 5 points or points outside a
    flat prior, DataError where no start has a finite likelihood.
    """
    prior, grid = posterior.prior, np.asarray(grid, np.float64)
    if name not in prior.names:
        raise unknown_name("sampled parameter", name, prior.names)
    if grid.ndim != 1 or len(grid) < 5 or not (np.diff(grid) > 0).all():
        raise ConfigError(f"profile of {name}: give 5 ascending values or more")
    low, high = prior.bounds[name]
    if low is not None and not (low <= grid[0] and grid[-1] <= high):
        raise ConfigError(
            f"profile of {name}: [{grid[0]:g}, {grid[-1]:g}] leaves its prior [{low:g}, {high:g}]"
        )
    others = tuple(n for n in prior.names if n != name)
    centre, scale, bounds = _box(posterior, others)
    call = _chi2(posterior, name, others, centre, scale)
    chi2, best = np.full(len(grid), np.inf), np.zeros((len(grid), len(others)))
    middle = int(np.argmin(np.abs(grid - start[name])))
    guess = np.array([(start[n] - c) / s for n, c, s in zip(others, centre, scale, strict=True)])
    for order in (range(middle, len(grid)), range(middle - 1, -1, -1)):
        at = guess if order.start == middle else best[middle]
        for i in order:
            at, chi2[i] = _minimise(call, grid[i], at, bounds)
            best[i] = at
    if not np.isfinite(chi2[middle]):
        raise DataError(f"profile of {name}: no finite likelihood at {grid[middle]:g}; start elsewhere")
    return Profile(name, grid, chi2, others, centre + scale * best)


def best_fit(posterior: Posterior, start: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Return the sampled parameters at the smallest chi2 reached from `start`, and that chi2.

    Normal priors count as data. Raises DataError where the likelihood is not finite at the start.
    """
    names = posterior.prior.names
    centre, scale, bounds = _box(posterior, names)
    call = _chi2(posterior, None, names, centre, scale)
    guess = np.array([(start[n] - c) / s for n, c, s in zip(names, centre, scale, strict=True)])
    at, chi2 = _minimise(call, 0.0, guess, bounds)
    if not np.isfinite(chi2):
        raise DataError("no finite likelihood at the start of the search; start inside the emulator's domain")
    return dict(zip(names, (centre + scale * at).tolist(), strict=True)), chi2


def _box(posterior: Posterior, names) -> tuple[np.ndarray, np.ndarray, list]:
    """Centre and scale of each parameter, and the bounds of the scaled ones."""
    known = {}
    for group, term in posterior.prior.sampled:
        if isinstance(term, Uniform):
            half = 0.5 * (term.high - term.low)
            known[group[0]] = (0.5 * (term.low + term.high), half, (EDGE - 1.0, 1.0 - EDGE))
        else:
            mean = np.atleast_1d(term.mean)
            std = np.atleast_1d(getattr(term, "std", None) or np.sqrt(np.diag(np.asarray(term.covariance))))
            known |= {n: (m, s, (-SPAN, SPAN)) for n, m, s in zip(group, mean, std, strict=True)}
    entries = [known[name] for name in names]
    return np.array([e[0] for e in entries]), np.array([e[1] for e in entries]), [e[2] for e in entries]


def _chi2(posterior: Posterior, name: str | None, others, centre, scale):
    """Compiled (value of the parameter, scaled others) -> (chi2, its gradient)."""
    prior = posterior.prior
    normal = [(group, term) for group, term in prior.sampled if not isinstance(term, Uniform)]

    def chi2(scaled, value):
        values = {n: centre[i] + scale[i] * scaled[i] for i, n in enumerate(others)}
        values |= {name: value} if name else {}
        values |= {n: jnp.asarray(v, value.dtype) for n, v in prior.fixed.items()}
        total = -2.0 * posterior.log_likelihood(values)
        for group, term in normal:
            total = total + jnp.sum(term.unconstrain(jnp.stack([values[n] for n in group])) ** 2)
        return total

    compiled = jax.jit(jax.value_and_grad(chi2))

    def call(scaled, value):
        with jax.enable_x64(True):
            found, slope = compiled(jnp.asarray(scaled, jnp.float64), jnp.asarray(value, jnp.float64))
        return (float(found), np.asarray(slope)) if np.isfinite(found) else (1e30, np.zeros(len(scaled)))

    return call


def _minimise(call, value: float, start: np.ndarray, bounds: list) -> tuple[np.ndarray, float]:
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-5}
    found = scipy.optimize.minimize(
        call, start, (value,), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return found.x, float(found.fun) if found.fun < 1e29 else np.inf
