"""Expansion, distances and linear growth of a flat universe with photons, massive neutrinos and w0waCDM.

Pure JAX, compiled, and differentiable in every parameter and in z. What comes back has the dtype in which the
cosmology and z meet: float32 with float32, also while float64 is switched on.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from galaxyjax.core import units
from galaxyjax.core.cosmology import Cosmology

GROWTH_Z_MAX = 999.0
"""Growth is known for 0 <= z <= 999; outside it is NaN."""


@jax.jit
def expansion(cosmology: Cosmology, z: Array) -> Array:
    """Return E(z) = H(z) / H0, shape of z, dimensionless."""
    z, dtype = _prepare(cosmology, z)
    return jnp.sqrt(sum(_densities(cosmology, -jnp.log1p(z), dtype)))


@jax.jit
def early_expansion(cosmology: Cosmology, a: Array) -> Array:
    """Return a^2 E(a), shape of a, of order 0.01 as a -> 0, where E overflows slopes in float32."""
    a = jnp.asarray(a)
    h2 = cosmology.h**2
    kinetic, today = (
        _neutrinos(cosmology, a, a.dtype)[0],
        _neutrinos(cosmology, jnp.ones((), a.dtype), a.dtype)[0],
    )
    dark = 1.0 - cosmology.Omega_m - (units.OMEGA_GAMMA + today) / h2
    power = (1.0 - 3.0 * (cosmology.w0 + cosmology.wa)) * jnp.log(a) - 3.0 * cosmology.wa * (1.0 - a)
    return jnp.sqrt(cosmology.Omega_m * a + (units.OMEGA_GAMMA + kinetic) / h2 + dark * jnp.exp(power))


def hubble(cosmology: Cosmology, z: Array) -> Array:
    """Return H(z) in km/s per Mpc/h (100 at z = 0 for every h), shape of z."""
    return 100.0 * expansion(cosmology, z)


@jax.jit
def matter_fraction(cosmology: Cosmology, z: Array) -> Array:
    """Return Omega_m(z), the share of matter (with the neutrinos' rest mass) in the energy, shape of z."""
    z, dtype = _prepare(cosmology, z)
    matter, *rest = _densities(cosmology, -jnp.log1p(z), dtype)
    return matter / (matter + sum(rest))


@jax.jit
def comoving_distance(cosmology: Cosmology, z: Array) -> Array:
    """Return the comoving distance to each z in Mpc/h, shape of z.

    Hogg (1999), eq. 15, by Gauss-Legendre in ln(1 + z) from 0 to each z on its own: no grid, no order and no
    largest z. Sixteen nodes leave 2e-8 against CAMB at z <= 6 and 4e-6 at z = 1100.
    """
    z, dtype = _prepare(cosmology, z)
    nodes, weights = jnp.asarray(_LEGENDRE_X, dtype), jnp.asarray(_LEGENDRE_W, dtype)
    x = jnp.log1p(z)[..., None]
    way = x * nodes  # ln(1 + z') on the way
    rate = jnp.sqrt(sum(_densities(cosmology, -way, dtype)))
    return units.HUBBLE_DISTANCE * x[..., 0] * jnp.sum(weights * jnp.exp(way) / rate, axis=-1)


def angular_diameter_distance(cosmology: Cosmology, z: Array) -> Array:
    """Return the (proper) angular diameter distance to each z in Mpc/h, shape of z."""
    return comoving_distance(cosmology, z) / (1.0 + jnp.asarray(z))


@jax.jit
def growth_factor(cosmology: Cosmology, z: Array) -> Array:
    """Return the linear growth D(z) of all matter, 1 today, shape of z; NaN outside 0 <= z <= 999.

    One D for all scales: massive neutrinos cluster like the rest, as above their free-streaming scale.
    """
    z, dtype = _prepare(cosmology, z)
    table = _growth_table(cosmology, dtype)
    return _growth_at(table, z)[0] / ((1.0 + z) * table[0][-1])


@jax.jit
def growth_early(cosmology: Cosmology, z: Array) -> Array:
    """Return D(z) normalised to the scale factor a where matter ruled alone, shape of z; NaN beyond z = 999.

    In this normalisation D follows the potentials' decay, and P(k, z) the primordial amplitude.
    """
    z, dtype = _prepare(cosmology, z)
    return _growth_at(_growth_table(cosmology, dtype), z)[0] / (1.0 + z)


@jax.jit
def growth_rate(cosmology: Cosmology, z: Array) -> Array:
    """Return f(z) = d ln D / d ln a, shape of z; NaN outside 0 <= z <= 999."""
    z, dtype = _prepare(cosmology, z)
    g, slope = _growth_at(_growth_table(cosmology, dtype), z)
    return 1.0 + slope / g


def _prepare(cosmology: Cosmology, z: Array) -> tuple[Array, jnp.dtype]:
    """Return z as a floating array, and the dtype in which this cosmology and z meet."""
    z = jnp.asarray(z)
    dtype = jnp.result_type(1.0, z, *jax.tree_util.tree_leaves(cosmology))
    return z.astype(dtype), dtype


def _densities(cosmology: Cosmology, lna: Array, dtype: jnp.dtype) -> tuple[Array, Array, Array, Array]:
    """Return matter, photons, the neutrinos' kinetic energy and dark energy over today's critical density."""
    a, h2 = jnp.exp(lna), cosmology.h**2
    kinetic, today = _neutrinos(cosmology, a, dtype)[0], _neutrinos(cosmology, jnp.ones((), dtype), dtype)[0]
    dark = 1.0 - cosmology.Omega_m - (units.OMEGA_GAMMA + today) / h2
    # Linder (2003), eq. 6.
    drift = jnp.exp(-3.0 * ((1.0 + cosmology.w0 + cosmology.wa) * lna + cosmology.wa * (1.0 - a)))
    a3 = a**3
    return cosmology.Omega_m / a3, units.OMEGA_GAMMA / h2 / (a3 * a), kinetic / h2 / (a3 * a), dark * drift


def _neutrinos(cosmology: Cosmology, a: Array, dtype: jnp.dtype) -> tuple[Array, Array]:
    """Return a^4 h^2 times the neutrinos' kinetic energy (energy less rest mass) and pressure, shape of a.

    Both over today's critical density. With x = p a / T_nu and y = m a / T_nu the energy is its massless
    value times 120 / (7 pi^4) int x^2 sqrt(x^2 + y^2) / (e^x + 1) dx (Komatsu et al. 2011, eq. 25), done by
    an eight-point Gauss rule for that weight: at worst 5e-5 of the neutrinos, near y = 0.3.
    """
    x, weights = jnp.asarray(_FERMI_X, dtype), jnp.asarray(_FERMI_W, dtype)
    y = (cosmology.m_nu / (units.N_NU * units.K_BOLTZMANN_EV * units.T_NU) * a)[..., None]
    root = jnp.sqrt(x**2 + y**2)
    # root - y, without the cancellation that float32 would not survive.
    kinetic = jnp.sum(weights * x**2 / (root + y), axis=-1)
    pressure = jnp.sum(weights * x**2 / (3.0 * root), axis=-1)
    return units.OMEGA_NU_MASSLESS * kinetic, units.OMEGA_NU_MASSLESS * pressure


def _growth_table(cosmology: Cosmology, dtype: jnp.dtype) -> tuple[Array, Array, Array]:
    """Return g = D/a, dg/dlna and d2g/dlna2 at _GROWTH_STEPS + 1 equal steps of ln a, early to late.

    Solves D'' + (2 + dlnE/dlna) D' = 3/2 Omega_m(a) D (Linder & Jenkins 2003, eq. 4) for g, so that float32
    sees numbers near 1. The equation is linear, so a Runge-Kutta step is a 2 x 2 matrix: all are built at
    once and the scan only multiplies (8 us on a CPU, where a parallel prefix product takes five times that).
    It starts on the growing solution through matter-radiation equality, D = a + 2/3 a_eq (Meszaros 1974).
    """
    lna = jnp.asarray(_GROWTH_LNA, dtype)
    matter, photons, kinetic, dark = _densities(cosmology, lna, dtype)
    a = jnp.exp(lna)
    neutrinos = _neutrinos(cosmology, a, dtype)[1] / cosmology.h**2 / a**4
    pressure = photons / 3.0 + neutrinos + (cosmology.w0 + cosmology.wa * (1.0 - a)) * dark
    total = matter + photons + kinetic + dark
    # g'' = -(5/2 - 3/2 w) g' - 3/2 (1 - Omega_m - w) g, w = pressure / total; no cancellation in 1 - Omega_m.
    damping = 2.5 - 1.5 * pressure / total
    decay = 1.5 * (photons + kinetic + dark - pressure) / total

    rate = jnp.stack([jnp.zeros_like(a), jnp.ones_like(a), -decay, -damping], axis=-1).reshape(-1, 2, 2)
    first, middle, last = rate[:-1:2], rate[1::2], rate[2::2]
    k2 = middle + 0.5 * _GROWTH_STEP * _product(middle, first)
    k3 = middle + 0.5 * _GROWTH_STEP * _product(middle, k2)
    k4 = last + _GROWTH_STEP * _product(last, k3)
    steps = jnp.eye(2, dtype=dtype) + _GROWTH_STEP / 6.0 * (first + 2.0 * k2 + 2.0 * k3 + k4)

    def advance(state, step):
        state = step[:, 0] * state[0] + step[:, 1] * state[1]
        return state, state

    lag = 2.0 / 3.0 * ((photons + kinetic) / matter)[0]  # 2/3 a_eq / a
    start = jnp.stack([1.0 + lag, -lag])
    g, slope = jnp.concatenate([start[None], jax.lax.scan(advance, start, steps)[1]]).T
    return g, slope, -decay[::2] * g - damping[::2] * slope


def _product(left: Array, right: Array) -> Array:
    """Return the product of (..., 2, 2) matrices, written out: a batched dot is slower, and coarse on TPU."""
    return left[..., :, :1] * right[..., :1, :] + left[..., :, 1:] * right[..., 1:, :]


def _growth_at(table: tuple[Array, Array, Array], z: Array) -> tuple[Array, Array]:
    """Return g and dg/dlna at z, shapes of z, by cubic Hermite interpolation with the table's slopes."""
    position = (_GROWTH_LENGTH - jnp.log1p(z)) / _GROWTH_STEP
    left = jnp.clip(jnp.floor(position), 0, _GROWTH_STEPS - 1)
    t, index = position - left, left.astype(int)
    # Round-off at the ends is not outside.
    inside = (position > -1e-4) & (position < _GROWTH_STEPS + 1e-4)
    t = jnp.where(inside, t, jnp.nan)

    here, there = (1.0 + 2.0 * t) * (1.0 - t) ** 2, t**2 * (3.0 - 2.0 * t)
    leaving, arriving = t * (1.0 - t) ** 2 * _GROWTH_STEP, t**2 * (t - 1.0) * _GROWTH_STEP

    def between(value, derivative):
        steady = here * value[index] + there * value[index + 1]
        return steady + leaving * derivative[index] + arriving * derivative[index + 1]

    g, slope, curve = table
    return between(g, slope), between(slope, curve)


def _fermi_dirac_rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes x and weights of the Gauss rule for x^2 / (e^x + 1), scaled to give 1 for f = x.

    Stieltjes' recurrence on a fine Legendre grid, then Golub & Welsch (1969).
    """
    x, w = np.polynomial.legendre.leggauss(120)
    x, w = 25.0 * (x + 1.0), 25.0 * w
    w = w * x**2 / (np.exp(x) + 1.0)
    before, now, alpha, beta = np.zeros_like(x), np.ones_like(x), [], [1.0]
    for _ in range(count):
        norm = np.sum(w * now**2)
        alpha.append(np.sum(w * x * now**2) / norm)
        before, now = now, (x - alpha[-1]) * now - beta[-1] * before
        beta.append(np.sum(w * now**2) / norm)
    side = np.sqrt(beta[1:count])
    nodes, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(side, 1) + np.diag(side, -1))
    weights = vectors[0] ** 2
    return nodes, weights / np.sum(weights * nodes)


_FERMI_X, _FERMI_W = _fermi_dirac_rule(8)
_LEGENDRE_X, _LEGENDRE_W = np.polynomial.legendre.leggauss(16)
_LEGENDRE_X, _LEGENDRE_W = 0.5 * (_LEGENDRE_X + 1.0), 0.5 * _LEGENDRE_W
# Nodes and midpoints, as Runge-Kutta wants. 64 steps leave 1e-5 in D and 5e-5 in f at the prior's corners.
_GROWTH_STEPS = 64
_GROWTH_LENGTH = math.log1p(GROWTH_Z_MAX)
_GROWTH_STEP = _GROWTH_LENGTH / _GROWTH_STEPS
_GROWTH_LNA = np.linspace(-_GROWTH_LENGTH, 0.0, 2 * _GROWTH_STEPS + 1)
