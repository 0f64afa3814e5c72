"""A measured response in the shear likelihood: the vector, its gradient, and its error in the covariance."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import standin

import galaxyjax
from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.error import ErrorModel, OutputError
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.simulate.mock import load_mock

VALUES = {"S8": 0.78, "omega_cdm": 0.12, "omega_b": 0.0224, "h": 0.7, "n_s": 0.96, "A_IA": 0.5}
FIXED = {"m_nu": 0.06, "w0": -1.0, "wa": 0.0, "sigma_star": 0.0, "jet": 0.0}


@pytest.fixture(scope="module")
def survey():
    return load_mock()


def spectrum():
    """The closed-form spectrum with no error of its own to speak of."""
    k, z = np.geomspace(1e-4, 10.0, 4), np.linspace(0.0, 3.0, 4)
    none = np.zeros((1, 4, 4))
    return standin.emulator(
        ErrorModel({"nonlinear": OutputError(k, z, none[0], none, none[0], np.array([50.0]), none)})
    )


def at(sigma_gas):
    values = VALUES | FIXED | {f"dz_{i}": 0.0 for i in range(1, 6)} | {"sigma_gas": sigma_gas}
    return {name: jnp.asarray(value, float) for name, value in values.items()}


@pytest.mark.usefixtures("float64")
def test_more_gas_more_power_and_the_gradient_is_right(survey):
    """Against central differences, through response, Limber and bands, in float64."""
    analysis = KiDS1000(baryons="baryon_response")
    model = analysis.model(spectrum(), survey)
    likelihood = likelihood_of(model, survey, None)
    total = jax.jit(
        jax.value_and_grad(lambda g: model.log_likelihood(at(0.0) | {"sigma_gas": g}, likelihood))
    )
    step = 1e-3
    (_, slope), above, below = (total(jnp.asarray(-3.0 + d)) for d in (0.0, step, -step))
    assert float(slope) == pytest.approx(float(above[0] - below[0]) / (2 * step), rel=1e-6)
    vector = jax.jit(lambda g: model.vector(at(0.0) | {"sigma_gas": g}))
    less, more = (np.asarray(vector(jnp.asarray(g))) for g in (-8.0, 2.0))
    assert (more > less).mean() > 0.95


@pytest.mark.usefixtures("float64")
def test_the_stated_error_is_in_the_covariance_as_large_as_the_prior_makes_it(survey):
    """A prior over stars, between whose two simulations nothing is known, costs more than one over gas."""
    gas = KiDS1000(baryons="baryon_response")
    stars = replace(gas, sigma_gas=(-4.0, 0.0), sigma_star=(-1.0, 0.0))
    one, other = (analysis.model(spectrum(), survey).emulator for analysis in (gas, stars))
    k, z = np.array([0.5, 3.0]), np.array([0.2, 1.0])
    sizes = [np.sum(emulator.modes("nonlinear", k, z) ** 2, axis=0) for emulator in (one, other)]
    assert (sizes[1] > 4.0 * sizes[0]).all() and (sizes[0] > 0.0).all()
    np.testing.assert_allclose(sizes[0] / one.typical**2, sizes[1] / other.typical**2, rtol=1e-6)
    # The covariance of the band powers grows by the modes carried through the projection.
    model = stars.model(spectrum(), survey)
    plain, with_error = (likelihood_of(model, survey, f) for f in (None, stars.fiducial(survey)))
    added = 1.0 / np.asarray(with_error.scale) ** 2 - 1.0 / np.asarray(plain.scale) ** 2
    share = np.sqrt(added / np.diag(survey.covariance))
    assert 1e-3 < share.max() < 1.0 and (added > 0.0).all()


def test_logt_agn_and_a_response_are_one_error():
    with pytest.raises(ConfigError, match="logT_AGN describes the same effect"):
        KiDS1000(baryons="baryon_response", output="nonlinear_baryons")
    assert KiDS1000().output == "nonlinear_baryons"
    assert "logT_AGN" not in KiDS1000(baryons="baryon_response").prior(load_mock()).names


def test_one_contract_of_both():
    both = KiDS1000(baryons="baryon_response").model(galaxyjax.load("matter_power"), load_mock()).emulator
    assert "logT_AGN" not in both.contract.domain
    assert set(both.contract.output("nonlinear").inputs) >= {"omega_b", "sigma_gas", "jet"}
    assert both.contract.k_range == (1e-4, 10.0)
