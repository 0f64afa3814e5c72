"""Forecasts: the Fisher matrix of a Gaussian likelihood, with exact derivatives of its theory vector.

F_ij = (d mu / d theta_i)^T C^-1 (d mu / d theta_j) for a covariance that no parameter changes (Tegmark,
Taylor & Heavens 1997, eq. 15), plus the inverse covariance of what priors know. A flat
prior counts as the normal one of the same variance, width^2 / 12, or not at all: without it a survey that
does not measure a direction, such as h from cosmic shear, has no error there worth the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.errors import ConfigError, DataError, UnknownName, unknown_name
from galaxyjax.infer.likelihood import GaussianLikelihood
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior

Values = Mapping[str, float]
DEGENERATE = 1e-12  # of the correlation matrix's largest eigenvalue: below it a direction is not measured


@dataclass(frozen=True)
class Fisher:
    """Information on named parameters at one point: values (d,), matrix (d, d), float64."""

    names: tuple[str, ...]
    values: np.ndarray
    matrix: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), the inverse; DataError, naming the combination, where one is not measured at all."""
        scale = np.sqrt(np.diag(self.matrix))
        if not (scale > 0).all():
            raise DataError(f"the data say nothing about {self.names[int(np.argmin(scale))]}; hold it fixed")
        size, axes = np.linalg.eigh(self.matrix / np.outer(scale, scale))
        if size[0] < DEGENERATE * size[-1]:
            direction = axes[:, 0]
            main = np.argsort(-np.abs(direction))[:3]
            terms = " ".join(f"{direction[i]:+.2g} {self.names[i]}" for i in main)
            raise DataError(
                f"the data do not measure {terms} (scaled); hold one of them fixed, or give a prior"
            )
        return (axes / size) @ axes.T / np.outer(scale, scale)

    @property
    def sigma(self) -> dict[str, float]:
        """Standard deviation of each parameter, all others free."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    @property
    def conditional_sigma(self) -> dict[str, float]:
        """Standard deviation of each parameter, all others known."""
        return dict(zip(self.names, (np.diag(self.matrix) ** -0.5).tolist(), strict=True))

    @property
    def correlation(self) -> np.ndarray:
        """(d, d)."""
        covariance = self.covariance
        return covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))

    def marginal(self, names: Sequence[str]) -> np.ndarray:
        """Covariance of some of the parameters, in the order asked for. Raises UnknownName."""
        at = [self._index(name) for name in names]
        return self.covariance[np.ix_(at, at)]

    def fixed(self, names: Sequence[str]) -> Fisher:
        """The same information with some parameters known exactly. Raises UnknownName."""
        gone = {self._index(name) for name in names}
        at = [i for i in range(len(self.names)) if i not in gone]
        kept = tuple(self.names[i] for i in at)
        return Fisher(kept, self.values[at], self.matrix[np.ix_(at, at)])

    def figure_of_merit(self, names: Sequence[str]) -> float:
        """det(covariance)^(-1/2) of the named parameters, all others free."""
        return float(np.linalg.det(self.marginal(names)) ** -0.5)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise unknown_name("parameter of the forecast", name, self.names)
        return self.names.index(name)


def fisher(
    vector: Callable,
    likelihood: GaussianLikelihood,
    values: Values,
    names: Sequence[str],
    prior: Prior | None = None,
    flat: bool = True,
) -> Fisher:
    """Return the Fisher matrix at `values`, by forward derivatives in float64.

    Args:
        vector: named scalar values -> theory vector (n,), a JAX function.
        likelihood: of the data. values: name -> number, all that `vector` takes. names: the free parameters.
        prior: its terms add their information, for the names that are free, the others known.
        flat: whether flat terms do.

    Raises UnknownName for a name without a value, DataError where a derivative is not finite.
    """
    check_names(names, values)
    with jax.enable_x64(True):
        held = {name: jnp.asarray(value, jnp.float64) for name, value in values.items()}
        free = {name: held.pop(name) for name in names}
        slopes = jax.jit(jax.jacfwd(lambda free, held: vector({**held, **free})))(free, held)
        slopes = np.stack([np.asarray(slopes[name]) for name in names])
    return from_slopes(slopes, likelihood, values, names, prior, flat)


def by_differences(
    vector: Callable,
    likelihood: GaussianLikelihood,
    values: Values,
    steps: Mapping[str, float],
    prior: Prior | None = None,
    flat: bool = True,
) -> Fisher:
    """As `fisher`, from central differences with `steps` (name -> width, the free parameters): for theories
    without derivatives, such as a Boltzmann code.
    """
    check_names(steps, values)
    slopes = [
        (
            np.asarray(vector({**values, name: values[name] + step}))
            - np.asarray(vector({**values, name: values[name] - step}))
        )
        / (2.0 * step)
        for name, step in steps.items()
    ]
    return from_slopes(np.stack(slopes), likelihood, values, tuple(steps), prior, flat)


def from_slopes(
    slopes, likelihood: GaussianLikelihood, values: Values, names, prior: Prior | None, flat: bool
) -> Fisher:
    """Return the Fisher matrix of slopes d mu / d theta, (d, n)."""
    if not np.isfinite(slopes).all():
        worst = names[int(np.argmin(np.isfinite(slopes).all(axis=1)))]
        raise DataError(f"the slope with {worst} is not finite: is the point inside the emulator's domain?")
    whitened = (slopes * likelihood.scale) @ np.asarray(likelihood.whitening).T
    matrix = whitened @ whitened.T + prior_information(prior, names, flat)
    point = np.array([float(values[name]) for name in names])
    return Fisher(tuple(names), point, matrix)


def prior_information(prior: Prior | None, names: Sequence[str], flat: bool = True) -> np.ndarray:
    """(d, d) inverse covariance of a prior, flat terms too where `flat`; others than `names` are known."""
    names, matrix = list(names), np.zeros((len(names), len(names)))
    for group, term in prior.sampled if prior is not None else ():
        if isinstance(term, Normal):
            inverse = np.array([[term.std**-2]])
        elif isinstance(term, CorrelatedNormal):
            inverse = np.linalg.inv(np.asarray(term.covariance))
        elif flat:
            inverse = np.array([[12.0 / (term.high - term.low) ** 2]])
        else:
            continue
        here = [i for i, name in enumerate(group) if name in names]
        at = [names.index(group[i]) for i in here]
        matrix[np.ix_(at, at)] += inverse[np.ix_(here, here)]
    return matrix


def check_names(names, values: Values) -> None:
    """Raise UnknownName for a free parameter without a value, ConfigError for one named twice."""
    names = list(names)
    for name in names:
        if name not in values:
            raise UnknownName(f"no value for the free parameter {name!r}; given: {', '.join(sorted(values))}")
        if names.count(name) > 1:
            raise ConfigError(f"the free parameter {name!r} is named twice")
