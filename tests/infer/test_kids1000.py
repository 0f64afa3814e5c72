"""The KiDS-1000 likelihood with the shipped emulator, at one fixed point."""

import jax
import jax.numpy as jnp
import pytest

import galaxyjax
from galaxyjax.data.survey import kids1000
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000

FROZEN = 158.70  # matter_power 1.0.0, 120 band powers


@pytest.mark.usefixtures("data_root")
def test_chi2_at_a_fixed_point_is_frozen():
    """Anything that moves this by 0.05 moves the posterior: say so in the changelog when it is meant."""
    survey, setting = kids1000(), KiDS1000()
    model = setting.model(galaxyjax.load("matter_power"), survey)
    point = setting.fiducial(survey)
    values = {name: jnp.asarray(value) for name, value in point.items()}
    vector = jax.jit(model.vector)(values)
    assert float(likelihood_of(model, survey, None).chi2(vector)) == pytest.approx(FROZEN, abs=0.05)
    # The emulator's own error in the covariance takes away next to nothing.
    with_error = float(likelihood_of(model, survey, point).chi2(vector))
    assert FROZEN - 0.5 < with_error <= FROZEN + 0.05
