"""The shipped mock survey: its covariance and noise follow from its truth, and its truth from CAMB."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galaxyjax.core.files import read_json
from galaxyjax.simulate import mock

SPEC = mock.MockSurvey()


@pytest.fixture(scope="module")
def survey():
    return mock.load_mock()


@pytest.fixture(scope="module")
def truth():
    return mock.load_truth()


@pytest.fixture(scope="module")
def remade(truth):
    return mock.observe(SPEC, np.array(truth["ell"]), np.array(truth["c_ell"]), np.array(truth["signal"]))


def test_it_is_small_and_says_what_it_is(survey):
    assert mock.SHIPPED.stat().st_size + (mock.SHIPPED.parent / mock.TRUTH_FILE).stat().st_size < 300_000
    assert survey.name == "mock" and "Not data of any survey" in survey.note
    assert survey.data.shape == (120,) and len(survey.pairs) == 15


def test_shipped_covariance_and_noise_follow_from_the_stored_spectra(survey, remade):
    difference = (survey.covariance - remade.covariance) / np.outer(survey.sigma, survey.sigma)
    np.testing.assert_allclose(difference, 0.0, atol=1e-5)
    np.testing.assert_allclose((survey.data - remade.data) / survey.sigma, 0.0, atol=1e-4)
    np.testing.assert_allclose(survey.nz, remade.nz, rtol=1e-12)  # exp() of another machine


def test_the_truth_is_the_one_in_the_code(truth):
    assert truth["parameters"] == mock.TRUTH
    assert truth["spec"]["seed"] == SPEC.seed and truth["camb"]["code"] == "CAMB"
    derived = truth["derived"]
    assert derived["S8"] == pytest.approx(derived["sigma_8"] * np.sqrt(derived["Omega_m"] / 0.3))


def test_the_signal_is_the_stored_spectra_through_the_filters(truth):
    """A second road from C_ell to band powers: the filters summed over multipoles one by one."""
    from galaxyjax.theory.bandpowers import band_edges, band_filters

    edges = band_edges(*SPEC.ell_range, SPEC.bands)
    fine, plus, minus = band_filters(edges, SPEC.theta_range, SPEC.apodisation)
    ell = np.arange(2.0, 30_000.0)
    nodes, c_ell = np.array(truth["ell"]), np.array(truth["c_ell"])[-1]
    smooth = np.exp(np.interp(np.log(ell), np.log(nodes), np.log(c_ell)))
    for band, expected in enumerate(np.array(truth["signal"]).reshape(15, 8)[-1]):
        filtered = np.interp(np.log(ell), np.log(fine), (plus + minus)[band])
        found = np.sum(ell * filtered * smooth) / (2.0 * np.log(edges[band + 1] / edges[band]))
        assert found == pytest.approx(expected, rel=5e-3)


def test_the_noise_is_one_plausible_draw(survey, truth):
    residual = survey.data - np.array(truth["signal"])
    chi2 = residual @ np.linalg.solve(survey.covariance, residual)
    assert abs(chi2 - 120.0) < 3.0 * np.sqrt(240.0)


def test_the_signal_is_as_strong_as_that_of_such_surveys(survey, truth):
    signal = np.array(truth["signal"])
    assert 15.0 < np.sqrt(signal @ np.linalg.solve(survey.covariance, signal)) < 35.0


def test_mean_redshifts_and_area_of_the_distributions(survey):
    area = np.trapezoid(survey.nz, survey.z_mid, axis=1)
    mean = np.trapezoid(survey.nz * survey.z_mid, survey.z_mid, axis=1) / area
    np.testing.assert_allclose(area, 1.0, atol=2e-3)
    np.testing.assert_allclose(mean, SPEC.mean_z, atol=2e-3)


def test_pure_noise_has_the_variance_of_counted_modes():
    """Without signal, a wide filter's variance is N^2 over the number of modes, to the filters' width."""
    ell = np.geomspace(1.0, 1e5, 64)
    covariance = mock.gaussian_covariance(SPEC, ell, np.zeros((15, 64)))
    sigma = np.sqrt(np.diag(covariance)).reshape(15, 8)
    edges = np.geomspace(*SPEC.ell_range, SPEC.bands + 1)
    low, high = edges[:-1], edges[1:]
    modes = SPEC.f_sky * (high**2 - low**2)
    # The mean of ell^2 over a band, weighted evenly in ln ell as band powers are.
    mean_square = 0.5 * (high**2 - low**2) / np.log(high / low)
    for row, (i, j) in enumerate(SPEC.pairs):
        variance = (1.0 + (i == j)) * SPEC.noise[i - 1] * SPEC.noise[j - 1] / modes
        np.testing.assert_allclose(sigma[row], mean_square * np.sqrt(variance), rtol=0.15)
    blocks = covariance.reshape(15, 8, 15, 8)
    assert np.all(blocks[0, :, 1:] == 0.0)  # noise of different bins is independent


def test_cosmic_variance_scales_with_the_area(truth):
    ell, c_ell = np.array(truth["ell"]), np.array(truth["c_ell"])
    once = mock.gaussian_covariance(SPEC, ell, c_ell)
    np.testing.assert_allclose(
        mock.gaussian_covariance(replace(SPEC, area=2 * SPEC.area), ell, c_ell), once / 2
    )
    # Four times the signal without noise: sixteen times the covariance.
    silent = replace(SPEC, sigma_e=1e-6)
    quiet = mock.gaussian_covariance(silent, ell, c_ell)
    np.testing.assert_allclose(
        mock.gaussian_covariance(silent, ell, 4 * c_ell), 16 * quiet, rtol=1e-4, atol=1e-6 * quiet.max()
    )


@pytest.mark.skipif("GALAXYJAX_DATA" not in os.environ, reason="needs the KiDS-1000 file in GALAXYJAX_DATA")
def test_errors_are_those_of_kids_at_its_density(truth):
    """With the densities and dispersions of KiDS-1000 the errors are its own but for what is left out."""
    from astropy.io import fits

    with fits.open(Path(os.environ["GALAXYJAX_DATA"]) / "kids1000" / "kids1000_bp.fits") as file:
        published = np.array(file["COVMAT"].data[80:200, 80:200])
        header = file["NZ_SOURCE"].header
        density = tuple(header[f"NGAL_{i}"] for i in range(1, 6))
        scatter = np.mean([header[f"SIG_E_{i}"] for i in range(1, 6)])
    spec = replace(SPEC, n_eff=density, sigma_e=float(scatter))
    ours = mock.gaussian_covariance(spec, np.array(truth["ell"]), np.array(truth["c_ell"]))
    ratio = np.sqrt(np.diag(published) / np.diag(ours))
    assert 1.0 < np.median(ratio) < 1.15
    assert 0.9 < ratio.min() and ratio.max() < 1.4


@pytest.mark.slow
def test_the_shipped_file_is_what_the_code_makes_from_camb(survey, truth, tmp_path):
    pytest.importorskip("camb")
    path = mock.write_mock(tmp_path / "mock.npz")
    again = mock.load_survey(path)
    np.testing.assert_allclose((again.data - survey.data) / survey.sigma, 0.0, atol=2e-3)
    np.testing.assert_allclose(again.sigma, survey.sigma, rtol=1e-4)
    assert read_json(tmp_path / mock.TRUTH_FILE)["derived"] == pytest.approx(truth["derived"], rel=1e-5)
