"""The data vector: linear in P, right in both precisions, batched, differentiable, and converged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.data.survey import kids1000
from galaxyjax.theory.limber import Extension
from galaxyjax.theory.shear import Resolution, Shear


@pytest.fixture(scope="module")
def shear(survey):
    return Shear.from_survey(survey)


def cosmology_of(p):
    return Cosmology(omega_b=p[0], omega_cdm=p[1], h=p[2], n_s=0.96, ln10A_s=3.0, m_nu=p[3], w0=p[4], wa=p[5])


def vector_of(shear, power):
    """From (cosmology's six, shifts, A_IA, ln amplitude of P) to the data vector."""

    def vector(p):
        amplitude = jnp.exp(p[-1])
        return shear(lambda k, z: amplitude * power(k, z), cosmology_of(p), p[6:-2], p[-2])

    return vector


POINT = np.array([0.0225, 0.118, 0.7, 0.1, -0.9, -0.2, 0.01, -0.01, 0.005, 0.8, 0.1])


def test_order_is_pair_by_pair_and_bands_ascend(shear, survey, power, cosmology):
    vector = np.asarray(shear(power, cosmology, jnp.zeros(3), 0.0)).reshape(len(survey.pairs), 8)
    c_ell = np.asarray(shear.angular_power(shear.table(power, cosmology), cosmology, jnp.zeros(3), 0.0))
    np.testing.assert_allclose(vector, c_ell @ shear.bands.T, rtol=1e-4)
    by_pair = {tuple(pair): row for pair, row in zip(survey.pairs, vector, strict=True)}
    for i in (1, 2):  # the further the sources, the stronger the lensing, and in every pair it grows with ell
        assert np.all(by_pair[3, 3] > by_pair[i, i]) and np.all(by_pair[i, 3] > by_pair[i, i])
    assert np.all(np.diff(vector, axis=1) > 0.0)


def test_bands_are_roughly_ell_squared_times_c_ell(shear, survey, power, cosmology):
    """The units: mean ell^2 C_ell, no 2 pi."""
    table = shear.table(power, cosmology)
    c_ell = np.asarray(shear.angular_power(table, cosmology, jnp.zeros(3), 0.0))[-1]
    vector = np.asarray(shear.project(table, cosmology, jnp.zeros(3), 0.0))[-8:]
    rough = survey.ell**2 * np.exp(np.interp(np.log(survey.ell), np.log(shear.ell_nodes), np.log(c_ell)))
    np.testing.assert_allclose(vector, rough, rtol=0.06)


def test_galaxies_at_higher_redshift_are_sheared_more(shear, power, cosmology):
    at = [np.asarray(shear(power, cosmology, jnp.full(3, s), 0.0)) for s in (-0.02, 0.0, 0.02)]
    assert np.all(at[0] < at[1]) and np.all(at[1] < at[2])


def test_it_is_linear_in_the_power(shear, power, cosmology, float64):
    table = shear.table(power, cosmology)
    modes = jnp.stack([table, table * jnp.sin(jnp.arange(table.size)).reshape(table.shape), table**2])
    vectors = shear.project_modes(modes, cosmology, jnp.zeros(3), 1.0)
    mixed = shear.project(2.0 * modes[0] - 3.0 * modes[1] + 0.1 * modes[2], cosmology, jnp.zeros(3), 1.0)
    expected = 2.0 * vectors[0] - 3.0 * vectors[1] + 0.1 * vectors[2]
    np.testing.assert_allclose(np.asarray(mixed), np.asarray(expected), rtol=1e-9)


def test_float32_is_float64_within_its_digits(shear, power):
    function = vector_of(shear, power)
    single = np.asarray(jax.jit(function)(jnp.asarray(POINT, jnp.float32)))
    slopes = np.asarray(jax.jit(jax.jacrev(function))(jnp.asarray(POINT, jnp.float32)))
    assert single.dtype == np.float32
    with jax.enable_x64(True):
        double = np.asarray(jax.jit(function)(jnp.asarray(POINT)))
        exact = np.asarray(jax.jit(jax.jacrev(function))(jnp.asarray(POINT)))
        mixed = jax.jit(function)(jnp.asarray(POINT, jnp.float32))  # float32 stays float32 there
    assert double.dtype == np.float64 and mixed.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=5e-5)
    np.testing.assert_allclose(slopes, exact, atol=1e-4 * np.abs(exact).max(axis=0).min())


def test_gradients_are_those_of_finite_differences(shear, power, float64):
    function = jax.jit(vector_of(shear, power))
    at = jnp.asarray(POINT)
    reverse = np.asarray(jax.jit(jax.jacrev(function))(at))
    _, along = jax.jvp(function, (at,), (jnp.ones_like(at),))
    np.testing.assert_allclose(np.asarray(along), reverse.sum(axis=1), rtol=1e-9)
    for i in range(len(POINT)):
        up, down = (np.asarray(function(at.at[i].add(step))) for step in (1e-5, -1e-5))
        numeric = (up - down) / 2e-5
        np.testing.assert_allclose(reverse[:, i], numeric, rtol=1e-4, atol=1e-6 * np.abs(numeric).max())


def test_a_batch_is_its_members(shear, power):
    function = jax.jit(vector_of(shear, power))
    points = jnp.asarray(POINT, jnp.float32) * (1.0 + 0.01 * jnp.arange(3.0)[:, None])
    batch = np.asarray(jax.jit(jax.vmap(function))(points))
    np.testing.assert_allclose(batch, np.stack([np.asarray(function(p)) for p in points]), rtol=1e-5)


def test_a_table_of_the_wrong_shape_is_refused(shear, cosmology):
    with pytest.raises(ConfigError, match=r"\(nz, nell\) = \(24, 44\)"):
        shear.project(jnp.ones((5, 5)), cosmology, jnp.zeros(3), 0.0)


@pytest.fixture(scope="module")
def kids(data_root):
    return kids1000()


def distances(a, b, survey):
    """max |difference| / sigma, and the chi2 of the difference."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    return np.abs(difference / survey.sigma).max(), difference @ np.linalg.solve(
        survey.covariance, difference
    )


def test_default_resolution_is_converged_for_kids1000(kids, power, cosmology, float64):
    shift = jnp.asarray(kids.shift_mean)
    ours = Shear.from_survey(kids)(power, cosmology, shift, 1.0)
    best = Shear.from_survey(kids, Resolution(n_z=160, n_ell=160, n_gauss=6, ell_min=0.5, ell_max=2e5))
    largest, chi2 = distances(ours, best(power, cosmology, shift, 1.0), kids)
    assert largest < 2e-3 and chi2 < 2e-5


def test_multipoles_beyond_the_range_change_nothing(kids, power, cosmology, float64):
    """Half the smallest and twice the largest multipole, and twice the nodes."""
    shift = jnp.asarray(kids.shift_mean)
    here, there = (
        Shear.from_survey(kids, Resolution(n_z=48, n_ell=n, ell_min=low, ell_max=high))(
            power, cosmology, shift, 1.0
        )
        for n, low, high in ((88, 1.0, 1e5), (180, 0.5, 2e5))
    )
    assert distances(here, there, kids)[0] < 2e-4


def test_spin_factor_is_small_and_known(kids, power, cosmology, float64):
    shift = jnp.asarray(kids.shift_mean)
    off, on = (Shear.from_survey(kids, spin_factor=f)(power, cosmology, shift, 1.0) for f in (False, True))
    assert 1e-4 < distances(off, on, kids)[0] < 3e-3


def test_extension_in_k_matters_little(kids, power, cosmology, float64):
    shift = jnp.asarray(kids.shift_mean)
    known, extended = (
        Shear.from_survey(kids, extension=Extension(k_max=k))(power, cosmology, shift, 1.0)
        for k in (200.0, 10.0)
    )
    assert distances(known, extended, kids)[1] < 1e-3
