"""The forward model of a tracer: parameters and white noise in, what a survey sees on a grid out.

    white noise -> linear modes -> particles moved (`evolve`) -> to redshift space -> painted with their
    Lagrangian weights (`fields.bias`) -> contrast on the grid

Any composition of these is one differentiable function, and every field of it lies over x and y of one mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.background import growth_factor, growth_rate, hubble
from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.core.errors import ConfigError
from galaxyjax.fields.bias import BIASES, lagrangian_weight, linear_response
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.fields.gravity import Force, weighted_density
from galaxyjax.infer.field_level.evolve import Evolution, Linear, Lpt
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID
from galaxyjax.simulate.fields import NAMES, cosmology_of


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("evolution",),
    meta_fields=("cells", "box_size", "z", "mesh", "redshift_space", "halo"),
)
@dataclass(frozen=True)
class TracerModel:
    """A tracer of a periodic box at one redshift, on the grid of its own particles' lattice.

    cells: a side. box_size: Mpc/h. z: redshift. mesh: shards x and y. evolution: how particles move.
    redshift_space: displace along the third axis by peculiar velocities (plane-parallel). halo: how far
    particles may stray from home along an axis of several devices, Mpc/h; NaN beyond.

    theta names the five parameters of `simulate.fields` and any of b1, b2, bs2, bn2 (Lagrangian; the Eulerian
    linear bias is 1 + b1).
    """

    cells: int
    box_size: float
    z: float
    mesh: Mesh = field(metadata={"static": True})
    evolution: Evolution = field(default_factory=Lpt)
    redshift_space: bool = False
    halo: float = 20.0

    def __post_init__(self):
        if self.cells < 4 or not self.box_size > 0 or not self.z >= 0:
            raise ConfigError(
                f"tracer: cells={self.cells} (4 or more), box_size={self.box_size} Mpc/h (positive) and "
                f"z={self.z} (0 or more) do not make a box"
            )

    def contrast(self, theta: Mapping[str, Array], noise: fft.Spectrum) -> Array:
        """Return the tracer's contrast (n, n, n), without noise of the survey, from modes of white noise.

        Differentiable in theta and noise; NaN where particles stray or an emulator has no answer.
        """
        cosmology, biases = _split(theta, noise.kx.dtype)
        modes = noise.replace(noise.values * amplitude(noise, cosmology, self.box_size))
        z = jnp.asarray(self.z, noise.kx.dtype)
        if isinstance(self.evolution, Linear):
            return fft.inverse(modes.replace(modes.values * self.response(theta, noise)), self.mesh)
        flat = cosmology_of(cosmology)
        growth = growth_factor(flat, z)
        weight = lagrangian_weight(modes.replace(modes.values * growth), biases, self.mesh)
        real = lambda: fft.inverse(noise, self.mesh)  # noqa: E731
        moved, velocity = self.evolution.displace(cosmology, modes, real, z, self.box_size, self.mesh)
        if self.redshift_space:
            to_length = (1.0 + z) / hubble(flat, z)  # comoving Mpc/h per km/s
            moved = moved.at[..., 2].add(velocity[..., 2] * to_length)
        force = Force(refine=1, scheme="cic", halo=self.halo)
        return weighted_density(moved, weight, self.box_size, self.mesh, force) - 1.0

    def response(self, theta: Mapping[str, Array], modes: fft.Spectrum) -> Array:
        """Return G of `fields.bias.linear_response` at this redshift: tracer over linear matter today."""
        cosmology, biases = _split(theta, modes.kx.dtype)
        flat, z = cosmology_of(cosmology), jnp.asarray(self.z, modes.kx.dtype)
        rate = growth_rate(flat, z) if self.redshift_space else None
        scheme = None if isinstance(self.evolution, Linear) else "cic"
        return linear_response(modes, growth_factor(flat, z), rate, biases, self.box_size, scheme)

    def noise_modes(self, noise: Array) -> fft.Spectrum:
        """Return the modes of white noise (n, n, n)."""
        return fft.forward(noise, self.mesh, self.box_size)

    def linear_matter(self, theta: Mapping[str, Array], noise: fft.Spectrum) -> fft.Spectrum:
        """Return the modes of the linear density contrast of matter today."""
        cosmology, _ = _split(theta, noise.kx.dtype)
        return noise.replace(noise.values * amplitude(noise, cosmology, self.box_size))


def amplitude(modes: fft.Spectrum, cosmology: Mapping[str, Array], box_size: float) -> Array:
    """Return the factor that makes linear contrast today of modes of white noise, sqrt(P n^3 / V).

    In a cube k^2 is an integer times the square of the fundamental one, so the spectrum is computed once for
    each integer and looked up: a hundredth of the logarithms, and of their gradients.
    """
    n = modes.shape[0]
    unit = 2.0 * np.pi / box_size
    top = 3 * (n // 2) ** 2
    k = unit * np.sqrt(np.arange(1, top + 1))
    power = linear_power(cosmology_of(cosmology), cosmology["sigma_8"])
    table = jnp.sqrt(power(jnp.asarray(k, modes.kx.dtype)) * (n**3 / box_size**3))
    table = jnp.concatenate([jnp.zeros(1, table.dtype), table.astype(modes.kx.dtype)])  # no mean
    index = jnp.round(modes.k_squared / unit**2).astype(jnp.int32)
    return table[jnp.minimum(index, top)]  # beyond lies the padding alone


def mock(
    model: TracerModel, theta: Mapping[str, float], noise_std: float, key: Array, dtype=jnp.float32
) -> tuple[Array, Array]:
    """Return (contrast seen, white noise that made it), both (n, n, n): a survey with Gaussian noise.

    noise_std: of the contrast in each cell; 1 / sqrt(tracers in a cell) is that of Poisson counts.
    """
    of_matter, of_survey = jax.random.split(key)
    truth = white_noise(of_matter, model.cells, model.mesh, dtype)
    noise = white_noise(of_survey, model.cells, model.mesh, dtype)
    theta = {name: jnp.asarray(value, dtype) for name, value in theta.items()}
    return _seen(model, theta, truth) + noise_std * noise, truth


@jax.jit
def _seen(model: TracerModel, theta: dict[str, Array], truth: Array) -> Array:
    return model.contrast(theta, model.noise_modes(truth))


def on_grid(values, mesh: Mesh, dtype=jnp.float32) -> Array:
    """Return a host array (nx, ny, nz) as one that is sharded as a grid."""
    return jax.device_put(jnp.asarray(values, dtype), NamedSharding(mesh, GRID))


def _split(theta: Mapping[str, Array], dtype) -> tuple[dict[str, Array], dict[str, Array]]:
    """The parameters of cosmology, and the biases, in the dtype of the field."""
    theta = {name: jnp.asarray(value, dtype) for name, value in theta.items()}
    cosmology = {name: value for name, value in theta.items() if name in NAMES}
    return cosmology, {name: value for name, value in theta.items() if name in BIASES}
