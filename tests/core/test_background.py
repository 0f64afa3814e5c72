import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradients
from prior import PLANCK, camb_params, draw
from scipy.integrate import quad, solve_ivp
from scipy.special import hyp2f1

from galaxyjax.core import background, units
from galaxyjax.core.cosmology import Cosmology

Z = np.array([0.01, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0])
EDGES = [{"m_nu": 0.0}, {"m_nu": 1e-3}, {"m_nu": 0.5}, {"w0": -0.4, "wa": 0.1}, {"w0": -1.3, "wa": 0.5}]


def cosmologies(count: int, seed: int) -> list[Cosmology]:
    """Edges of the prior (light and heavy neutrinos, dark energy far from constant), then draws."""
    return [Cosmology(**PLANCK | edge) for edge in EDGES] + draw(count, seed)


def test_distances_and_expansion_are_camb_s(float64):
    """To 1e-6 (asked: 2e-5) over the prior; 1e-5 out to the last scattering."""
    camb = pytest.importorskip("camb")
    distance, expansion = background.comoving_distance, background.expansion
    far = np.array([10.0, 100.0, 1090.0])
    for cosmology in cosmologies(15, seed=1):
        truth = camb.get_background(camb_params(cosmology), no_thermo=True)
        expected = truth.comoving_radial_distance(Z) * cosmology.h
        np.testing.assert_allclose(distance(cosmology, Z), expected, rtol=1e-6)
        expected = truth.comoving_radial_distance(far) * cosmology.h
        np.testing.assert_allclose(distance(cosmology, far), expected, rtol=1e-5)
        expected = truth.hubble_parameter(Z) / (100 * cosmology.h)
        np.testing.assert_allclose(expansion(cosmology, Z), expected, rtol=1e-6)
        angular = background.angular_diameter_distance(cosmology, Z)
        np.testing.assert_allclose(angular, truth.angular_diameter_distance(Z) * cosmology.h, rtol=1e-6)


def test_distance_is_the_integral_of_the_expansion(float64):
    """A second oracle that knows nothing of the quadrature: adaptive integration of c / H."""
    cosmology = draw(1, seed=4)[0]
    for z in (0.05, 2.0, 1090.0):
        expected = quad(
            lambda x: np.exp(x) / background.expansion(cosmology, np.expm1(x)), 0, np.log1p(z), epsrel=1e-10
        )
        distance = background.comoving_distance(cosmology, z)
        assert float(distance) == pytest.approx(
            units.HUBBLE_DISTANCE * expected[0], rel=1e-5 if z > 6 else 1e-8
        )


def test_today(float64):
    cosmology = Cosmology(**PLANCK)
    assert float(background.hubble(cosmology, 0.0)) == pytest.approx(100.0, rel=1e-14)
    assert float(background.comoving_distance(cosmology, 0.0)) == 0.0
    assert float(background.matter_fraction(cosmology, 0.0)) == pytest.approx(cosmology.Omega_m, rel=1e-12)
    assert float(background.growth_factor(cosmology, 0.0)) == pytest.approx(1.0, rel=1e-12)
    slope = jax.grad(background.comoving_distance, argnums=1)(cosmology, 0.0)
    assert float(slope) == pytest.approx(units.HUBBLE_DISTANCE, rel=1e-12)  # Hubble's law


def test_neutrinos_pass_from_radiation_to_matter(float64):
    """Energy against the Fermi-Dirac integral: to 1e-4 in between, exact at both ends."""
    for m_nu, a in ((0.0, 1.0), (0.06, 1e-6), (0.06, 1e-3), (0.3, 1e-2), (0.06, 0.1), (0.5, 1.0)):
        cosmology = Cosmology(**PLANCK | {"m_nu": m_nu})
        y = m_nu / 3 / (units.K_BOLTZMANN_EV * units.T_NU) * a
        energy = quad(
            lambda x, y: x**2 * np.sqrt(x**2 + y**2) / (np.exp(x) + 1), 0, 60, args=(y,), epsrel=1e-10
        )
        expected = units.OMEGA_NU_MASSLESS * 120 / (7 * np.pi**4) * energy[0]
        kinetic, pressure = background._neutrinos(cosmology, jnp.asarray(a), jnp.float64)
        found = float(kinetic + cosmology.omega_nu * a)
        assert found == pytest.approx(expected, rel=1e-9 if y < 1e-3 or y > 100 else 1e-4)
        assert 0.0 < float(pressure) <= found / 3 * (1 + 1e-12)


def ode_growth(cosmology: Cosmology, z: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
    """D and f by an adaptive solver in a, with dlnE/dlna by finite differences of the expansion."""
    lna = np.linspace(np.log(start) - 1e-3, 1e-3, 6001)
    log_rate = np.log(np.asarray(background.expansion(cosmology, np.expm1(-lna))))
    drag = np.gradient(log_rate, lna, edge_order=2)
    matter = cosmology.Omega_m * np.exp(-3 * lna - 2 * log_rate)

    def slope(x, state):
        friction = 2 + np.interp(x, lna, drag)
        return [state[1], -friction * state[1] + 1.5 * np.interp(x, lna, matter) * state[0]]

    # Radiation alone delays growth; dark energy of w = -0.3 would already be seen in the total.
    constant = Cosmology(**cosmology.to_mapping() | {"w0": -1.0, "wa": 0.0})
    radiation = 1 / float(background.matter_fraction(constant, 1 / start - 1)) - 1
    early = [start * (1 + 2 / 3 * radiation), start]
    solution = solve_ivp(slope, (np.log(start), 0.0), early, rtol=1e-8, atol=1e-13, dense_output=True)
    growth, rise = solution.sol(-np.log1p(z))
    return growth, rise / growth


def test_growth_solves_its_equation(float64):
    """D (both normalisations) and f to 1e-4 over the prior, at redshifts between the table's nodes too."""
    z = np.array([0.0, 0.013, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0, 49.0, 127.0])
    for cosmology in cosmologies(3, seed=2):
        expected, rate = ode_growth(cosmology, z, start=1e-3)
        factor = background.growth_factor(cosmology, z)
        np.testing.assert_allclose(factor, expected / expected[0], rtol=1e-4)
        np.testing.assert_allclose(background.growth_early(cosmology, z), expected, rtol=1e-4)
        np.testing.assert_allclose(background.growth_rate(cosmology, z), rate, rtol=1e-4)


def test_growth_forgets_where_it_started(float64):
    """A solver that starts ten times earlier, in the radiation era, finds the same D at z <= 10 to 3e-4."""
    z = np.array([0.0, 1.0, 10.0])
    for cosmology in cosmologies(0, seed=0):
        expected, rate = ode_growth(cosmology, z, start=1e-4)
        found = background.growth_factor(cosmology, z)
        np.testing.assert_allclose(found, expected / expected[0], rtol=3e-4)
        np.testing.assert_allclose(background.growth_rate(cosmology, z), rate, rtol=3e-4)


def test_growth_of_matter_and_lambda_is_the_hypergeometric_one(float64):
    """Without relativistic energy D = a 2F1(1/3, 1; 11/6; -a^3 (1 - Om) / Om); radiation moves it by 1e-3."""
    cosmology = Cosmology(**PLANCK | {"m_nu": 0.0})
    z = np.array([0.0, 0.5, 1.0, 3.0])
    ratio = (1 - cosmology.Omega_m) / cosmology.Omega_m
    expected = hyp2f1(1 / 3, 1, 11 / 6, -ratio / (1 + z) ** 3) / (1 + z)
    found = background.growth_early(cosmology, z)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-3)


def test_growth_is_camb_s_without_neutrino_mass(float64):
    """sqrt(P(k, z) / P(k, 0)) at k = 0.05 to 1 h/Mpc, where dark energy is smooth, to 1e-3."""
    camb = pytest.importorskip("camb")
    z = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    for change in ({}, {"w0": -0.8, "wa": -0.6}, {"omega_cdm": 0.2, "h": 0.8, "w0": -1.2, "wa": 0.4}):
        cosmology = Cosmology(**PLANCK | {"m_nu": 0.0} | change)
        params = camb_params(cosmology)
        params.set_matter_power(redshifts=z, kmax=3.0, silent=True)
        results = camb.get_transfer_functions(params)
        results.calc_power_spectra()
        _, sorted_z, power = results.get_matter_power_spectrum(minkh=0.05, maxkh=1.0, npoints=5)
        np.testing.assert_allclose(sorted_z, z)
        found = np.asarray(background.growth_factor(cosmology, z))[:, None]
        np.testing.assert_allclose(np.broadcast_to(found, power.shape), np.sqrt(power / power[0]), rtol=1e-3)


@pytest.mark.parametrize("name", ["comoving_distance", "expansion", "growth_early", "growth_rate"])
def test_gradients_in_every_parameter(float64, name):
    z = np.array([0.0, 0.2, 1.0, 3.0])
    assert_gradients(lambda c: getattr(background, name)(c, z), [Cosmology(**PLANCK), *draw(3, seed=5)])


@pytest.mark.parametrize("name", ["comoving_distance", "expansion", "growth_factor", "growth_rate"])
def test_gradients_in_redshift(float64, name):
    function, cosmology = getattr(background, name), draw(1, seed=6)[0]
    for z in (0.3, 2.0):
        step = 1e-4
        expected = (function(cosmology, z + step) - function(cosmology, z - step)) / (2 * step)
        slope = jax.grad(function, argnums=1)(cosmology, z)
        assert float(slope) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["comoving_distance", "expansion", "growth_factor", "growth_rate"])
def test_massless_neutrinos_have_a_gradient(float64, name):
    """At m_nu = 0, the end of the prior, the slope in m_nu is the one-sided difference, not NaN."""
    z = np.array([0.0, 0.5, 3.0])

    def at(m_nu):
        return getattr(background, name)(Cosmology(**PLANCK | {"m_nu": m_nu}), z)

    step = 1e-5
    expected = (4 * at(step) - at(2 * step) - 3 * at(0.0)) / (
        2 * step
    )  # a one-sided difference of second order
    slope, usual = jax.jacfwd(at)(0.0), jax.jacfwd(at)(0.06)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5 * float(jnp.max(jnp.abs(usual))))


def test_single_precision_is_enough(float64):
    """float32 in, float32 out, within 2e-6 of float64, also while float64 is on."""
    for cosmology in cosmologies(2, seed=7):
        single, z = jax.tree.map(np.float32, cosmology), Z.astype(np.float32)
        for name in ("comoving_distance", "expansion", "growth_factor", "growth_rate", "matter_fraction"):
            function = getattr(background, name)
            found, expected = function(single, z), function(cosmology, z.astype(np.float64))
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("name", ["comoving_distance", "growth_factor"])
def test_single_precision_is_enough_for_gradients(float64, name):
    gradient = jax.jit(jax.grad(lambda c, z: jnp.sum(getattr(background, name)(c, z))))
    for cosmology in cosmologies(2, seed=7):
        single = jax.tree.map(np.float32, cosmology)
        found = gradient(single, Z.astype(np.float32)).to_mapping()
        expected = gradient(cosmology, Z).to_mapping()
        scale = max(abs(float(value)) for value in expected.values())
        for parameter, value in expected.items():
            assert found[parameter].dtype == jnp.float32
            assert float(found[parameter]) == pytest.approx(float(value), rel=1e-4, abs=1e-6 * scale)


def test_growth_outside_its_table_is_nan_and_not_a_guess():
    cosmology = Cosmology(**PLANCK)
    found = background.growth_factor(cosmology, jnp.array([-0.1, 0.0, 999.0, 1100.0]))
    assert np.isnan(found[0]) and np.isnan(found[3])
    assert np.all(np.isfinite(found[1:3]))


def test_shapes_follow_the_redshifts():
    cosmology = Cosmology(**PLANCK)
    for name in ("expansion", "comoving_distance", "growth_factor", "growth_rate", "matter_fraction"):
        for shape in ((), (3,), (2, 3)):
            assert jax.eval_shape(getattr(background, name), cosmology, jnp.full(shape, 0.7)).shape == shape
    grid = background.growth_factor(cosmology, jnp.array([[0.1, 0.7], [1.5, 0.7]]))
    np.testing.assert_allclose(grid[:, 1], background.growth_factor(cosmology, 0.7), rtol=1e-6)


def test_a_batch_of_cosmologies_is_each_of_them():
    singles = draw(4, seed=8)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles)
    for function in (background.comoving_distance, background.growth_factor):
        found = jax.vmap(function, in_axes=(0, None))(batch, jnp.asarray(Z))
        expected = [function(cosmology, jnp.asarray(Z)) for cosmology in singles]
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6)
