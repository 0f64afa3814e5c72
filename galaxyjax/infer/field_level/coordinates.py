"""What the draws of a pilot teach a sampler's coordinates: scatter in shells, covariance, and lean.

The lean is how the field leans on the parameters, H_xx^-1 H_xy of -log p averaged over draws. Where the
forward model is not linear H_xx is far from 1 along H_xy, as parameters act on dense cells, which the data
know best; it differs from point to point and has flat directions, along which a full solution runs away. So
the best multiple of H_xy is taken, one step of steepest descent. Second derivatives are differences of
gradients, over a part of the posterior's own width: a mean over that width is what is wanted, and the program
of the gradient is there already, where one of second derivatives takes minutes to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.infer.diagnostics import convergence
from galaxyjax.infer.field_level.dynamics import Target, slope

WIDTH = 0.25  # of a parameter's standard deviation
STRAY = 0.005  # of a cell's, root mean square
PROBES = 4  # points over which H_xx is averaged
FIRST = 10.0  # draws that the covariance known before counts for


def scatter(shells: Callable[[Array], Array], fields: Sequence[Array], square: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the coordinates in each shell, held between 0.3 and 2, (nb,).

    shells: of a field, (nb,) the mean |mode|^2. fields: mean of each chain. square: (nb,) mean square of the
    draws; what the means share is the posterior's mean, about which they scatter.
    """
    # Of two chains' means: their own noise drops out of the product, as it does not of a square.
    size, pairs = fields[0].size, len(fields) * (len(fields) - 1)
    own = sum(np.asarray(shells(one), float) for one in fields)
    of_mean = (np.asarray(shells(sum(fields)), float) - own) / pairs if pairs else own
    return np.sqrt(np.clip(square - of_mean / size, 0.1, 4.0))


def covariance(u: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the covariance of draws u (chains, draws, d), and the one before for as long as they are few."""
    n = float(np.nan_to_num(np.min(convergence(u).ess_bulk), nan=1.0))
    found = np.cov(u.reshape(-1, u.shape[-1]), rowvar=False).reshape(before.shape)
    return (n * found + FIRST * before) / (n + FIRST)


def lean(target: Target, points: Sequence, shells: Callable[[Array], Array]) -> Array:
    """Return H_xx^-1 H_xy, (d, n, n, n), over points (field, parameters) of the target's coordinates.

    shells: of a field, (shells, n, n, n) its parts by wavenumber. Points count in turns to two halves: a part
    of H_xy on which these do not agree is noise, and left out.
    """
    rows = []
    for way in np.eye(len(points[0].parameters)):
        found = [_along_parameter(target, point, way) for point in points]
        rows.append(_descended(target, points[-PROBES:], _agreed(found, shells)))
    return jnp.stack(rows)


def _along_parameter(target: Target, point, way: np.ndarray) -> Array:
    step = jnp.asarray(WIDTH * way, point.parameters.dtype)
    ahead, behind = (point._replace(parameters=point.parameters + sign * step) for sign in (1.0, -1.0))
    return _difference(slope(target, ahead)[1].field, slope(target, behind)[1].field, WIDTH)


def _along_field(target: Target, points: Sequence, way: Array) -> Array:
    """H_xx times a field, mean over points."""
    size = way.size
    step = max(WIDTH, STRAY * size**0.5) / max(_norm(way), 1e-30)
    found = []
    for point in points:
        ahead, behind = (point._replace(field=point.field + sign * step * way) for sign in (1.0, -1.0))
        found.append(_difference(slope(target, ahead)[1].field, slope(target, behind)[1].field, step))
    return sum(found) / len(found)


def _descended(target: Target, points: Sequence, right: Array) -> Array:
    """The multiple of `right` that is nearest to H_xx^-1 `right`; 0 where H_xx is not positive along it."""
    curvature = _dot(right, _along_field(target, points, right))
    return right * (_dot(right, right) / curvature if curvature > 0.0 else 0.0)


def _agreed(found: Sequence[Array], shells: Callable[[Array], Array]) -> Array:
    """The mean of fields, each shell times the share of its power on which two halves of them agree."""
    mean = sum(found) / len(found)
    if len(found) < 2:
        return mean
    first, second = (shells(sum(half) / len(half)) for half in (found[0::2], found[1::2]))
    return _weighted(first, second, shells(mean))


@jax.jit
def _weighted(first: Array, second: Array, mean: Array) -> Array:
    axes = (1, 2, 3)
    own = jnp.sum((0.5 * (first + second)) ** 2, axes, keepdims=True)
    gain = jnp.clip(jnp.sum(first * second, axes, keepdims=True) / jnp.maximum(own, 1e-30), 0.0, 1.0)
    return jnp.sum(gain * mean, axis=0)


@jax.jit
def _difference(ahead: Array, behind: Array, step) -> Array:
    """Minus the slope of a slope; 0 where the model had no answer."""
    found = (behind - ahead) / (2.0 * step)
    return jnp.where(jnp.isfinite(found), found, 0.0)


def _dot(a: Array, b: Array) -> float:
    return float(_product(a, b))


def _norm(a: Array) -> float:
    return _dot(a, a) ** 0.5


@jax.jit
def _product(a: Array, b: Array) -> Array:
    return jnp.sum(a * b)
