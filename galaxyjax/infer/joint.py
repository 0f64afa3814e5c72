"""Shear and distances in one posterior: shared cosmology, independent data, one vector.

    survey = join([kids1000(), distances("desi_dr2_bao")])
    posterior = KiDS1000().posterior(galaxyjax.load("matter_power"), survey)

Distances have no nuisance parameters (the supernovae's constant is marginalised in the data), so no name can
clash with shear's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.infer.distances import Distances
from galaxyjax.infer.shear import ShearModel, Values
from galaxyjax.theory.sound_horizon import drag_horizon


@dataclass(frozen=True, eq=False)
class JointModel(ShearModel):
    """A shear model whose vector goes on with distances."""

    distances: Distances = Distances(())

    def from_table(self, values: Values, table: jax.Array, others=None) -> jax.Array:
        """The whole vector (ndata,) of a table of P (nz, nell); others: distances (m,) from elsewhere."""
        if others is None:
            others = self.distances.vector(self.cosmology(values))
        shear = super().from_table(values, table)
        return jnp.concatenate([shear, jnp.asarray(others, shear.dtype)])

    def camb_others(self, theta: Mapping[str, float]) -> np.ndarray:
        """Distances (m,) from CAMB."""
        return self.distances.camb_vector(theta)

    def derived(self, values: Values) -> dict[str, jax.Array]:
        """Cosmological columns that are not sampled, and r_drag in Mpc."""
        cosmo = self.cosmology(values)
        return {**super().derived(values), "r_drag": drag_horizon(cosmo) / cosmo.h}

    def error_modes(self, values: Mapping[str, float]) -> np.ndarray:
        """The emulator's error (r, ndata): that of shear, and none in distances."""
        modes = super().error_modes(values)
        count = sum(len(survey.data) for survey in self.distances.surveys)
        return np.pad(modes, ((0, 0), (0, count)))
