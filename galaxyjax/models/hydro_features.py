"""What the networks of `models.hydro` see of the density of matter: scalars of a cell's surroundings.

    smoothing    ln of the density, as it is and in Gaussians
    potential    depth of the potential that matter within a radius makes: virial temperatures go with it
    tides        strength of the tidal shear, and slope of the density, of a smoothed field

All are even under turns and reflections of the box, so whatever is made of them cell by cell is too.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from galaxyjax.mesh import fft

FLOOR = 0.02  # of densities over their mean: below it a logarithm bends to a constant


def log_density(x: Array) -> Array:
    """Return ln of a density over its mean, bent to a constant below FLOOR: smooth, and finite anywhere."""
    return jnp.log(0.5 * (x + jnp.sqrt(x**2 + FLOOR**2)))


def features_block(
    matter: Array,
    depth: Array,
    box: tuple[float, float, float],
    filtering: Array,
    smoothing: tuple[float, ...],
    potential: tuple[float, ...],
    tides: tuple[float, ...],
) -> tuple[Array, Array]:
    """Return channels of order one (batch, nx, ny, nz, f) and ln of the density in a Gaussian of `filtering`.

    matter: (batch, nx, ny, nz) over its mean, this device's block; inside `shard_map`. depth: (batch,), of
    potentials in a physical unit. box: Mpc/h. filtering: (batch,) Mpc/h; the other radii, Mpc/h.
    """
    modes = fft.forward_block(matter, box)
    k2 = modes.k_squared
    inverse = jnp.where(k2 > 0, 1.0 / jnp.where(k2 > 0, k2, 1.0), 0.0)
    depth = depth[:, None, None, None]

    def smooth(values: Array, radius) -> Array:
        return fft.inverse_block(modes.replace(values * jnp.exp(-0.5 * k2 * radius**2)))

    filtered = log_density(smooth(modes.values, filtering[:, None, None, None]))
    channels = [(log_density(matter) + 0.5) / 1.2]
    for radius in smoothing:
        x = log_density(smooth(modes.values, radius))
        channels.append((x + 0.5 / (1.0 + radius / 1.5)) * ((1.0 + radius / 1.5) / 1.2))
    for radius in potential:
        local = _local(modes, inverse, radius) * depth
        channels.append(jnp.arcsinh(local) * ((radius + 2.0) / (2.7 * radius)))
    for radius in tides:
        channels += _tides(modes, inverse, radius)
    return jnp.stack(channels, axis=-1), filtered


def count(smoothing, potential, tides) -> int:
    """How many channels `features_block` makes."""
    return 1 + len(smoothing) + len(potential) + 2 * len(tides)


def _local(modes: fft.Spectrum, inverse: Array, radius: float) -> Array:
    """Minus lap^-1 of the density, of matter within about a radius, (Mpc/h)^2."""
    near = inverse * -jnp.expm1(-0.5 * modes.k_squared * radius**2)
    return fft.inverse_block(modes.replace(modes.values * near))


def _tides(modes: fft.Spectrum, inverse: Array, radius: float) -> list[Array]:
    """ln of shear q and of the slope of the density over a radius (q^2 as in Heavens & Peacock 1988)."""
    k = modes.kx, modes.ky, modes.kz
    smoothed = modes.values * jnp.exp(-0.5 * modes.k_squared * radius**2)
    tensor = {
        (i, j): fft.inverse_block(modes.replace(smoothed * (inverse * k[i] * k[j])))
        for i in range(3)
        for j in range(i, 3)
    }
    own = [tensor[i, i] for i in range(3)]
    mixed = sum(jnp.square(tensor[i, j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    apart = sum(jnp.square(own[i] - own[j]) for i, j in ((0, 1), (0, 2), (1, 2))) / 2.0
    shear = apart + 3.0 * mixed  # 3/2 (tr T^2 - (tr T)^2 / 3), as a sum of squares
    slope = sum(jnp.square(fft.inverse_block(modes.replace(smoothed * (1j * ki)))) for ki in k)
    # 0.01: one hundredth of a fluctuation of order one, so that the logarithm is smooth in voids.
    return [
        (0.5 * jnp.log(shear + 0.01) + 0.4) / 0.65,
        (0.5 * jnp.log(slope * radius**2 + 0.01) + 1.1) / 0.85,
    ]


def even(x: Array) -> Array:
    """Of a map the mean of its layers, which up-sampling makes different ones."""
    return jnp.broadcast_to(x.mean(axis=3, keepdims=True), x.shape)


def saturated(x: Array) -> Array:
    """Return ln of a density, bent to a constant beyond e^3 means: dense gas cools, and stays where it is."""
    return 3.0 * jnp.tanh(x / 3.0)
