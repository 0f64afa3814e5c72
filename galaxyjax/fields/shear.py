"""Weak lensing of a flat, periodic patch of sky: convergence to shear and back, sharded.

Kaiser & Squires (1993, ApJ 404, 441): with the first axis y and the second x, and l = (l_x, l_y),

    gamma1 = (l_x^2 - l_y^2) / l^2 kappa        gamma2 = 2 l_x l_y / l^2 kappa

Both factors are real and even, their squares add to 1 but for the mean: the way back is the transpose. Maps
are (ny, nx, 1): a grid one cell deep, which the distributed FFT takes as any other.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from galaxyjax.mesh import fft


def shear_factors(modes: fft.Spectrum) -> tuple[Array, Array]:
    """Return the factors of gamma1 and gamma2, real, shape of modes.values; 0 for the mean."""
    y, x = modes.kx, modes.ky
    ny, nx, _ = modes.shape
    squared = y**2 + x**2
    safe = jnp.where(squared == 0.0, 1.0, squared)
    first = (x**2 - y**2) / safe
    second = 2.0 * x * y / safe
    # An odd derivative has no Nyquist mode: its sign would be a matter of taste.
    for k, n in ((y, ny), (x, nx)):
        if n % 2 == 0:
            unit = k.reshape(-1)[1]
            second = jnp.where(jnp.abs(k) > (0.5 * n - 0.25) * unit, 0.0, second)
    shape = jnp.broadcast_shapes(first.shape, modes.values.shape)
    alive = modes.weight > 0
    return (jnp.where(alive, jnp.broadcast_to(part, shape), 0.0) for part in (first, second))


def shear_of(kappa: fft.Spectrum, mesh: Mesh) -> tuple[Array, Array]:
    """Return gamma1 and gamma2, (ny, nx, 1) each, from the modes of the convergence."""
    first, second = shear_factors(kappa)
    return tuple(fft.inverse(kappa.replace(factor * kappa.values), mesh) for factor in (first, second))


def kaiser_squires(gamma1: Array, gamma2: Array, mesh: Mesh, size) -> tuple[fft.Spectrum, fft.Spectrum]:
    """Return the modes of E and B convergence of shear maps (ny, nx, 1): the transpose of `shear_of`, and B.

    size: of the patch, radian, one number or (y, x, depth). Of a lensing signal without mask or noise, E is
    the convergence less its mean, and B nothing.
    """
    one, two = (fft.forward(gamma, mesh, size) for gamma in (gamma1, gamma2))
    first, second = shear_factors(one)
    e = one.replace(first * one.values + second * two.values)
    b = one.replace(first * two.values - second * one.values)
    return e, b


def smoothed(modes: fft.Spectrum, width: float, mesh: Mesh) -> Array:
    """Return the map (ny, nx, 1) smoothed by a Gaussian of standard deviation `width`, radian."""
    square = modes.kx**2 + modes.ky**2
    return fft.inverse(modes.replace(modes.values * jnp.exp(-0.5 * square * width**2)), mesh)
