"""The Limber integral against brute-force quadrature of its definition, and its policy where P is unknown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core import units
from galaxyjax.core.background import comoving_distance, expansion, growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError
from galaxyjax.theory.alignment import C1_RHO_CRIT, alignment_amplitude
from galaxyjax.theory.limber import Extension, LineOfSight
from galaxyjax.theory.redshifts import Redshifts

CORNERS = (
    Cosmology(omega_b=0.0225, omega_cdm=0.118, h=0.7, n_s=0.96, ln10A_s=2.95),
    Cosmology(omega_b=0.019, omega_cdm=0.06, h=0.85, n_s=0.96, ln10A_s=2.95, m_nu=0.5, w0=-1.3, wa=-1.0),
    Cosmology(omega_b=0.026, omega_cdm=0.25, h=0.6, n_s=0.96, ln10A_s=2.95, m_nu=0.0, w0=-0.6, wa=0.3),
)
ELL = np.array([30.0, 300.0, 3000.0])


def line_of(survey, **options):
    return LineOfSight.from_redshifts(
        Redshifts.from_histogram(survey.z_mid, survey.nz), survey.pairs - 1, **options
    )


def brute_force(survey, power, cosmology, shift, A_IA, z_max, points=12000):
    """C_ell (npair, nell) by the midpoint rule straight from the definition, P called at every point."""
    z_end = survey.z_mid[-1]
    z = (np.arange(points) + 0.5) * z_end / points
    step = z[1] - z[0]
    x = np.asarray(comoving_distance(cosmology, z)) / units.HUBBLE_DISTANCE
    rate, growth = np.asarray(expansion(cosmology, z)), np.asarray(growth_factor(cosmology, z))
    sources = Redshifts.from_histogram(survey.z_mid, survey.nz)
    kernels = []
    for nodes in np.asarray(sources.shifted(shift)):
        n = np.interp(z, sources.nodes, nodes)
        behind = [np.cumsum(f[::-1])[::-1] - 0.5 * f for f in (n * step, n / x * step)]
        lensing = 1.5 * cosmology.Omega_m * (1.0 + z) * x * (behind[0] - x * behind[1])
        kernels.append(lensing - A_IA * C1_RHO_CRIT * cosmology.Omega_m / growth * n * rate)
    near = z < z_max
    k = (ELL + 0.5) / (x[near, None] * units.HUBBLE_DISTANCE)
    p = np.asarray(power(k, z[near])) / units.HUBBLE_DISTANCE**3
    measure = step / (rate * x**2)
    return np.stack([(kernels[i - 1] * kernels[j - 1] * measure)[near] @ p for i, j in survey.pairs])


@pytest.mark.parametrize("A_IA", [0.0, 3.0])
def test_it_is_the_integral_of_its_definition(survey, power, cosmology, float64, A_IA):
    shift = jnp.array([0.01, 0.0, -0.02])
    line = line_of(survey, n_z=100)  # single multipoles see each wiggle of P; bands average over them
    k = line.k_nodes(cosmology, ELL)
    table = power(k, jnp.asarray(line.z_nodes)) / units.HUBBLE_DISTANCE**3
    ours = np.asarray(line.weights(cosmology, shift, A_IA) @ table)
    expected = brute_force(survey, power, cosmology, shift, A_IA, survey.z_mid[survey.z_mid <= 3.0][-1])
    np.testing.assert_allclose(ours, expected, rtol=5e-4)


def _c_ell(line, power, cosmology, shift, A_IA):
    table = power(line.k_nodes(cosmology, ELL), jnp.asarray(line.z_nodes)) / units.HUBBLE_DISTANCE**3
    return np.asarray(line.weights(cosmology, shift, A_IA) @ table)


@pytest.mark.parametrize("cosmology", CORNERS)
def test_distances_are_those_of_the_background(survey, cosmology, float64):
    line = line_of(survey)
    expected = np.asarray(comoving_distance(cosmology, line.z_nodes))
    np.testing.assert_allclose(np.asarray(line.node_distances(cosmology)), expected, rtol=2e-6)
    k = np.asarray(line.k_nodes(cosmology, ELL))
    np.testing.assert_allclose(k, (ELL + 0.5) / expected[:, None], rtol=2e-6)


def test_sources_in_front_of_a_lens_do_not_count(survey, cosmology, float64):
    """The weight of a bin's own lensing ends with its last galaxies."""
    edges = np.where(survey.z_mid < 0.6, survey.nz[0], 0.0)
    sources = Redshifts.from_histogram(survey.z_mid, edges[None])
    line = LineOfSight.from_redshifts(sources, np.array([[0, 0]]), n_z=40)
    weight = np.asarray(line.weights(cosmology, jnp.zeros(1), 0.0))[0]
    assert np.abs(weight[line.z_nodes > 0.8]).max() < 1e-3 * np.abs(weight).max()


def test_alignment_weakens_lensing_between_bins_and_grows_with_structure():
    assert alignment_amplitude(1.0, 0.3, 1.0) == pytest.approx(-0.3 * 0.013877, rel=1e-4)
    np.testing.assert_allclose(
        alignment_amplitude(2.0, 0.3, np.array([1.0, 0.5])), [-0.008326, -0.016652], rtol=1e-4
    )


def test_alignment_of_separated_bins_lowers_their_correlation(survey, power, cosmology):
    """Galaxies point at the masses that shear those behind them tangentially: GI < 0 for A_IA > 0."""
    line = line_of(survey)
    none, some, opposite = (_c_ell(line, power, cosmology, jnp.zeros(3), a) for a in (0.0, 1.0, -1.0))
    far = [tuple(pair) for pair in survey.pairs].index((1, 3))
    assert np.all(some[far] < none[far]) and np.all(none[far] < opposite[far])


def test_gradients_are_those_of_finite_differences(survey, power, float64):
    line = line_of(survey, n_z=12)

    def total(p):
        cosmology = Cosmology(p[0], p[1], p[2], 0.96, 2.95, p[3], p[4], p[5])
        table = power(line.k_nodes(cosmology, ELL), jnp.asarray(line.z_nodes))
        return jnp.log(line.weights(cosmology, p[6:9], p[9]) @ table)

    at = jnp.array([0.0225, 0.118, 0.7, 0.1, -0.9, -0.2, 0.01, -0.01, 0.0, 0.8])
    total = jax.jit(total)
    jacobian = np.asarray(jax.jit(jax.jacrev(total))(at))
    for i in range(len(at)):
        step = 1e-5 * max(1.0, abs(float(at[i])))
        up, down = (np.asarray(total(at.at[i].add(s))) for s in (step, -step))
        numeric = (up - down) / (2.0 * step)
        np.testing.assert_allclose(
            jacobian[..., i], numeric, rtol=1e-5, atol=1e-7 * np.abs(jacobian[..., i]).max()
        )


def test_beyond_k_max_a_power_law_continues_as_it_was():
    def law(k, z):
        assert float(jnp.max(k)) <= 2.0
        return (1.0 + z)[:, None] ** -2 * k ** (-1.5 - 0.2 * z[:, None])

    z = jnp.array([0.1, 1.0, 2.0])
    k = jnp.array([[0.1, 1.0, 50.0]] * 3) * jnp.array([1.0, 2.0, 3.0])[:, None]
    table = Extension(k_max=2.0).table(law, k, z)
    expected = (1.0 + z)[:, None] ** -2 * k ** (-1.5 - 0.2 * z[:, None])
    np.testing.assert_allclose(np.asarray(table), np.asarray(expected), rtol=2e-4)


def test_the_power_integral_stops_where_the_policy_says(survey):
    for z_max, last in ((3.0, 2.975), (2.0, 1.975), (0.5, 0.475)):
        line = line_of(survey, z_max=z_max)
        assert line.z_nodes[-1] == pytest.approx(last) and line.z_nodes[0] > 0.0


def test_lensing_efficiencies_use_galaxies_behind_the_end_of_the_power(survey, power, cosmology):
    """Cutting P at z = 1 but keeping the sources behind it is not the same as cutting the sources."""
    nz = np.where(survey.z_mid < 1.0, survey.nz, 0.0)
    pairs = survey.pairs - 1
    kept = line_of(survey, z_max=1.0)
    cut = LineOfSight.from_redshifts(Redshifts.from_histogram(survey.z_mid, nz), pairs, z_max=1.0)
    kept, cut = (_c_ell(line, power, cosmology, jnp.zeros(3), 0.0)[-1] for line in (kept, cut))
    assert np.all(kept > 1.2 * cut)


def test_policies_that_cannot_be_are_refused(survey):
    with pytest.raises(ConfigError, match="slope_from"):
        Extension(slope_from=1.0)
    with pytest.raises(ConfigError, match="z_max"):
        Extension(z_max=0.0)
    with pytest.raises(ConfigError, match="n_z"):
        line_of(survey, n_z=3)
