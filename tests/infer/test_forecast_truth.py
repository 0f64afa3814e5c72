"""The forecast of a cosmic-shear survey: derivatives of the emulator against finite differences of CAMB."""

import numpy as np
import pytest

import galaxyjax
from galaxyjax.infer.fisher import by_differences, fisher
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.infer.truth import steps, truth_vector
from galaxyjax.simulate.mock import load_mock

NAMES = ("ln10A_s", "omega_cdm", "h", "A_IA", "dz_3")


@pytest.mark.slow
def test_errors_of_the_emulators_forecast_are_cambs():
    """Three cosmological and two nuisance parameters of the mock survey, all together: within 1%."""
    pytest.importorskip("camb")
    survey, analysis = load_mock(), KiDS1000()
    model = analysis.model(galaxyjax.load("matter_power"), survey)
    values = {n: v for n, v in analysis.fiducial(survey).items() if n != "S8"} | {"ln10A_s": 2.9}
    likelihood, prior = likelihood_of(model, survey, None), analysis.prior(survey)
    ours = fisher(model.vector, likelihood, values, NAMES, prior)
    camb = by_differences(lambda v: truth_vector(model, v), likelihood, values, steps(NAMES), prior)
    for name in NAMES:
        assert ours.sigma[name] == pytest.approx(camb.sigma[name], rel=0.01), name
        assert ours.conditional_sigma[name] == pytest.approx(camb.conditional_sigma[name], rel=0.01), name
    np.testing.assert_allclose(ours.correlation, camb.correlation, atol=0.02)
