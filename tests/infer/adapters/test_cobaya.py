"""The Cobaya theory against CAMB, against CAMB through Cobaya, and beside another of its kind."""

from copy import deepcopy

import numpy as np
import pytest

import galaxyjax
from galaxyjax.core.errors import ConfigError, DomainError

cobaya_model = pytest.importorskip("cobaya.model")
THEORY = "galaxyjax.infer.adapters.cobaya_theory.MatterPower"
PARAMS = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.5, "ns": 0.965, "As": 2.1e-9, "mnu": 0.06}
THETA = {
    "omega_b": 0.0224,
    "omega_cdm": 0.12,
    "h": 0.675,
    "n_s": 0.965,
    "ln10A_s": np.log(21.0),
    "m_nu": 0.06,
}
GRID = {"z": [0.0, 0.5, 1.0, 1.5, 2.0], "k_max": 5.0, "nonlinear": [False, True]}
POWER = {"Pk_grid": GRID, "Pk_interpolator": deepcopy(GRID), "sigma8_z": {"z": [0.7, 0.0]}}
BACKGROUND = {
    "Hubble": {"z": [0.0, 0.5, 2.0]},
    "comoving_radial_distance": {"z": [0.3, 1.0, 5.0]},
    "angular_diameter_distance": {"z": [0.5, 2.0]},
    "angular_diameter_distance_2": {"z_pairs": [[0.3, 1.0], [0.5, 2.0]]},
}


def model(theory, requirements, params=PARAMS):
    """A Cobaya model that has been asked for these products, evaluated once."""
    info = {"likelihood": {"one": None}, "params": dict(params), "theory": deepcopy(theory)}
    made = cobaya_model.get_model(info)
    made.add_requirements(deepcopy(requirements))
    return made


def test_distances_and_expansion_are_cambs():
    camb = pytest.importorskip("camb")
    made = model({THEORY: None}, POWER | BACKGROUND)
    assert np.isfinite(made.logposterior({}).logpost)
    pars = camb.CAMBparams()
    pars.set_cosmology(H0=67.5, ombh2=0.0224, omch2=0.12, mnu=0.06, nnu=3.044, num_massive_neutrinos=3)
    truth, ours = camb.get_background(pars), made.provider
    np.testing.assert_allclose(
        ours.get_Hubble([2.0, 0.0]), truth.hubble_parameter(np.array([2.0, 0.0])), rtol=1e-6
    )
    np.testing.assert_allclose(ours.get_Hubble(0.5, units="1/Mpc"), truth.h_of_z(0.5), rtol=1e-6)
    z = np.array([0.3, 1.0, 5.0])
    np.testing.assert_allclose(
        ours.get_comoving_radial_distance(z), truth.comoving_radial_distance(z), rtol=1e-6
    )
    np.testing.assert_allclose(
        ours.get_angular_diameter_distance(2.0), truth.angular_diameter_distance(2.0), rtol=1e-6
    )
    np.testing.assert_allclose(
        ours.get_angular_diameter_distance_2([[0.3, 1.0]]),
        truth.angular_diameter_distance2(0.3, 1.0),
        rtol=1e-6,
    )


def test_spectra_come_in_mpc_and_the_amplitude_as_a_derived_parameter():
    emulator = galaxyjax.load("matter_power").numpy()
    made = model({THEORY: None}, POWER | BACKGROUND, PARAMS | {"sigma8": {"derived": True}})
    found = made.logposterior({})
    k, z, _ = made.provider.get_Pk_grid(nonlinear=True)
    assert k[0] == pytest.approx(1e-4 * 0.675) and k[-1] == pytest.approx(6.75)
    at = k[200:450:5]
    for nonlinear, output in ((False, "linear"), (True, "nonlinear")):
        expected = emulator.predict(THETA, k=at / 0.675, z=z, output=output) / 0.675**3
        np.testing.assert_allclose(
            made.provider.get_Pk_grid(nonlinear=nonlinear)[2][:, 200:450:5], expected, rtol=1e-9
        )
        spline = made.provider.get_Pk_interpolator(nonlinear=nonlinear).P(z, at)
        np.testing.assert_allclose(spline, expected, rtol=1e-9)
    sigma_8 = emulator.sigma8(THETA, [0.7, 0.0])
    np.testing.assert_allclose(made.provider.get_sigma8_z([0.7, 0.0]), sigma_8, rtol=1e-9)
    assert found.derived == pytest.approx([sigma_8[1]], rel=1e-9)


def test_two_theories_that_give_the_same_share_a_run_by_a_prefix():
    """Each keeps its own state, options and derived parameters."""
    both = {
        "gravity": {"class": THEORY},
        "feedback": {"class": THEORY, "nonlinear": "nonlinear_baryons", "prefix": "feedback_"},
    }
    sigma = {"derived": True}
    params = PARAMS | {"HMCode_logT_AGN": 8.0, "sigma8": sigma, "feedback_sigma8": sigma}
    wanted = {"feedback_Pk_grid": GRID | {"nonlinear": True}}
    made = model(both, POWER | BACKGROUND | wanted, params)
    one, other = made.logposterior({}).derived
    assert one == pytest.approx(other, rel=1e-9)
    k, _, gravity = made.provider.get_Pk_grid(nonlinear=True)
    _, _, feedback = made.provider.get_result("feedback_Pk_grid", nonlinear=True)
    emulator = galaxyjax.load("matter_power").numpy()
    expected = emulator.predict(
        THETA | {"logT_AGN": 8.0}, k=k[300:500] / 0.675, z=[0.0], output="baryon_suppression"
    )
    np.testing.assert_allclose((feedback / gravity)[:1, 300:500], expected, rtol=1e-6)
    assert expected.min() < 0.95


@pytest.mark.slow
def test_two_theories_that_give_different_things_share_a_run_by_provides():
    shared = {
        "spectra": {"class": THEORY, "provides": ["Pk_grid", "Pk_interpolator", "sigma8"]},
        "background": {"class": THEORY, "provides": list(BACKGROUND)},
    }
    made = model(shared, {"Pk_grid": GRID} | BACKGROUND, PARAMS | {"sigma8": {"derived": True}})
    assert np.isfinite(made.logposterior({}).logpost)
    assert made.theory["spectra"].requested().keys().isdisjoint(BACKGROUND)
    assert made.provider.get_Hubble(0.0) == pytest.approx(67.5)


def test_what_cannot_be_met_is_said_before_the_run():
    with pytest.raises(DomainError, match="k_max = 15/Mpc .* power_law"):
        model({THEORY: None}, {"Pk_grid": GRID | {"k_max": 15.0}})
    with pytest.raises(DomainError, match="z = 4 is above 3"):
        model({THEORY: None}, {"sigma8_z": {"z": [4.0]}})
    with pytest.raises(ConfigError, match="total matter"):
        model({THEORY: None}, {"Pk_grid": GRID | {"vars_pairs": [["Weyl", "Weyl"]]}})
    with pytest.raises(ConfigError, match="nothing fixes the tilt"):
        model({THEORY: None}, {"Pk_grid": GRID}, {n: v for n, v in PARAMS.items() if n != "ns"})
    with pytest.raises(ConfigError, match="the amplitude is fixed by"):
        model({THEORY: None}, {"Pk_grid": GRID}, PARAMS | {"logA": 3.0})
    with pytest.raises(ConfigError, match="no precision to set"):
        model({THEORY: {"extra_args": {"lmax": 2000}}}, {"Pk_grid": GRID})


def test_outside_the_domain_there_is_no_likelihood():
    params = PARAMS | {"omch2": {"prior": {"min": 0.05, "max": 0.4}}}
    made = model({THEORY: None}, POWER | BACKGROUND, params)
    assert made.logposterior({"omch2": 0.3}).loglike == -np.inf
    assert np.isfinite(made.logposterior({"omch2": 0.13}).loglike)


def test_beyond_the_emulator_a_power_law_where_it_is_wanted():
    wanted = POWER | BACKGROUND | {"Pk_grid": GRID | {"k_max": 15.0}}
    made = model({THEORY: {"beyond": "power_law"}}, wanted)
    made.logposterior({})
    k, _, power = made.provider.get_Pk_grid(nonlinear=True)
    assert k[-1] >= 15.0 and np.all(np.diff(k) > 0)
    slope = np.diff(np.log(power[0])) / np.diff(np.log(k))
    np.testing.assert_allclose(slope[k[1:] > 7.0], slope[-1], rtol=1e-9)
    assert slope[-1] == pytest.approx(slope[np.searchsorted(k, 6.0)], abs=0.02)


@pytest.mark.slow
def test_camb_through_cobaya_gives_the_same():
    """Every product, to the emulator's error and to the difference of two splines: 0.2%."""
    pytest.importorskip("camb")
    settings = {
        "halofit_version": "mead2020", "num_massive_neutrinos": 3, "nnu": 3.044, "kmax": 30.0,
        "dark_energy_model": "ppf", "neutrino_hierarchy": "degenerate",
    }  # fmt: skip
    wanted = {
        "Pk_interpolator": GRID,
        "sigma8_z": {"z": [0.0, 0.7]},
        "fsigma8": {"z": [0.0, 0.7]},
    } | BACKGROUND
    at, found = np.geomspace(3e-4, 4.0, 60), []
    for theory in ({THEORY: None}, {"camb": {"extra_args": settings}}):
        made = model(theory, wanted, PARAMS | {"sigma8": {"derived": True}})
        derived = made.logposterior({}).derived
        spectra = [made.provider.get_Pk_interpolator(nonlinear=n).P([0.25, 1.7], at) for n in (False, True)]
        found.append(
            (
                np.stack(spectra),
                made.provider.get_sigma8_z([0.0, 0.7]),
                derived,
                made.provider.get_fsigma8([0.0, 0.7]),
            )
        )
    ours, theirs = found
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-3)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=3e-4)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=3e-4)
    # CAMB's velocity is that of cold dark matter, ours that of total matter.
    np.testing.assert_allclose(ours[3], theirs[3], rtol=6e-3)
