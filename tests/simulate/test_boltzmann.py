"""CAMB's spectra: the version asked for, the amplitude's exact scaling, units, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from galaxyjax.core.errors import DomainError, UnknownName
from galaxyjax.simulate import boltzmann

pytest.importorskip("camb", reason="needs CAMB: pip install 'galaxyjax[camb]'")

# Coarse transfer functions: these tests are about bookkeeping, not about convergence.
FAST = boltzmann.CambSettings(kmax_h=5.0, transfer_k_boost=1.0)
THETA = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.68, "n_s": 0.965, "ln10A_s": 3.05, "m_nu": 0.0}
K, Z = np.geomspace(1e-3, 4.0, 60), np.array([0.0, 1.0, 2.5])


@pytest.fixture(scope="module")
def results():
    return boltzmann.transfer(THETA, Z, FAST)


def fresh(version, ln10A_s, n_s, logT_AGN=None):
    """One spectrum from results that never saw another version."""
    own = boltzmann.transfer(THETA, Z, FAST)
    boltzmann.set_primordial(own, ln10A_s, n_s)
    return boltzmann.nonlinear_table(own, version, logT_AGN)[2]


def test_reused_results_answer_with_the_version_asked_for(results):
    """CAMB keeps its last non-linear ratio; every answer must equal that of fresh results."""
    asked = [
        ("mead2020", 3.05, 0.965, None),
        ("mead2020_feedback", 3.05, 0.965, 8.0),
        ("mead2020", 2.5, 0.9, None),
        ("mead2020_feedback", 2.5, 0.9, 7.5),
    ]
    for version, ln10A_s, n_s, logT_AGN in asked:
        boltzmann.set_primordial(results, ln10A_s, n_s)
        found = boltzmann.nonlinear_table(results, version, logT_AGN)[2]
        np.testing.assert_allclose(found, fresh(version, ln10A_s, n_s, logT_AGN), rtol=1e-12)


def test_feedback_suppresses_power_at_one_h_per_mpc():
    spectra = boltzmann.power({**THETA, "logT_AGN": 8.0}, Z, K, settings=FAST)
    at_one = np.argmin(np.abs(K - 1.0))
    # Mead et al. 2021, fig. 7: at z = 0 the suppression at k = 1 h/Mpc is several percent for 10^8 K.
    assert 0.85 < spectra["baryon_suppression"][0, at_one] < 0.97
    np.testing.assert_allclose(
        spectra["baryon_suppression"], spectra["nonlinear_baryons"] / spectra["nonlinear"], rtol=1e-12
    )


def test_amplitude_scales_the_linear_spectrum_exactly(results):
    boltzmann.set_primordial(results, 3.05, 0.965)
    k, z, one = boltzmann.linear_table(results)
    boltzmann.set_primordial(results, 2.05, 0.9)
    _, _, two = boltzmann.linear_table(results)
    tilt = (k * THETA["h"] / 0.05) ** (0.965 - 0.9)
    np.testing.assert_allclose(one / two, np.e * np.broadcast_to(tilt, one.shape), rtol=1e-6)
    assert list(z) == sorted(z)


def test_sigma8_is_the_integral_of_the_spectrum():
    spectra = boltzmann.power(THETA, Z, K, ("linear",), FAST)
    x = 8.0 * K
    window = 3.0 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(spectra["linear"] * window**2 * K**3 / (2 * np.pi**2), np.log(K), axis=-1)
    np.testing.assert_allclose(spectra["sigma8"], np.sqrt(variance), rtol=3e-3)


def test_unknown_names_and_wavenumbers_beyond_the_table_are_refused():
    with pytest.raises(UnknownName, match="Omega_k"):
        boltzmann.power({**THETA, "Omega_k": 0.1}, Z, K, settings=FAST)
    with pytest.raises(UnknownName, match="cb"):
        boltzmann.power(THETA, Z, K, ("cb",), FAST)
    with pytest.raises(DomainError, match="kmax_h"):
        boltzmann.power(THETA, Z, np.array([1.0, 8.0]), settings=FAST)


@pytest.mark.slow
def test_doubling_the_accuracy_moves_nothing():
    """Twenty corners of the prior: median and 95% of the change; worst corners are in the card."""
    names = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa", "logT_AGN")
    low = np.array([0.019, 0.051, 0.60, 0.84, 1.6, 0.0, -1.3, -2.0, 7.4])
    high = np.array([0.026, 0.255, 0.85, 1.10, 4.0, 0.5, -0.4, 0.5, 8.3])
    rng, k = np.random.default_rng(5), np.geomspace(1e-3, 10.0, 200)
    settings = boltzmann.CambSettings()
    finer = replace(settings, kmax_h=2 * settings.kmax_h, accuracy_boost=2.0)
    changes = []
    for _ in range(20):
        theta = dict(zip(names, np.where(rng.random(9) < 0.5, low, high), strict=True))
        theta["wa"] = min(theta["wa"], -0.3 - theta["w0"])
        one = boltzmann.power(theta, Z, k, ("linear", "nonlinear"), settings)
        two = boltzmann.power(theta, Z, k, ("linear", "nonlinear"), finer)
        if 0.4 <= one["sigma8"][0] <= 1.2:
            changes += [np.abs(one[name] / two[name] - 1.0) for name in ("linear", "nonlinear")]
    changes = np.array(changes)
    print(f"{len(changes) // 2} core corners: 95% {np.percentile(changes, 95):.1e}, max {changes.max():.1e}")
    assert np.percentile(changes, 95) < 5e-4


def test_a_kept_transfer_function_answers_for_its_own_background_only():
    def at(**changes):
        return boltzmann.power({**THETA, **changes}, Z, K, ("linear",), FAST)["linear"]

    one = at()
    np.testing.assert_allclose(at(ln10A_s=THETA["ln10A_s"] + 1.0), np.e * one, rtol=1e-6)
    assert np.abs(at(omega_cdm=0.13) / one - 1.0).max() > 0.01
    np.testing.assert_array_equal(at(), one)
