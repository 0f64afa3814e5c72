"""Why an emulator says what it says: responses, integrated gradients, and what moves a halo.

Integrated gradients (Sundararajan, Taly & Yan 2017, eq. 1) share out f(x) - f(x0) among the inputs,

    A_i = (x_i - x0_i) int_0^1 df/dx_i (x0 + s (x - x0)) ds,

by Gauss-Legendre quadrature. That sum_i A_i = f(x) - f(x0) (completeness) tests gradients and quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from galaxyjax.emulator.emulator import Emulator
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.validate.gradients import slopes_of

NODES = 48
FIELD_NODES = 12


class SpectrumExplained(NamedTuple):
    """Of ln P at one cosmology and redshift; k (nk,) h/Mpc.

    response: parameter -> d ln P / d parameter (nk,), per its unit. saliency: the same times the width of its
    domain. attribution: parameter -> its share (nk,) of `change`, ln P(theta) - ln P(base) (nk,).
    completeness: the largest of abs(sum of shares - change), over k.
    """

    theta: dict[str, float]
    base: dict[str, float]
    k: np.ndarray
    response: dict[str, np.ndarray]
    saliency: dict[str, np.ndarray]
    attribution: dict[str, np.ndarray]
    change: np.ndarray
    completeness: float


def explain_spectrum(
    emulator: Emulator,
    theta: Mapping[str, float],
    *,
    k: ArrayLike,
    z: float,
    output: str,
    base: Mapping[str, float] | None = None,
    nodes: int = NODES,
) -> SpectrumExplained:
    """Return what each parameter does to ln P at theta, and its share of the way there from `base`.

    theta: every input of the output. base: the middle of the domain when not given; the straight way between
    lies in the domain, which is convex. Raises as `Emulator.predict`.
    """
    contract = emulator.contract
    names = contract.output(output).inputs
    base = {name: float({**contract.centre, **(base or {})}[name]) for name in names}
    theta = {name: float(theta[name]) for name in names}
    start, end = (jnp.array([point[name] for name in names]) for point in (base, theta))

    def log_power(vector):
        point = dict(zip(names, vector, strict=True))
        return jnp.log(emulator.predict(point, k=k, z=z, output=output)[0])

    # Numbers at hand are checked against the domain; traced ones would only be NaN.
    change = log_power(list(theta.values())) - log_power(list(base.values()))
    shares = integrated_gradients(log_power, start, end, nodes)  # (nk, parameters)
    slopes = slopes_of(emulator, theta, z, k, output)
    response = {name: slopes[name][0] for name in names}
    width = {name: contract.domain[name].high - contract.domain[name].low for name in names}
    return SpectrumExplained(
        theta,
        base,
        np.asarray(k, float),
        response,
        {name: response[name] * width[name] for name in names},
        {name: np.asarray(shares[:, i]) for i, name in enumerate(names)},
        np.asarray(change),
        float(jnp.abs(shares.sum(axis=1) - change).max()),
    )


def integrated_gradients(function: Callable, start: jax.Array, end: jax.Array, nodes: int) -> jax.Array:
    """Return the shares (m, d) of the inputs (d,) in the change of `function`, (d,) -> (m,)."""
    at, weight = _quadrature(nodes, end.dtype)

    @jax.jit
    def mean_slope(start, end):
        slope = lambda s: jax.jacfwd(function)(start + s * (end - start))  # noqa: E731
        return jnp.tensordot(weight, jax.lax.map(slope, at), axes=1)

    return mean_slope(start, end) * (end - start)


def _quadrature(nodes: int, dtype) -> tuple[jax.Array, jax.Array]:
    """Places in [0, 1] and weights that sum to 1."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return jnp.asarray(0.5 * (x + 1.0), dtype), jnp.asarray(0.5 * w, dtype)


class HaloExplained(NamedTuple):
    """Around the densest place of one box; n cells a side, fields (n, n, n), lengths in Mpc/h.

    peak: its place (3,). home: where its matter came from, the mean Lagrangian place (3,). members: how many
    particles. moves: length of the gradient of their mean place by each cell of the white noise, Mpc/h.
    reach: half of the square of that gradient lies within this distance of home. attribution: each cell's
    share of `height`, the contrast of the peak; completeness: abs(sum of shares - height) / height.
    """

    box_size: float
    peak: np.ndarray
    home: np.ndarray
    members: int
    moves: np.ndarray
    reach: float
    attribution: np.ndarray
    height: float
    completeness: float


def explain_halo(
    emulator: FieldEmulator,
    theta: Mapping[str, float],
    white_noise: jax.Array,
    *,
    z: float = 0.0,
    radius: float = 4.0,
    mesh: Mesh,
    nodes: int = FIELD_NODES,
) -> HaloExplained:
    """Return what of the initial field moves the densest halo of a box, and what makes it dense.

    The halo: the particles within `radius`, Mpc/h, of the densest cell of the density painted by TSC. Its
    contrast is that of this cell and its neighbours, weighted 1/4, 1/2, 1/4 along each axis. The way of
    the attribution begins at no perturbation at all, where the contrast is 0. Raises as
    `FieldEmulator.predict`.
    """
    n = white_noise.shape[0]
    box = n * emulator.spacing
    predict = partial(emulator.predict, theta, box_size=box, z=z, mesh=mesh)
    made = predict(white_noise=white_noise)
    field = np.asarray(made.density(n, "tsc"))
    cell = np.unravel_index(np.argmax(field), field.shape)
    peak = np.array(cell) * emulator.spacing
    away = _nearest(np.asarray(made.positions) - peak, box)
    inside = np.sqrt((away**2).sum(-1)) < radius
    lattice = np.stack(np.meshgrid(*(np.arange(n) * emulator.spacing,) * 3, indexing="ij"), axis=-1)
    home = (peak + _nearest(lattice[inside] - peak, box).mean(axis=0)) % box
    mask = jnp.asarray(inside, white_noise.dtype)[..., None]

    def place(noise):
        """Mean displacement of the members, (3,)."""
        return jnp.sum(predict(white_noise=noise).displacement * mask, axis=(0, 1, 2)) / mask.sum()

    window = _window(cell, n, white_noise.dtype)

    def height(noise):
        return jnp.sum(predict(white_noise=noise).density(n, "tsc") * window)

    moves = _length_of_slopes(place)(white_noise)
    at, weight = _quadrature(nodes, white_noise.dtype)
    mean = jax.jit(
        lambda noise: jnp.tensordot(weight, jax.lax.map(lambda s: jax.grad(height)(s * noise), at), axes=1)
    )
    shares = np.asarray(mean(white_noise) * white_noise, float)
    found = float(jax.jit(height)(white_noise))
    distance = np.sqrt((_nearest(lattice - home, box) ** 2).sum(-1)).ravel()
    return HaloExplained(
        box,
        peak,
        home,
        int(inside.sum()),
        np.asarray(moves),
        _median(distance, np.square(np.asarray(moves, float)).ravel()),
        shares,
        found,
        abs(shares.sum() - found) / found,
    )


def _length_of_slopes(place: Callable) -> Callable:
    """noise -> the root of the sum over three components of the squared gradient, in one program."""

    @jax.jit
    def run(noise):
        _, back = jax.vjp(place, noise)
        slopes = jax.lax.map(lambda unit: back(unit)[0], jnp.eye(3, dtype=noise.dtype))
        return jnp.sqrt(jnp.sum(jnp.square(slopes), axis=0))

    return run


def _window(cell, n: int, dtype) -> jax.Array:
    """Weights (n, n, n), 1/4, 1/2, 1/4 along each axis about a cell; they sum to 1."""
    lines = []
    for index in cell:
        line = np.zeros(n)
        line[[(index - 1) % n, index, (index + 1) % n]] = 0.25, 0.5, 0.25
        lines.append(line)
    return jnp.asarray(np.einsum("i,j,k->ijk", *lines), dtype)


def _nearest(difference: np.ndarray, box: float) -> np.ndarray:
    """Differences of places in a periodic box, the shortest way."""
    return (difference + 0.5 * box) % box - 0.5 * box


def _median(distance: np.ndarray, weight: np.ndarray) -> float:
    """The distance within which half of the weight lies."""
    order = np.argsort(distance)
    total = np.cumsum(weight[order])
    return float(distance[order][np.searchsorted(total, 0.5 * total[-1])])
