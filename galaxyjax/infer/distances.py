"""Distances from a cosmology: what acoustic oscillations and supernovae measure, as one pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core import units
from galaxyjax.core.background import comoving_distance, expansion
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.data.distances import QUANTITIES, DistanceSurvey
from galaxyjax.simulate import boltzmann
from galaxyjax.theory.sound_horizon import drag_horizon


def quantities(survey: DistanceSurvey, cosmology: Cosmology) -> jax.Array:
    """Return the quantities (n,) of a survey in a flat universe; mu for h = 1, its constant being free."""
    dtype = jnp.result_type(1.0, *jax.tree_util.tree_leaves(cosmology))
    z = jnp.asarray(survey.z, dtype)
    transverse = comoving_distance(cosmology, z)
    if survey.relative:
        # Luminosity distance: light is dimmed by the observed redshift.
        luminosity = (1.0 + jnp.asarray(survey.z_helio, dtype)) * transverse
        return 5.0 / np.log(10.0) * jnp.log(luminosity) + 25.0
    radial = units.HUBBLE_DISTANCE / expansion(cosmology, z)
    volume = jnp.cbrt(z * transverse**2 * radial)
    return _chosen(survey, (transverse, radial, volume)) / drag_horizon(cosmology)


def theory(survey: DistanceSurvey, cosmology: Cosmology) -> jax.Array:
    """Return what is compared with survey.data, (m,): the contrasts of `quantities`."""
    values = quantities(survey, cosmology)
    if not survey.relative:
        return values
    return jnp.matmul(
        jnp.asarray(survey.contrasts, values.dtype),
        values - values[0],  # small numbers, so that float32 keeps its digits
        precision=jax.lax.Precision.HIGHEST,
    )


def camb_theory(survey: DistanceSurvey, theta: Mapping[str, float]) -> np.ndarray:
    """Return the same (m,) with CAMB's distances and sound horizon: the check of an audit."""
    h = float(theta["h"])
    results = boltzmann.background(theta)
    transverse = results.comoving_radial_distance(survey.z)
    if survey.relative:
        return survey.contrasts @ (5.0 * np.log10((1.0 + survey.z_helio) * transverse * h) + 25.0)
    radial = units.C_KM_S / results.hubble_parameter(survey.z)
    volume = np.cbrt(survey.z * transverse**2 * radial)
    chosen = _chosen(survey, (transverse, radial, volume), np)
    return np.asarray(chosen / results.get_derived_params()["rdrag"])


def _chosen(survey: DistanceSurvey, columns, numpy=jnp):
    """Return from each row (D_M, D_H, D_V) the quantity that was measured."""
    index = np.array([QUANTITIES.index(word) for word in survey.quantity])
    return numpy.select([index == i for i in range(3)], columns)


@dataclass(frozen=True, eq=False)
class Distances:
    """The distance surveys of a joint posterior, one after the other."""

    surveys: tuple[DistanceSurvey, ...]

    def vector(self, cosmology: Cosmology) -> jax.Array:
        """Return what is compared with the data, (m,)."""
        return jnp.concatenate([theory(survey, cosmology) for survey in self.surveys])

    def camb_vector(self, theta: Mapping[str, float]) -> np.ndarray:
        """Return the same (m,) from CAMB."""
        return np.concatenate([camb_theory(survey, theta) for survey in self.surveys])
