"""Distances: r_drag and D(z) against CAMB, readers, supernovae's free constant, and the joint posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag

import galaxyjax
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.data.distances import (
    DistanceSurvey,
    distances,
    load_distances,
    read_bao,
    read_supernovae,
)
from galaxyjax.data.joint import join, load_any
from galaxyjax.infer.distances import camb_theory, quantities, theory
from galaxyjax.infer.fisher import fisher
from galaxyjax.infer.likelihood import gaussian
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.simulate.mock import load_mock, load_truth
from galaxyjax.theory.sound_horizon import drag_horizon

POINT = {"omega_b": 0.0223, "omega_cdm": 0.119, "h": 0.68, "n_s": 0.965, "ln10A_s": 3.05, "m_nu": 0.06}
ODD = POINT | {"omega_b": 0.0195, "omega_cdm": 0.2, "h": 0.8, "m_nu": 0.4, "w0": -0.8, "wa": -0.5}
Z = np.array([0.295, 0.51, 0.51, 0.93, 2.33])
BAO = ("DV_over_rs", "DM_over_rs", "DH_over_rs", "DM_over_rs", "DH_over_rs")


def acoustic(measured=None):
    """A survey like DESI's."""
    covariance = block_diag([[0.02]], [[0.06, -0.07], [-0.07, 0.36]], [[0.08]], [[0.03]])
    return DistanceSurvey("bao", BAO, Z, Z, np.ones(5) if measured is None else measured, covariance)


def supernovae(n=6):
    z = np.linspace(0.05, 1.2, n)
    covariance = 0.01 * np.eye(n) + 0.005
    return DistanceSurvey("sn", ("mu",) * n, z, z + 1e-3, 36.0 + np.arange(n), covariance)


@pytest.mark.parametrize("point", [POINT, ODD])
def test_distances_and_the_sound_horizon_are_cambs(point, float64):
    pytest.importorskip("camb")
    for survey, limit in ((acoustic(), 1e-4), (supernovae(), 1e-6)):
        found = np.asarray(theory(survey, Cosmology(**point)))
        np.testing.assert_allclose(found, camb_theory(survey, point), rtol=limit, atol=limit)


def test_the_sound_horizon_of_planck_cosmology():
    """CAMB 2.0.5: 147.0741 Mpc at omega_b 0.0224, omega_cdm 0.12, m_nu 0.06 eV, whatever h."""
    for h in (0.6, 0.7):
        cosmology = Cosmology(0.0224, 0.12, h, 0.96, 3.0, 0.06)
        assert float(drag_horizon(cosmology)) / h == pytest.approx(147.07406, rel=3e-5)


def test_gradients_are_those_of_finite_differences(float64):
    names = ("omega_b", "omega_cdm", "h", "m_nu", "w0", "wa")

    def vector(p):
        c = Cosmology(**{**ODD, **dict(zip(names, p, strict=True))})
        return jnp.concatenate([quantities(acoustic(), c), theory(supernovae(), c)])

    at = jnp.array([ODD[name] for name in names])
    function, slopes = jax.jit(vector), np.asarray(jax.jit(jax.jacrev(vector))(at))
    for i in range(len(at)):
        up, down = (np.asarray(function(at.at[i].add(step))) for step in (1e-5, -1e-5))
        numeric = (up - down) / 2e-5
        np.testing.assert_allclose(slopes[:, i], numeric, rtol=1e-6, atol=1e-7 * np.abs(numeric).max())
    single = np.asarray(vector(at.astype(jnp.float32)))
    np.testing.assert_allclose(single, np.asarray(function(at)), rtol=2e-5, atol=2e-5)


def test_slopes_are_finite_in_float32():
    """a^4 E^2 near a = 0 would overflow."""
    slope = jax.jit(jax.grad(lambda c: jnp.sum(quantities(acoustic(), c))))
    found = jax.tree_util.tree_leaves(slope(Cosmology(**{k: jnp.float32(v) for k, v in ODD.items()})))
    assert np.isfinite(found).all()


def test_contrasts_marginalise_the_constant(float64):
    """chi2 = r C^-1 r - (1 C^-1 r)^2 / (1 C^-1 1), and any constant in the data drops out."""
    survey, cosmology = supernovae(), Cosmology(**POINT)
    r = survey.measured - np.asarray(quantities(survey, cosmology))
    inverse, one = np.linalg.inv(survey.error), np.ones(len(r))
    expected = r @ inverse @ r - (one @ inverse @ r) ** 2 / (one @ inverse @ one)
    for constant in (0.0, -19.3):
        moved = survey.with_data(survey.measured + constant, "moved")
        chi2 = gaussian(moved.data, moved.covariance).chi2(theory(moved, cosmology))
        assert float(chi2) == pytest.approx(expected, rel=1e-9)


def test_files_are_read_and_bad_ones_named(tmp_path):
    mean, cov = tmp_path / "mean.txt", tmp_path / "cov.txt"
    mean.write_text(
        "# [z] [value] [quantity]\n0.295 7.9 DV_over_rs\n0.51 13.6 DM_over_rs\n0.51 21.9 DH_over_rs\n"
    )
    cov.write_text("5.8e-3 0 0\n0 2.8e-2 -3.3e-2\n0 -3.3e-2 1.8e-1\n")
    survey = read_bao(mean, cov, "small")
    assert survey.quantity == ("DV_over_rs", "DM_over_rs", "DH_over_rs") and survey.error[1, 2] == -3.3e-2
    survey.save(tmp_path / "small.npz")
    again = load_distances(tmp_path / "small.npz")
    np.testing.assert_array_equal(again.data, survey.data)
    table, matrix = tmp_path / "table.txt", tmp_path / "matrix.txt"
    table.write_text("#name zcmb zhel dz mb dmb\nbin00 0.05 0.051 0 36.6 0\nbin01 0.1 0.101 0 38.2 0.1\n")
    matrix.write_text("2\n0.0086\n0.0078\n0.0078\n0.0087\n")
    sn = read_supernovae(table, matrix, "sn")
    assert sn.z_helio[1] == 0.101 and sn.error[1, 1] == pytest.approx(0.0187) and sn.data.shape == (1,)
    matrix.write_text("2\n0.0086\n0.0078\n")
    with pytest.raises(FileError, match="cut short"):
        read_supernovae(table, matrix, "sn")
    mean.write_text("0.295 7.9 DA_over_rs\n0.51 13.6 DM_over_rs\n0.51 21.9 DH_over_rs\n")
    with pytest.raises(DataError, match="DA_over_rs"):
        read_bao(mean, cov, "small")
    with pytest.raises(DataError, match="stand alone"):
        DistanceSurvey("x", ("mu", "DM_over_rs"), [0.1, 0.2], [0.1, 0.2], [1.0, 2.0], np.eye(2))


# chi2 at POINT; Cobaya's likelihoods with CAMB agree to 0.011 (benchmarks/distances.py).
FROZEN = {"desi_dr1_bao": (12, 15.2976), "desi_dr2_bao": (13, 15.0720), "union3": (21, 27.5024)}


@pytest.mark.parametrize("name", FROZEN)
def test_chi2_of_the_published_data_is_what_it_was(name, data_root, float64):
    try:
        survey = distances(name, download=False)
    except FileError as missing:
        pytest.skip(str(missing))
    size, chi2 = FROZEN[name]
    assert survey.data.shape == (size,)
    found = gaussian(survey.data, survey.covariance).chi2(theory(survey, Cosmology(**POINT)))
    assert float(found) == pytest.approx(chi2, abs=2e-3)


@pytest.fixture(scope="module")
def joint():
    """The shear mock, and distances that CAMB would give at its truth, with nothing measured by hand."""
    pytest.importorskip("camb")
    truth = load_truth()["parameters"]
    theta = {name: truth[name] for name in ("omega_b", "omega_cdm", "h", "m_nu") if name in truth}
    bao = acoustic(camb_theory(acoustic(), theta))
    return join([bao, load_mock(), supernovae()]), truth


def test_a_joint_likelihood_is_the_sum_of_its_parts(joint, float64, tmp_path):
    try:
        emulator = galaxyjax.load("matter_power")
    except galaxyjax.core.errors.GalaxyjaxError as missing:
        pytest.skip(str(missing))
    survey, truth = joint
    analysis = KiDS1000(emulator_error=False)
    model = analysis.model(emulator, survey)
    values = {**analysis.prior(survey).fixed, **analysis.fiducial(survey)}
    values = {name: jnp.asarray(float(truth.get(name, value))) for name, value in values.items()}
    function = jax.jit(model.vector)
    total = float(likelihood_of(model, survey, None).chi2(function(values)))
    alone = analysis.model(emulator, survey.shear)
    shear = float(likelihood_of(alone, survey.shear, None).chi2(function(values)[: survey.shear.data.size]))
    cosmology = model.cosmology(values)
    parts = [
        float(gaussian(part.data, part.covariance).chi2(theory(part, cosmology))) for part in survey.distances
    ]
    assert total == pytest.approx(shear + sum(parts), rel=1e-8)
    # At the mock's truth distances made by CAMB are met exactly: the sound horizon's fit is all that is left.
    assert parts[0] < 1e-3 and shear == pytest.approx(survey.shear.data.size, abs=50)
    survey.save(tmp_path / "survey.npz")
    np.testing.assert_array_equal(load_any(tmp_path / "survey.npz").covariance, survey.covariance)


def test_what_cannot_be_joined_is_refused(joint):
    with pytest.raises(ConfigError, match="exactly one of cosmic shear"):
        join([supernovae()])
    with pytest.raises(ConfigError, match="given twice"):
        join([load_mock(), supernovae(), supernovae()])


@pytest.mark.slow
def test_distances_narrow_what_shear_leaves_open(joint, float64):
    survey, truth = joint
    emulator, analysis = galaxyjax.load("matter_power"), KiDS1000(emulator_error=False)
    model, alone = analysis.model(emulator, survey), analysis.model(emulator, survey.shear)
    prior = analysis.prior(survey)
    numbers = {**prior.fixed, **analysis.fiducial(survey)}
    both = fisher(model.vector, likelihood_of(model, survey, None), numbers, prior.names, prior)
    one = fisher(alone.vector, likelihood_of(alone, survey.shear, None), numbers, prior.names, prior)
    assert both.sigma["omega_cdm"] < 0.6 * one.sigma["omega_cdm"] and both.sigma["S8"] < one.sigma["S8"]
