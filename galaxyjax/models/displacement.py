"""The family `displacement`: a coarse simulation corrected by a V-Net, from linear modes to matter.

    x      displacement of a few particle-mesh steps (or of second-order perturbation theory)
    R      growth^2 times a V-Net of x and of its part beyond Zel'dovich, styled by Omega_m and growth
    psi    x + R

so the correction vanishes as growth goes to 0, where x is exact. The network sees only differences between
neighbours (its entry's kernels sum to zero), so a bulk flow changes nothing. The velocity is the derivative
of psi by the growth factor, along the coarse simulation's own path: there is no second network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from galaxyjax.core.background import growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.fields import gravity, lpt, nbody
from galaxyjax.fields.gravity import Force
from galaxyjax.mesh import fft
from galaxyjax.mesh.collect import varying
from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED, SPATIAL, check_field
from galaxyjax.models.vnet import VNet


class Coarse(NamedTuple):
    """What the network corrects: displacement and its derivative by growth, and Zel'dovich's part of both.

    Each (n, n, n, 3) in Mpc/h; growth (): D(z), 1 today.
    """

    displacement: Array
    derivative: Array
    linear: Array
    linear_derivative: Array
    growth: Array


@dataclass(frozen=True)
class Displacement:
    """Hyperparameters of the family. spacing: of the particles, Mpc/h. widths, blocks, remat, dtype: of the
    V-Net.

    steps, pace: of the coarse simulation from z_start, see `nbody.schedule`; 0 steps take second-order
    perturbation theory instead. refine, scheme, halo: its force, see `fields.gravity.Force`. scale: of the
    correction, cells.

    Raises ConfigError when these contradict each other.
    """

    spacing: float
    widths: tuple[int, ...] = (8, 16)
    blocks: tuple[int, ...] = (1, 1)
    steps: int = 8
    z_start: float = 9.0
    refine: int = 2
    scheme: str = "tsc"
    halo: float = 20.0
    scale: float = 0.1
    pace: float = 1.0
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self):
        for name in ("widths", "blocks"):  # JSON knows lists, a hash wants tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.spacing > 0 or self.steps < 0 or not self.scale > 0:
            raise ConfigError(
                f"displacement: spacing={self.spacing}, steps={self.steps} and scale={self.scale} must be "
                "positive (steps may be 0)"
            )
        _ = self.net, self.force  # their own checks

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``Displacement(**hyperparameters)``."""
        return asdict(self)

    @cached_property
    def net(self) -> VNet:
        """The network: 6 channels in, 3 out, 2 numbers of style."""
        return VNet(6, 3, self.widths, self.blocks, style=2, remat=self.remat, dtype=self.dtype)

    @cached_property
    def force(self) -> Force:
        """The coarse simulation's."""
        return Force(self.refine, self.halo, self.scheme)

    @property
    def multiple(self) -> int:
        """What the sides of a field, and of each device's block, must be multiples of."""
        return self.net.multiple

    def init(self, key: Array) -> dict:
        """Return parameters, a nested dict of float32 arrays."""
        return self.net.init(key)

    def flops(self, cells) -> int:
        """Operations of one correction with its derivative: twice a forward pass of the network."""
        return 2 * self.net.flops(cells) + 20 * prod(cells)

    def coarse(
        self, modes: fft.Spectrum, cosmology: Cosmology, z: Array | float, box_size: float, mesh: Mesh
    ) -> Coarse:
        """Return the coarse simulation of linear modes at redshift z; differentiable in the first three."""
        dtype = modes.kx.dtype
        cosmology = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cosmology)
        z = jnp.asarray(z, dtype)
        first, growth = lpt.first_order(modes, mesh), growth_factor(cosmology, z)
        if self.steps:
            options = dict(box_size=box_size, steps=self.steps, z_start=self.z_start, pace=self.pace)
            options |= dict(force=gravity.fitted(self.force, modes.shape[0], box_size, mesh))
            x, v = nbody.nbody(modes, cosmology, z, mesh, **options)
        else:
            x, v = nbody.begin(modes, cosmology, z, mesh)
        return Coarse(x, v, growth * first, first, growth)

    def features(self, coarse: Coarse) -> Array:
        """Return the network's channels and their derivatives by growth, (n, n, n, 12), in cells."""
        x, v, linear, slope, _ = coarse
        return jnp.concatenate([x, x - linear, v, v - slope], axis=-1) / self.spacing

    def apply(self, params, features: Array, style: Array, mesh: Mesh) -> Array:
        """Return the corrections (batch, n, n, n, 6) of whole fields on a mesh; see `apply_block`."""
        check_field(mesh, features.shape[1:4], features.shape[0], self.multiple)

        def local(params, features, style):
            params, style = varying((params, style), mesh.axis_names)
            return self.apply_block(params, features, style)

        specs = (REPLICATED, FIELD, BATCH)
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=FIELD)(params, features, style)

    def apply_block(self, params, features: Array, style: Array, axes=SPATIAL) -> Array:
        """Return one device's correction of the displacement, and its derivative by growth, in cells.

        Args:
            features: (batch, nx, ny, nz, 12), from `features`. style: (batch, 2), Omega_m and growth.

        Returns:
            (batch, nx, ny, nz, 6): R and dR/dD.
        """
        params = _without_bulk(params)
        omega_m, growth = style[:, 0], style[:, 1]

        def correction(x: Array, growth: Array) -> Array:
            # Of order one over the domain.
            style = jnp.stack([(omega_m - 0.3) / 0.15, 2.0 * growth - 1.0], axis=-1)
            size = (self.scale * growth**2)[:, None, None, None, None]
            return size * self.net.apply_block(params, x, style, axes)

        here, along = features[..., :6], features[..., 6:]
        return jnp.concatenate(jax.jvp(correction, (here, growth), (along, jnp.ones_like(growth))), axis=-1)


def _without_bulk(params) -> dict:
    """The parameters with an entry whose kernels sum to zero, so that a uniform shift gives nothing."""
    entry = params["outer"]["entry"]
    kernel = entry["kernel"] - entry["kernel"].mean(axis=(0, 1, 2), keepdims=True)
    return {**params, "outer": {**params["outer"], "entry": {**entry, "kernel": kernel}}}
