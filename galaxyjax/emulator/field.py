"""Fields from named parameters and white noise: the contract of a spectrum, sharded and differentiable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.emulator import domain
from galaxyjax.emulator.on_grid import OnGrid
from galaxyjax.fields import nbody
from galaxyjax.fields.gravity import Force, density, fitted
from galaxyjax.mesh.topology import GRID, LATTICE
from galaxyjax.simulate.fields import cosmology_of, linear_field

_paint = jax.jit(density, static_argnums=(1, 2, 3))  # whole: op by op it takes a hundred compilations


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("displacement", "velocity"),
    meta_fields=("box_size", "mesh", "halo"),
)
@dataclass(frozen=True)
class FieldPrediction:
    """Matter at one redshift: particles that began on the lattice i * box_size / n.

    displacement: (n, n, n, 3) comoving Mpc/h. velocity: (n, n, n, 3) peculiar km/s. Both lie as a lattice.
    """

    displacement: jax.Array
    velocity: jax.Array
    box_size: float = field(metadata={"static": True})
    mesh: Mesh = field(metadata={"static": True})
    halo: float = field(default=20.0, metadata={"static": True})

    @property
    def spacing(self) -> float:
        """Of the lattice, Mpc/h."""
        return self.box_size / self.displacement.shape[0]

    def density(self, cells: int | None = None, scheme: str = "cic") -> jax.Array:
        """Return the density contrast (cells, cells, cells) that the particles paint, sharded as a grid.

        cells: a multiple of the lattice's; as many when not given. Raises ConfigError for another number,
        DataError as `held`.
        """
        n = self.displacement.shape[0]
        cells = n if cells is None else cells
        if cells < n or cells % n:
            raise ConfigError(
                f"density: cells = {cells} must be a multiple of the lattice's {n}; "
                "average a finer grid for a coarser one"
            )
        force = fitted(Force(refine=cells // n, halo=self.halo, scheme=scheme), n, self.box_size, self.mesh)
        return held(_paint(self.displacement, self.box_size, self.mesh, force), force.halo, self.halo)

    @property
    def positions(self) -> jax.Array:
        """Positions (n, n, n, 3) in [0, box_size), Mpc/h."""
        home = jnp.arange(self.displacement.shape[0], dtype=self.displacement.dtype) * self.spacing
        lattice = jnp.stack(jnp.meshgrid(home, home, home, indexing="ij"), axis=-1)
        return (lattice + self.displacement) % self.box_size


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights",),
    meta_fields=("model", "contract", "error", "policy"),
)
@dataclass(frozen=True)
class FieldEmulator(OnGrid):
    """The non-linear matter field of a cosmology and of white noise, inside a stated domain."""

    def predict(
        self,
        theta: Mapping[str, ArrayLike],
        *,
        white_noise: jax.Array,
        box_size: float,
        z: ArrayLike = 0.0,
        mesh: Mesh | None = None,
        power: Callable[[jax.Array], jax.Array] | None = None,
    ) -> FieldPrediction:
        """Return the matter field that grew from white noise.

        Args:
            theta: Omega_m, Omega_b, h, n_s, sigma_8, scalars.
            white_noise: (n, n, n), unit variance, of `fields.gaussian.white_noise`; it sets the dtype.
            box_size: side of the periodic box, Mpc/h: n times the emulator's spacing.
            z: one redshift.
            mesh: shards x and y; one device when not given.
            power: k in h/Mpc -> linear P(k) today in (Mpc/h)^3, in place of Eisenstein & Hu's of theta.

        Differentiable in theta, white_noise, z and weights. Raises DataError for noise of the wrong rank,
        ConfigError where spacing, lattice and mesh do not fit, DomainError outside the domain, DataError as
        `held`.
        """
        shape = np.shape(white_noise)
        if len(shape) != 3 or len(set(shape)) != 1 or not jnp.issubdtype(white_noise.dtype, jnp.floating):
            raise DataError(
                f"white noise: {white_noise.dtype} of shape {shape} must be a cube (n, n, n) of real numbers"
            )
        mesh, x, z = self._checked(theta, white_noise, box_size, z, mesh)
        moved = _call(self, x, white_noise, z, float(box_size), mesh, power)
        if self.model.steps:
            force = fitted(self.model.force, shape[0], box_size, mesh)
            held(moved[0], force.halo, self.model.halo)
        return FieldPrediction(*moved, float(box_size), mesh, self.model.halo)


def held(values: jax.Array, halo: float, asked: float) -> jax.Array:
    """Return a field whose particles met a halo shorter than `asked`, Mpc/h, since blocks are thin.

    Raises DataError where one strayed further; inside `jit` the field is NaN, as with any halo.
    """
    if halo < asked and not isinstance(values, jax.core.Tracer) and bool(_any_nan(values)):
        raise DataError(
            f"a particle moved further than {halo:.3g} Mpc/h, all that this mesh can hold of "
            f"the halo of {asked:g}; use fewer devices along x and y, or a larger box"
        )
    return values


_any_nan = jax.jit(lambda values: jnp.isnan(values).any())


@partial(jax.jit, static_argnames=("box_size", "mesh", "power"))
def _call(emulator: FieldEmulator, x: dict, noise, z, box_size: float, mesh: Mesh, power):
    """(displacement, velocity) of a checked call."""
    contract = emulator.contract
    x, _, z, finish = domain.guard(emulator.policy, contract, x, None, z[None])
    z, model = z[0], emulator.model
    noise = jax.lax.with_sharding_constraint(noise, NamedSharding(mesh, GRID))
    cosmology = cosmology_of(x)
    modes = linear_field(x, noise, box_size, mesh, power)
    coarse = model.coarse(modes, cosmology, z, box_size, mesh)
    style = jnp.stack([x["Omega_m"], coarse.growth]).astype(noise.dtype)[None]
    correction = model.apply(emulator.weights, model.features(coarse)[None], style, mesh)[0] * model.spacing
    displacement = coarse.displacement + correction[..., :3]
    velocity = nbody.velocity(coarse.derivative + correction[..., 3:], cosmology, z)
    both = finish_field(finish, displacement), finish_field(finish, velocity)
    return jax.lax.with_sharding_constraint(both, NamedSharding(mesh, LATTICE))


def finish_field(finish: Callable, values: jax.Array) -> jax.Array:
    """What `domain.guard` does to an answer of one redshift, for a field: NaN outside the domain."""
    good = finish(jnp.zeros((1,), values.dtype))[0]
    return values + good
