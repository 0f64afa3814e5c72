"""Tidal alignment and tidal torquing (TATT): the one-loop spectra of intrinsic alignment, differentiable.

Blazek et al. 2019 (PRD 100, 103506, eqs 15 to 30): a galaxy's shape follows the tidal field s_ij, weighted by
the density of galaxies, and its square,

    gamma_ij = C_1 (1 + b_TA delta) s_ij + C_2 (s_ik s_kj - delta_ij s^2 / 3).

With fields expanded to second order, each spectrum is an integral over q_1 + q_2 = k of P(q_1) P(q_2) times a
kernel of the triangle's shape alone (and, for those with delta, P(k) times an integral over one q). So
kernels are tabulated once, in NumPy, on a grid of q_1 / k and q_2 / k on which nothing is singular, averaged
over the triangle's orientation around k with the line of sight at right angles; JAX only reads P off.
FAST-PT (McEwen et al. 2016; Fang et al. 2017) does the same by FFTs and is the oracle.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

LOW, HIGH = 1e-5, 2e4  # of the smaller side q_1 / k of the triangle
_PHI = 12  # exact for the eighth harmonic, the highest in a product of two torques


class Templates(NamedTuple):
    """One-loop spectra (nk,) in (Mpc/h)^3 of the linear field at one redshift; they grow as D^4.

    delta_0E: of delta with the density-weighted tide. delta_E2: of delta with the torque. EE_0E and BB_0B:
    density-weighted tide with itself. EE_E2, BB_B2: torque with itself. EE_mixed, BB_mixed: of the two.
    """

    delta_0E: Array
    delta_E2: Array
    EE_0E: Array
    BB_0B: Array
    EE_E2: Array
    BB_B2: Array
    EE_mixed: Array
    BB_mixed: Array


@jax.jit
def templates(k: Array, log_k: Array, log_power: Array) -> Templates:
    """Return the eight spectra at k (nk,) in h/Mpc, from ln P (n,) of the linear field at ln k (n,).

    P is linear in ln-ln between samples and a power law beyond both ends: give 500 samples or so, from 1e-4
    to 10 h/Mpc or further. Differentiable in ln P.
    """
    k, log_k, log_power = jnp.asarray(k), jnp.asarray(log_k), jnp.asarray(log_power)
    dtype = log_power.dtype
    sides, kernels, single_r, single = (_as(x, dtype) for x in _tables())
    power = lambda q: jnp.exp(_interpolate(jnp.log(q), log_k, log_power))  # noqa: E731
    first = power(k[:, None] * sides[0][:, 0])  # (nk, nr): q_1 does not depend on the second index
    second = power(k[:, None, None] * sides[1])
    highest = jax.lax.Precision.HIGHEST
    pairs = jnp.einsum("tab,kab->tk", kernels, first[:, :, None] * second, precision=highest) * k**3
    alone = jnp.einsum("ta,ka->tk", single, power(k[:, None] * single_r), precision=highest)
    alone = alone * k**3 * power(k)
    return Templates(pairs[0] + alone[0], pairs[1] + alone[1], *pairs[2:])


def _as(x, dtype):
    return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, dtype), x)


def _interpolate(x: Array, nodes: Array, values: Array) -> Array:
    """Return values at x, straight between nodes and on beyond both ends."""
    at = jnp.clip(jnp.searchsorted(nodes, x) - 1, 0, len(nodes) - 2)
    slope = (values[at + 1] - values[at]) / (nodes[at + 1] - nodes[at])
    return values[at] + slope * (x - nodes[at])


@lru_cache(maxsize=1)
def _tables():
    """Return sides (2, nr, np), kernels (8, nr, np) with the measure, and r (n,), kernels (2, n) of one q."""
    r, w_r = _log_panels((LOW, 0.02, 0.5, 4.0, 200.0, HIGH), (64, 36, 28, 44, 44))
    x, w = np.polynomial.legendre.leggauss(24)
    # The larger side q_2 runs from where it equals q_1, or the triangle is flat, to flat again.
    low = np.maximum(1.0 - r, r)[:, None]
    half = 0.5 * (1.0 + r[:, None] - low)
    p = low + half * (x + 1.0)
    r = np.broadcast_to(r[:, None], p.shape)
    measure = r**2 * p * w_r[:, None] * half * w / (2.0 * np.pi**2)  # twice q_1 < q_2, d^3q / (2 pi)^3
    f2, tide, torque = _shapes(r, p)
    terms = [f2 * tide[0], f2 * torque[0]]
    means = [term.mean(axis=-1) for term in terms]
    for a, b in ((tide, tide), (torque, torque), (tide, torque)):
        means += [(a[0] * b[0]).mean(axis=-1), (a[1] * b[1]).mean(axis=-1)]
    kernels = 2.0 * np.stack(means) * measure
    return np.stack([r, p]), kernels, *_single()


def _single():
    """Return r = q / k (n,) and 4 Z(r) (2, n), the kernels of P(k) P(q) with delta, less their limit.

    Z is the mean over directions of F_2(k, q) times the kernel of (q, k + q). For q >> k it is a constant,
    which moves C_1 alone and is taken off, as FAST-PT does.
    """
    r, w_r = _log_panels((LOW, 0.1, 0.7, 1.0, 1.4, 10.0, 200.0, HIGH), (64, 24, 24, 24, 24, 36, 44))
    x, w = np.polynomial.legendre.leggauss(400)

    def mean(r):
        # Half the angles close to q = -k, where the third side vanishes.
        mu = 2.0 * (0.5 * (x + 1.0)) ** 2 - 1.0
        weight = 0.5 * w * (x + 1.0)  # dmu / 2
        p = np.sqrt(np.maximum(1.0 + r[:, None] ** 2 + 2.0 * r[:, None] * mu, 1e-300))
        f2 = 5.0 / 7.0 + 0.5 * mu * (r[:, None] + 1.0 / r[:, None]) + 2.0 / 7.0 * mu**2
        _, tide, torque = _shapes(np.broadcast_to(r[:, None], p.shape), p)
        return np.stack([(f2 * part[0].mean(axis=-1)) @ weight for part in (tide, torque)])

    ends = np.array([50.0, 100.0])
    values = mean(ends)
    limit = (ends[1] ** 2 * values[:, 1] - ends[0] ** 2 * values[:, 0]) / (ends[1] ** 2 - ends[0] ** 2)
    z = np.where(r < 100.0, mean(np.minimum(r, 100.0)) - limit[:, None], 0.0)
    tail = mean(np.array([100.0]))[:, 0] - limit  # falls as r^-2
    z = np.where(r < 100.0, z, tail[:, None] * (100.0 / r) ** 2)
    return r, 4.0 * z * w_r * r**3 / (2.0 * np.pi**2)


def _shapes(r: np.ndarray, p: np.ndarray):
    """Return F_2, and (E, B) of the symmetrised tide and torque, of triangles with sides 1, r and p.

    Shapes: r's with one more axis of _PHI orientations. k points along x, the line of sight along z; E = xx -
    yy and B = 2 xy, so that E = 1 for the tide of a single wave along x.
    """
    mu = np.clip((1.0 - r**2 - p**2) / (2.0 * r * p), -1.0, 1.0)
    along = (
        np.clip((1.0 + r**2 - p**2) / (2.0 * r), -1.0, 1.0),
        np.clip((1.0 + p**2 - r**2) / (2.0 * p), -1, 1),
    )
    phi = 2.0 * np.pi * np.arange(_PHI) / _PHI
    ones = np.ones(_PHI)
    directions = []
    for cosine, sign in zip(along, (1.0, -1.0), strict=True):
        sine = sign * np.sqrt(1.0 - cosine**2)[..., None]
        directions.append((cosine[..., None] * ones, sine * np.cos(phi), sine * np.sin(phi)))
    (ax, ay, _), (bx, by, _) = directions
    mu_ = mu[..., None]
    tide = 0.5 * (ax**2 - ay**2 + bx**2 - by**2), ax * ay + bx * by
    # s_1 s_2 with s = q q - 1 / 3: q_1 q_2 (q_1 . q_2) - (q_1 q_1 + q_2 q_2) / 3 + 1 / 9, symmetrised.
    torque = (
        mu_ * (ax * bx - ay * by) - (ax**2 - ay**2 + bx**2 - by**2) / 3.0,
        mu_ * (ax * by + ay * bx) - 2.0 * (ax * ay + bx * by) / 3.0,
    )
    f2 = 5.0 / 7.0 + 0.5 * mu * (r / p + p / r) + 2.0 / 7.0 * mu**2
    return f2[..., None], tide, torque


def _log_panels(edges, counts) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre points and weights in ln r, panel by panel."""
    points, weights = [], []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        x, w = np.polynomial.legendre.leggauss(count)
        half = 0.5 * np.log(high / low)
        points.append(low * np.exp(half * (x + 1.0)))
        weights.append(half * w)
    return np.concatenate(points), np.concatenate(weights)
