"""The Limber projection: from P(k, z) and distributions of sources to the weight of each redshift in C_ell.

With x the comoving distance in units of c / H0, E = H / H0, and q_i a bin's kernel (lensing and alignment),

    C_ij(ell) = int dx q_i q_j / x^2 P(k = (ell + 1/2) / x, z) (H0 / c)^3,
    q_i(x) = 3/2 Omega_m (1 + z) x int_z dz' n_i(z') (1 - x / x') + F(z) n_i(z) E(z)

(Kilbinger 2015, Rep. Prog. Phys. 78, 086901; LoVerde & Afshordi 2008, PRD 78, 123506, for ell + 1/2;
`alignment` for F).

P is smooth in z and n_i is not. So the kernels are integrated on a fine grid, Gauss-Legendre points between
the samples of n(z), where their products are polynomials that it integrates exactly, and P is asked for at a
few nodes only, a cubic spline in sqrt(z) between them. The spline is folded into the weights: C_ij(ell) =
sum_m weight_ij,m P((ell + 1/2) / x_m, z_m).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import chebyshev
from scipy.interpolate import CubicSpline

from galaxyjax.core import units
from galaxyjax.core.background import expansion, growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.theory.alignment import C1_RHO_CRIT, alignment_amplitude
from galaxyjax.theory.redshifts import Redshifts

Power = Callable[[Array, Array], Array]
"""power(k (nz, nell) in h/Mpc, z (nz,)) -> P (nz, nell) in (Mpc/h)^3."""

# Nodes in ln(1 + z) of the polynomials that carry distances (to z = 6) and growth (to z = 3): within 2e-6 and
# 2e-5 in the corners of the matter_power emulator's domain, 1e-9 and 1e-6 near LCDM.
_DISTANCE_NODES = 20
_GROWTH_NODES = 10


@dataclass(frozen=True)
class Extension:
    """What the projection assumes where the spectrum is not known; part of a likelihood, so chosen there.

    k_max: largest wavenumber in h/Mpc that the power is asked for. Beyond it P is a power law in k with the
    slope that it has between `slope_from` k_max and k_max at that redshift. z_max: the P integral stops at
    the last sample of n(z) below it, while lensing efficiencies use all of n(z). Against CAMB to k = 50 and
    z = 6, this moves the chi2 of KiDS-1000 by 0.005 (tests/theory/test_policy.py).
    """

    k_max: float = 10.0
    z_max: float = 3.0
    slope_from: float = 0.8

    def __post_init__(self):
        if not (self.k_max > 0.0 and self.z_max > 0.0 and 0.0 < self.slope_from < 1.0):
            raise ConfigError(f"{self}: k_max and z_max must be above 0 and slope_from between 0 and 1")

    def clip(self, k: Array) -> Array:
        """Return k, at most k_max: where a table that ends there should be read."""
        return jnp.minimum(k, self.k_max)

    def table(self, power: Power, k: Array, z: Array) -> Array:
        """Return P (nz, nell) in (Mpc/h)^3 at k (nz, nell) in h/Mpc and z (nz,), extended beyond k_max."""
        ends = jnp.asarray([self.slope_from * self.k_max, self.k_max], k.dtype)
        inside = self.clip(k)
        asked = jnp.concatenate([inside, jnp.broadcast_to(ends, (*k.shape[:-1], 2))], axis=-1)
        values = power(asked, z)
        slope = jnp.log(values[..., -1:] / values[..., -2:-1]) / -math.log(self.slope_from)
        return values[..., :-2] * jnp.exp(slope * jnp.log(k / inside))


class Kernels(NamedTuple):
    """What tracers are made of, at the fine points of a line of sight; lengths in units of c / H0.

    lensing: (nbin, npoint) of convergence. number: (nbin, npoint), n(z) E(z). one_plus_z, growth: (npoint,).
    measure: (npoint,) dx / x^2 of the integral.
    """

    lensing: Array
    number: Array
    one_plus_z: Array
    growth: Array
    measure: Array


@dataclass(frozen=True, eq=False)
class LineOfSight:
    """Everything about the projection of one survey that no parameter changes. Build with `from_redshifts`.

    z_nodes: (nz,) redshifts at which the power is wanted. pairs: (npair, 2) bins from 0. Points are the Gauss
    points in the intervals between samples of n(z): (ni, ng) in all, (nu, ng) below z_max.
    """

    redshifts: Redshifts
    pairs: np.ndarray
    z_nodes: np.ndarray
    points: np.ndarray
    rule: tuple[np.ndarray, np.ndarray, np.ndarray]
    used: int
    distance_z: np.ndarray
    distance: tuple[np.ndarray, np.ndarray, np.ndarray]
    growth_z: np.ndarray
    growth: np.ndarray
    spline: np.ndarray
    c1_rho_crit: float

    @classmethod
    def from_redshifts(
        cls,
        redshifts: Redshifts,
        pairs: np.ndarray,
        z_max: float = 3.0,
        n_z: int = 24,
        n_gauss: int = 3,
        c1_rho_crit: float = C1_RHO_CRIT,
    ) -> "LineOfSight":
        """Return the projection of `pairs` (npair, 2), bins from 0, with n_z power nodes up to z_max."""
        nodes, h = redshifts.nodes, redshifts.intervals
        used = int(np.searchsorted(nodes, z_max, side="right")) - 1
        if used < 1 or n_z < 8:
            raise ConfigError(
                f"z_max = {z_max} leaves {max(used, 0)} samples of n(z), n_z = {n_z}: at least 1 and 8"
            )
        t, w = np.polynomial.legendre.leggauss(n_gauss)
        t, w = 0.5 * (t + 1.0), 0.5 * w
        points = nodes[:-1, None] + h[:, None] * t
        u_nodes = np.linspace(0.0, 1.0, n_z + 1)
        z_nodes = nodes[used] * u_nodes[1:] ** 2
        u_points = np.sqrt(points[:used] / nodes[used])
        # P -> 0 as z -> 0 at fixed ell, so the spline has a node there that asks for nothing.
        spline = CubicSpline(u_nodes, np.eye(n_z + 1)[:, 1:])(u_points.ravel())
        distance_z = _cheb_nodes(nodes[-1], _DISTANCE_NODES)
        growth_z = _cheb_nodes(nodes[used], _GROWTH_NODES)
        return cls(
            redshifts=redshifts,
            pairs=np.asarray(pairs, int),
            z_nodes=z_nodes,
            points=points,
            rule=(t, w, _partial_rule(t)),
            used=used,
            distance_z=distance_z,
            distance=(
                _cheb_integral(nodes[-1], distance_z, points.ravel()),
                _cheb_integral(nodes[-1], distance_z, z_nodes),
                _cheb_values(nodes[-1], distance_z, points[:used].ravel()),
            ),
            growth_z=growth_z,
            growth=_cheb_values(nodes[used], growth_z, points[:used].ravel()),
            spline=spline,
            c1_rho_crit=c1_rho_crit,
        )

    def node_distances(self, cosmology: Cosmology) -> Array:
        """Return the comoving distance to z_nodes in Mpc/h, (nz,)."""
        speed = self._speed(cosmology)
        return units.HUBBLE_DISTANCE * dot(self.distance[1], speed)

    def k_nodes(self, cosmology: Cosmology, ell: Array) -> Array:
        """Return k = (ell + 1/2) / chi in h/Mpc, (nz, nell), not clipped."""
        chi = self.node_distances(cosmology)
        return (jnp.asarray(ell, chi.dtype) + 0.5) / chi[:, None]

    def weights(
        self,
        cosmology: Cosmology,
        shift: Array,
        A_IA: Array,
        eta_IA: Array | float = 0.0,
        m: Array | None = None,
    ) -> Array:
        """Return weight (npair, nz) of shear with shear: C_ell = weight @ P, for P in units of (c / H0)^3.

        shift: (nbin,) shifts of n(z). A_IA, eta_IA: scalars of the intrinsic alignment. m: (nbin,)
        multiplicative biases of the shear, or None.
        """
        kernels = self.kernels(cosmology, shift)
        shear = self.shear_kernel(kernels, cosmology, A_IA, eta_IA, m)
        return self.fold(shear, shear, kernels.measure, self.pairs)

    def kernels(self, cosmology: Cosmology, shift: Array) -> "Kernels":
        """Return what every tracer is made of, at the fine points; shift: (nbin,) shifts of n(z)."""
        dtype = result_dtype(cosmology, shift)
        shape = (self.used, len(self.rule[0]))
        n_nodes = self.redshifts.shifted(jnp.asarray(shift, dtype))
        t = jnp.asarray(self.rule[0], dtype)
        n = n_nodes[:, :-1, None] * (1.0 - t) + n_nodes[:, 1:, None] * t

        speed = self._speed(cosmology).astype(dtype)
        x = dot(self.distance[0], speed).reshape(self.points.shape)
        one_plus_z = jnp.asarray(1.0 + self.points[: self.used], dtype)
        rate = one_plus_z / dot(self.distance[2], speed).reshape(shape)  # E(z)
        near = x[: self.used]

        growth = growth_factor(cosmology, jnp.asarray(self.growth_z, dtype))
        lensing = 1.5 * cosmology.Omega_m * one_plus_z * near * self._efficiency(n, x)
        measure = jnp.asarray(self.redshifts.intervals[: self.used, None] * self.rule[1], dtype)
        return Kernels(
            lensing=lensing.reshape(len(n), -1),
            number=(rate * n[:, : self.used]).reshape(len(n), -1),
            one_plus_z=one_plus_z.reshape(-1),
            growth=dot(self.growth, growth),
            measure=(measure / (rate * near**2)).reshape(-1),
        )

    def shear_kernel(
        self,
        kernels: "Kernels",
        cosmology: Cosmology,
        A_IA: Array,
        eta_IA: Array | float = 0.0,
        m: Array | None = None,
    ) -> Array:
        """Return the kernel of observed shear (nbin, npoint): lensing and alignment, times 1 + m."""
        alignment = alignment_amplitude(
            A_IA, cosmology.Omega_m, kernels.growth, self.c1_rho_crit, kernels.one_plus_z, eta_IA
        )
        kernel = kernels.lensing + alignment * kernels.number
        return kernel if m is None else kernel * (1.0 + jnp.asarray(m, kernel.dtype))[:, None]

    def fold(self, first: Array, second: Array, measure: Array, pairs: np.ndarray) -> Array:
        """Return weight (npair, nz) of kernels first (na, npoint) and second (nb, npoint).

        pairs: (npair, 2), rows of `first` and of `second`.
        """
        # Products by one-hot matrices: a gather's gradient is a scatter, which is slow.
        left, right = (
            dot(np.eye(len(kernel))[side], kernel)
            for kernel, side in zip((first, second), pairs.T, strict=True)
        )
        return dot(left * right * measure, self.spline)

    def _speed(self, cosmology: Cosmology) -> Array:
        """Return dx / dln(1 + z) = (1 + z) / E at distance_z."""
        z = jnp.asarray(self.distance_z, result_dtype(cosmology))
        return (1.0 + z) / expansion(cosmology, z)

    def _efficiency(self, n: Array, x: Array) -> Array:
        """Return int_z dz' n(z') (1 - x / x') at the points below z_max, (nbin, nu, ng)."""
        _, w, partial = self.rule
        h = jnp.asarray(self.redshifts.intervals, n.dtype)
        integrand = jnp.stack([n, n / x]) * h[:, None]  # (2, nbin, ni, ng)
        whole = jnp.sum(integrand * jnp.asarray(w, n.dtype), axis=-1)
        later = dot(whole, np.tri(len(h), self.used, -1))  # intervals behind this one
        tail = later[..., None] + dot(integrand[:, :, : self.used], partial.T)
        return tail[0] - x[: self.used] * tail[1]


def result_dtype(*trees) -> jnp.dtype:
    """Return the floating dtype in which cosmology and nuisance parameters meet; Python numbers defer."""
    return jnp.result_type(1.0, *jax.tree_util.tree_leaves(trees))


def dot(left, right) -> Array:
    """Return left @ right in full precision (accelerators default to less), in the dtype of the arrays."""
    dtype = jnp.result_type(*(x for x in (left, right) if isinstance(x, Array)))
    return jnp.matmul(
        jnp.asarray(left, dtype), jnp.asarray(right, dtype), precision=jax.lax.Precision.HIGHEST
    )


def _partial_rule(t: np.ndarray) -> np.ndarray:
    """Return R with int_{t_a}^1 f = sum_b R_ab f(t_b) for polynomials f that t (ng,) in (0, 1) determine."""
    cardinal = np.linalg.inv(
        np.vander(t, increasing=True)
    ).T  # rows: coefficients of the Lagrange polynomials
    powers = np.arange(1, len(t) + 1)
    return ((1.0 - t[:, None] ** powers) / powers) @ cardinal.T


def _cheb_nodes(z_end: float, count: int) -> np.ndarray:
    """Return `count` redshifts at Chebyshev nodes of ln(1 + z) on [0, z_end]."""
    return np.expm1(0.5 * np.log1p(z_end) * (1.0 + chebyshev.chebpts1(count)))


def _cheb_position(z_end: float, z: np.ndarray) -> np.ndarray:
    return 2.0 * np.log1p(z) / np.log1p(z_end) - 1.0


def _cheb_values(z_end: float, nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the matrix (len(z), len(nodes)) that interpolates from nodes to z in ln(1 + z)."""
    fit = np.linalg.inv(chebyshev.chebvander(_cheb_position(z_end, nodes), len(nodes) - 1))
    return chebyshev.chebvander(_cheb_position(z_end, z), len(nodes) - 1) @ fit


def _cheb_integral(z_end: float, nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the matrix that integrates over ln(1 + z) from 0 to z what `_cheb_values` interpolates."""
    count = len(nodes)
    fit = np.linalg.inv(chebyshev.chebvander(_cheb_position(z_end, nodes), count - 1))
    primitive = chebyshev.chebint(np.eye(count), lbnd=-1.0)  # (count + 1, count), one column per polynomial
    return 0.5 * np.log1p(z_end) * chebyshev.chebvander(_cheb_position(z_end, z), count) @ primitive @ fit
