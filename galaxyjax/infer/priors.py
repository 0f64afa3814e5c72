"""Priors as maps from a standard normal.

Every distribution is written as the image of independent standard normals: theta = T(u). So whatever the
priors are, the prior density of the sampler's coordinates u is exp(-|u|^2 / 2): no walls, unit scales,
correlations removed, and the Jacobian |dT/du| is already inside. A parameter that the data leave alone is
sampled at unit cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from galaxyjax.core.errors import ConfigError, UnknownName

LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Uniform:
    """Flat between `low` and `high`: theta = low + (high - low) Phi(u), with Phi the normal distribution
    function.
    """

    low: float
    high: float

    def __post_init__(self):
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"Uniform({self.low}, {self.high}): give finite bounds, low below high")

    @property
    def dimension(self) -> int:
        return 1

    def constrain(self, u):
        """(..., 1) standard normals -> (..., 1) values."""
        # Rounding may step over a bound by one unit in the last place; the emulator's domain would then
        # refuse it.
        return jnp.clip(self.low + (self.high - self.low) * ndtr(u), self.low, self.high)

    def unconstrain(self, value):
        """(..., 1) values -> (..., 1) standard normals; infinite on the bounds, NaN beyond."""
        return ndtri((value - self.low) / (self.high - self.low))

    def log_density(self, value):
        """(..., 1) values -> (...) normalised log density; -inf outside."""
        inside = (value >= self.low) & (value <= self.high)
        return jnp.where(inside, -math.log(self.high - self.low), -jnp.inf)[..., 0]

    def bounds(self) -> tuple[tuple[float | None, float | None], ...]:
        return ((self.low, self.high),)


@dataclass(frozen=True)
class Normal:
    """Normal with `mean` and standard deviation `std`."""

    mean: float
    std: float

    def __post_init__(self):
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(f"Normal({self.mean}, {self.std}): give a finite mean and a positive std")

    @property
    def dimension(self) -> int:
        return 1

    def constrain(self, u):
        """(..., 1) standard normals -> (..., 1) values."""
        return self.mean + self.std * u

    def unconstrain(self, value):
        """(..., 1) values -> (..., 1) standard normals."""
        return (value - self.mean) / self.std

    def log_density(self, value):
        """(..., 1) values -> (...) normalised log density."""
        return (-0.5 * (self.unconstrain(value) ** 2 + LOG_2PI) - math.log(self.std))[..., 0]

    def bounds(self) -> tuple[tuple[float | None, float | None], ...]:
        return ((None, None),)


@dataclass(frozen=True)
class CorrelatedNormal:
    """Normal of n parameters together: mean (n,), covariance (n, n), whitened by its Cholesky factor.

    Arrays are accepted and kept as tuples, so that a prior can be hashed. Raises ConfigError for shapes that
    do not fit, NaN, or a covariance that is not symmetric and positive definite.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self):
        mean, covariance = np.asarray(self.mean, float), np.asarray(self.covariance, float)
        if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
            raise ConfigError(
                f"CorrelatedNormal: mean {mean.shape} and covariance {covariance.shape}; give (n,) and (n, n)"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ConfigError("CorrelatedNormal: mean or covariance holds NaN or infinity")
        if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=0):
            raise ConfigError("CorrelatedNormal: the covariance is not symmetric")
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ConfigError("CorrelatedNormal: the covariance is not positive definite") from None
        object.__setattr__(self, "mean", tuple(mean.tolist()))
        object.__setattr__(self, "covariance", tuple(map(tuple, covariance.tolist())))

    @property
    def dimension(self) -> int:
        return len(self.mean)

    @property
    def factor(self) -> np.ndarray:
        """Lower Cholesky factor of the covariance, (n, n), float64."""
        return np.linalg.cholesky(np.asarray(self.covariance))

    def constrain(self, u):
        """(..., n) standard normals -> (..., n) values."""
        return jnp.asarray(self.mean, u.dtype) + u @ jnp.asarray(self.factor.T, u.dtype)

    def unconstrain(self, value):
        """(..., n) values -> (..., n) standard normals."""
        inverse = np.linalg.inv(self.factor)
        return (value - jnp.asarray(self.mean, value.dtype)) @ jnp.asarray(inverse.T, value.dtype)

    def log_density(self, value):
        """(..., n) values -> (...) normalised log density."""
        log_volume = float(np.log(np.diag(self.factor)).sum())
        return -0.5 * jnp.sum(self.unconstrain(value) ** 2 + LOG_2PI, -1) - log_volume

    def bounds(self) -> tuple[tuple[float | None, float | None], ...]:
        return ((None, None),) * self.dimension


@dataclass(frozen=True)
class Fixed:
    """A parameter held at `value`; it takes no coordinate."""

    value: float

    def __post_init__(self):
        if not math.isfinite(self.value):
            raise ConfigError(f"Fixed({self.value}): give a finite value")


Distribution = Uniform | Normal | CorrelatedNormal | Fixed


@dataclass(frozen=True)
class Prior:
    """Independent terms over named parameters, with one coordinate vector u for all that are sampled.

    Args:
        terms: mapping of a name to Uniform, Normal, Fixed or a plain number (fixed); or of a tuple of names
            to a CorrelatedNormal. The order of the mapping is the order of the coordinates.

    Raises ConfigError for a name given twice, or a term that does not fit its names. Hashable: a static
    argument of a jitted function, never traced.
    """

    terms: tuple[tuple[tuple[str, ...], Distribution], ...]

    def __post_init__(self):
        pairs = self.terms.items() if isinstance(self.terms, Mapping) else self.terms
        terms = tuple((_as_names(names), _as_distribution(names, term)) for names, term in pairs)
        seen: set[str] = set()
        for names, term in terms:
            dimension = 1 if isinstance(term, Fixed) else term.dimension
            if len(names) != dimension:
                raise ConfigError(f"prior of {', '.join(names)}: {len(names)} names for {dimension} values")
            for name in names:
                if name in seen:
                    raise ConfigError(f"prior: {name!r} is given twice")
                seen.add(name)
        object.__setattr__(self, "terms", terms)

    @property
    def sampled(self) -> tuple[tuple[tuple[str, ...], Distribution], ...]:
        """The terms that take coordinates."""
        return tuple((names, term) for names, term in self.terms if not isinstance(term, Fixed))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sampled parameters, in the order of the coordinates."""
        return tuple(name for names, _ in self.sampled for name in names)

    @property
    def fixed(self) -> dict[str, float]:
        """Name -> value of the parameters held fixed."""
        return {names[0]: term.value for names, term in self.terms if isinstance(term, Fixed)}

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    @property
    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Name -> (low, high) of every sampled parameter; None where unbounded."""
        return dict(zip(self.names, (b for _, term in self.sampled for b in term.bounds()), strict=True))

    def constrain(self, u) -> dict[str, jax.Array]:
        """(..., dimension) coordinates -> name -> (...) values, fixed ones included (as scalars of u's
        dtype).
        """
        u = jnp.asarray(u)
        values = {}
        start = 0
        for names, term in self.sampled:
            block = term.constrain(u[..., start : start + term.dimension])
            values |= {name: block[..., i] for i, name in enumerate(names)}
            start += term.dimension
        return values | {name: jnp.asarray(value, u.dtype) for name, value in self.fixed.items()}

    def unconstrain(self, values: Mapping[str, float]) -> jax.Array:
        """Name -> (...) values of the sampled parameters -> (..., dimension) coordinates.

        Raises UnknownName when a sampled parameter is missing.
        """
        return jnp.concatenate(
            [term.unconstrain(self._stack(names, values)) for names, term in self.sampled], -1
        )

    def log_density(self, values: Mapping[str, float]) -> jax.Array:
        """Normalised log prior density of named values, per unit of the parameters themselves; -inf
        outside.
        """
        return sum(term.log_density(self._stack(names, values)) for names, term in self.sampled)

    def log_density_u(self, u) -> jax.Array:
        """Normalised log prior density of the coordinates: log_density(T(u)) + log |dT/du|, a standard
        normal's.
        """
        return -0.5 * jnp.sum(jnp.asarray(u) ** 2, -1) - 0.5 * self.dimension * LOG_2PI

    def sample(self, key, shape: tuple[int, ...] = (), dtype=None) -> jax.Array:
        """Coordinates (*shape, dimension) drawn from the prior."""
        return jax.random.normal(key, (*shape, self.dimension), dtype or float)

    def _stack(self, names, values):
        for name in names:
            if name not in values:
                raise UnknownName(
                    f"no value for the sampled parameter {name!r}; given: {', '.join(sorted(values))}"
                )
        return jnp.stack([jnp.asarray(values[name]) for name in names], -1)


def _as_names(names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _as_distribution(names, term) -> Distribution:
    if isinstance(term, (Uniform, Normal, CorrelatedNormal, Fixed)):
        return term
    if isinstance(term, (int, float)) and not isinstance(term, bool):
        return Fixed(float(term))
    raise ConfigError(
        f"prior of {names}: {term!r} is not a number, Uniform, Normal, CorrelatedNormal or Fixed"
    )
