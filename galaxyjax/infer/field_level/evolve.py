"""From linear modes to moved particles: the interchangeable middle of a field-level forward model.

Each is a small pytree with one method, `displace(theta, modes, noise, z, box_size, mesh)`, which returns
displacement in Mpc/h and peculiar velocity in km/s, both (n, n, n, 3). theta holds the five parameters of
`simulate.fields`; `noise` makes the white noise (n, n, n) where it is wanted, else nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.fields import lpt, nbody
from galaxyjax.fields.gravity import SAME_MESH, Force
from galaxyjax.mesh import fft
from galaxyjax.simulate.fields import cosmology_of

Noise = Callable[[], jax.Array]


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("order",))
@dataclass(frozen=True)
class Lpt:
    """Lagrangian perturbation theory. order: 1 (Zel'dovich) or 2; ConfigError for another."""

    order: int = 2

    def __post_init__(self):
        if self.order not in (1, 2):
            raise ConfigError(f"Lpt: order = {self.order}; 1 and 2 are known")

    def displace(self, theta: Mapping, modes: fft.Spectrum, noise: Noise, z, box_size: float, mesh: Mesh):
        """Return displacement and velocity; see the module."""
        return lpt.displace(modes, cosmology_of(theta), z, mesh, self.order)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("steps", "z_start", "force"))
@dataclass(frozen=True)
class ParticleMesh:
    """`fields.nbody`: `steps` steps from z_start, or from D = 0 when it is None."""

    steps: int = 5
    z_start: float | None = None
    force: Force = SAME_MESH

    def displace(self, theta: Mapping, modes: fft.Spectrum, noise: Noise, z, box_size: float, mesh: Mesh):
        """Return displacement and velocity; see the module."""
        cosmology = cosmology_of(theta)
        options = dict(box_size=box_size, steps=self.steps, z_start=self.z_start, force=self.force)
        moved, derivative = nbody.nbody(modes, cosmology, z, mesh, **options)
        return moved, nbody.velocity(derivative, cosmology, z)


@partial(jax.tree_util.register_dataclass, data_fields=("emulator",), meta_fields=())
@dataclass(frozen=True)
class Emulated:
    """An emulator of fields from the shelf, such as `nbody_field`; cells must be as far apart as it says."""

    emulator: FieldEmulator

    def displace(self, theta: Mapping, modes: fft.Spectrum, noise: Noise, z, box_size: float, mesh: Mesh):
        """Return displacement and velocity; NaN where theta leaves the emulator's domain."""
        made = self.emulator.predict(theta, white_noise=noise(), box_size=box_size, z=z, mesh=mesh)
        dtype = modes.kx.dtype
        return made.displacement.astype(dtype), made.velocity.astype(dtype)


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
@dataclass(frozen=True)
class Linear:
    """No particles: the tracer is the linear field times the Kaiser factor, and its posterior Wiener's."""

    def displace(self, theta: Mapping, modes: fft.Spectrum, noise: Noise, z, box_size: float, mesh: Mesh):
        """Return zeros: nothing moves."""
        still = jnp.zeros((*modes.shape, 3), modes.kx.dtype)
        return still, still


Evolution = Lpt | ParticleMesh | Emulated | Linear
