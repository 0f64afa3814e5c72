"""Gas and stars from the density of matter: the contract of a spectrum, sharded and differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.core.units import RHO_CRIT
from galaxyjax.emulator import domain
from galaxyjax.emulator.field import finish_field
from galaxyjax.emulator.on_grid import OnGrid
from galaxyjax.fields.gaussian import white_noise
from galaxyjax.mesh.collect import varying
from galaxyjax.mesh.topology import BATCH, FIELD, GRID, REPLICATED
from galaxyjax.models.hydro_fields import Baryons, drawn, fields

SCALARS = P(*FIELD[:-1])  # (batch, nx, ny, nz)
STEPS = 4  # of the flow, Heun's


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("gas", "stars", "temperature", "pressure", "redshift"),
    meta_fields=("box_size", "mesh"),
)
@dataclass(frozen=True)
class BaryonPrediction:
    """Baryons at one redshift on a grid of points i * box_size / n, each (n, n, n), sharded as a grid.

    gas, stars: comoving density, 1e10 Msun/h (Mpc/h)^-3; their sum has the mean Omega_b rho_crit exactly.
    temperature: K, of the gas by mass. pressure: thermal, comoving 1e10 Msun/h (Mpc/h)^-3 (km/s)^2; the
    physical one is (1 + z)^3 h^2 times it per Mpc^3. All as TSC clouds of particles smooth them.
    """

    gas: jax.Array
    stars: jax.Array
    temperature: jax.Array
    pressure: jax.Array
    redshift: jax.Array
    box_size: float = field(metadata={"static": True})
    mesh: Mesh = field(metadata={"static": True})


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights",),
    meta_fields=("model", "contract", "error", "policy"),
)
@dataclass(frozen=True)
class HydroEmulator(OnGrid):
    """Gas, temperature, pressure and stars of a density of matter, inside a stated domain."""

    def predict(
        self,
        theta: Mapping[str, ArrayLike],
        *,
        matter: jax.Array,
        box_size: float,
        z: ArrayLike = 0.0,
        mesh: Mesh | None = None,
    ) -> BaryonPrediction:
        """Return what the mean head makes of a density.

        Args:
            theta: the contract's inputs, scalars.
            matter: density contrast (n, n, n) of all matter, painted by TSC on this grid; it sets the dtype.
                Of an emulator of maps (n, n, m), as many equal layers as `model.multiple`.
            box_size: side of the periodic box, Mpc/h: n times the emulator's spacing.
            z: one redshift.
            mesh: shards x and y; one device when not given.

        Differentiable in theta, matter, z and weights. Raises DataError for a field of the wrong rank,
        ConfigError where spacing, grid and mesh do not fit, DomainError outside the domain.
        """
        mesh, x, z = self._checked(theta, matter, box_size, z, mesh)
        return BaryonPrediction(*_mean(self, x, matter, z, mesh), z, float(box_size), mesh)

    def baseline(self, theta: Mapping[str, ArrayLike], *, matter, box_size: float, z=0.0, mesh=None):
        """Return what the physics alone makes of a density, without networks; arguments as `predict`."""
        mesh, x, z = self._checked(theta, matter, box_size, z, mesh)
        return BaryonPrediction(*_mean(self, x, matter, z, mesh, physics=True), z, float(box_size), mesh)

    def sample(
        self,
        theta: Mapping[str, ArrayLike],
        *,
        matter: jax.Array,
        box_size: float,
        key: jax.Array,
        z: ArrayLike = 0.0,
        mesh: Mesh | None = None,
        steps: int = STEPS,
    ) -> BaryonPrediction:
        """Return one draw of what this density may hold: the mean head's answer moved by the flow.

        key: of `jax.random.key`; the draw is the same on every mesh. steps: of Heun's method. The rest as
        `predict`. Raises ConfigError for an emulator without a flow.
        """
        if self.model.flow is None:
            raise ConfigError(f"{self.contract.name}: it has no flow to sample from; use predict")
        mesh, x, z = self._checked(theta, matter, box_size, z, mesh)
        cells = matter.shape[0]
        keys = jax.random.split(key, self.model.channels)
        shared = jax.random.normal(jax.random.fold_in(key, 1), (1, self.model.modes), matter.dtype)
        noise = jnp.stack([white_noise(k, cells, mesh, matter.dtype) for k in keys], axis=-1)
        if self.model.flat:
            noise = jnp.broadcast_to(noise[:, :, :1], (*matter.shape, len(keys)))
        return BaryonPrediction(
            *_sample(self, x, matter, z, noise, shared, mesh, steps), z, float(box_size), mesh
        )

    def _checked(self, theta, matter, box_size: float, z, mesh):
        shape = np.shape(matter)
        depth = self.model.multiple if self.model.flat else shape[0]
        if (
            len(shape) != 3
            or shape[0] != shape[1]
            or shape[2] != depth
            or not jnp.issubdtype(matter.dtype, jnp.floating)
        ):
            raise DataError(f"matter: {matter.dtype} of shape {shape} must be real contrasts (n, n, {depth})")
        return super()._checked(theta, matter, box_size, z, mesh)


@partial(jax.jit, static_argnames=("mesh", "physics"))
def _mean(emulator: HydroEmulator, x: dict, matter, z, mesh: Mesh, physics: bool = False):
    """(gas, stars, temperature, pressure) of a checked call."""
    matter, style, units, finish = _prepared(emulator, x, matter, z, mesh)

    def local(weights, matter, style):
        weights, style = varying((weights, style), mesh.axis_names)
        heads, _, baseline = emulator.model.mean_block(weights, matter, style)
        return baseline if physics else heads.mean

    latents = _mapped(local, mesh, (REPLICATED, SCALARS, BATCH))(emulator.weights, matter, style)
    return _finished(fields(latents), units, finish, mesh)


@partial(jax.jit, static_argnames=("mesh", "steps"))
def _sample(emulator: HydroEmulator, x: dict, matter, z, noise, shared, mesh: Mesh, steps: int):
    matter, style, units, finish = _prepared(emulator, x, matter, z, mesh)
    model = emulator.model

    def local(weights, matter, style, state, shared):
        weights, style = varying((weights, style), mesh.axis_names)
        heads, features, _ = model.mean_block(weights, matter, style)
        state = model.flowed(weights, state, heads, features, style, steps)
        return drawn(heads, state, model.common, shared)

    specs = (REPLICATED, SCALARS, BATCH, FIELD, BATCH)
    latents = _mapped(local, mesh, specs)(emulator.weights, matter, style, noise[None], shared)
    return _finished(fields(latents), units, finish, mesh)


def _prepared(emulator: HydroEmulator, x: dict, matter, z, mesh: Mesh):
    """Density over its mean (1, n, n, n), style (1, s), units, and what the domain does to an answer."""
    x, _, z, finish = domain.guard(emulator.policy, emulator.contract, x, None, z[None])
    matter = jax.lax.with_sharding_constraint(1.0 + matter, NamedSharding(mesh, GRID))[None]
    style = jnp.stack([*(x[name] for name in emulator.model.style), 1.0 / (1.0 + z[0])])
    units = x["Omega_b"] * RHO_CRIT
    return matter, style.astype(matter.dtype)[None], units.astype(matter.dtype), finish


def _mapped(local, mesh: Mesh, specs):
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=FIELD)


def _finished(found: Baryons, units, finish, mesh: Mesh):
    densities = Baryons(found.gas * units, found.stars * units, found.temperature, found.pressure * units)
    out = tuple(finish_field(finish, values[0]) for values in densities)
    return jax.lax.with_sharding_constraint(out, NamedSharding(mesh, GRID))
