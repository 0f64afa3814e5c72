"""From initial conditions to baryons: matter, then gas and stars, in one differentiable call."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.field import FieldEmulator
from galaxyjax.emulator.hydro import BaryonPrediction, HydroEmulator
from galaxyjax.fields import nbody
from galaxyjax.fields.gravity import Force, density, fitted
from galaxyjax.simulate.fields import cosmology_of, linear_field

FORCE = Force(refine=2, scheme="tsc", halo=10.0)
STEPS, Z_START = 10, 9.0


def matter_of(
    theta: Mapping[str, ArrayLike],
    white_noise: jax.Array,
    box_size: float,
    z: ArrayLike,
    mesh: Mesh,
    emulator: FieldEmulator | None = None,
    force: Force = FORCE,
) -> jax.Array:
    """Return the density contrast (n, n, n) that grew from white noise, painted by TSC on as many cells.

    theta: Omega_m, Omega_b, h, n_s, sigma_8. emulator: of matter, at this spacing; without one a particle
    mesh of STEPS steps with this force (softer inside haloes). Differentiable in theta, white_noise and z.
    Raises as `FieldEmulator.predict`.
    """
    if emulator is not None:
        made = emulator.predict(theta, white_noise=white_noise, box_size=box_size, z=z, mesh=mesh)
        return made.density(scheme="tsc")
    theta = {name: jnp.asarray(value, white_noise.dtype) for name, value in theta.items()}
    modes = linear_field(theta, white_noise, box_size, mesh)
    cells = white_noise.shape[0]
    options = dict(box_size=box_size, steps=STEPS, z_start=Z_START)
    options["force"] = fitted(force, cells, box_size, mesh)
    moved, _ = nbody.nbody(modes, cosmology_of(theta), jnp.asarray(z, white_noise.dtype), mesh, **options)
    painted = fitted(Force(refine=1, scheme="tsc", halo=force.halo), cells, box_size, mesh)
    return density(moved, box_size, mesh, painted)


def baryons(
    theta: Mapping[str, ArrayLike],
    *,
    white_noise: jax.Array,
    box_size: float,
    z: ArrayLike,
    mesh: Mesh,
    hydro: HydroEmulator,
    matter: FieldEmulator | None = None,
    key: jax.Array | None = None,
    force: Force = FORCE,
) -> BaryonPrediction:
    """Return the baryons that grew from white noise: `matter_of`, then `hydro`, on one mesh.

    theta: Omega_m, Omega_b, h, n_s, sigma_8 and what else `hydro` takes. key: draws a sample of its flow
    instead of its mean. force: of the particle mesh, as `matter_of`. Differentiable in theta,
    white_noise and z. Raises ConfigError when the two emulators have other spacings, else as both.
    """
    if matter is not None and abs(matter.spacing / hydro.spacing - 1.0) > 1e-3:
        raise ConfigError(
            f"{matter.contract.name} has cells of {matter.spacing:g} Mpc/h and {hydro.contract.name} of "
            f"{hydro.spacing:g}; compose emulators of one spacing"
        )
    five = {name: theta[name] for name in ("Omega_m", "Omega_b", "h", "n_s", "sigma_8") if name in theta}
    contrast = matter_of(five, white_noise, box_size, z, mesh, matter, force)
    own = {name: value for name, value in theta.items() if name in hydro.contract.domain}
    options = dict(matter=contrast, box_size=box_size, z=z, mesh=mesh)
    return hydro.predict(own, **options) if key is None else hydro.sample(own, key=key, **options)
