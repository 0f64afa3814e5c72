"""White noise, linear fields and LPT: the same on every mesh, with the spectrum and growth asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.background import growth_factor, growth_rate, hubble
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.growth_second import second_growth
from galaxyjax.fields import gaussian, lpt, spectra
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh

LCDM = Cosmology(0.0224, 0.12, 0.67, 0.965, 3.05)
ONE, SLAB, PENCIL = "data=1", "x=4", "x=2,y=4"
N, BOX = 16, 100.0


def power(k):
    return 2e4 * k / (0.02 + k) ** 2.5 * 1e-2


def mesh_of(text):
    return build_mesh(text)


def test_noise_is_normal_and_the_same_on_every_mesh():
    fields = [
        np.asarray(gaussian.white_noise(jax.random.key(3), 32, mesh_of(m))) for m in (ONE, SLAB, PENCIL)
    ]
    np.testing.assert_array_equal(fields[0], fields[1])
    np.testing.assert_array_equal(fields[0], fields[2])
    assert abs(fields[0].mean()) < 5 / 32**1.5 and fields[0].std() == pytest.approx(1.0, abs=0.02)


def test_a_gaussian_field_has_its_spectrum(float64):
    """In each shell the mean of |delta|^2 scatters by P sqrt(2 / modes)."""
    mesh = mesh_of(ONE)
    noise = gaussian.white_noise(jax.random.key(1), 32, mesh, jnp.float64)
    delta = gaussian.linear_density(noise, power, BOX, mesh)
    found = spectra.power_spectrum(delta, box_size=BOX, mesh=mesh)
    pull = (found.power / power(found.k) - 1.0) / np.sqrt(2.0 / found.modes)
    assert abs(float(delta.mean())) < 1e-12
    # The first shells are wide in k; from the third on the mean k stands for all.
    assert np.all(np.abs(pull[2:]) < 4.0) and abs(float(pull[2:].mean())) < 1.0
    quiet = spectra.power_spectrum(noise, box_size=BOX, mesh=mesh)
    ratio = float((quiet.power * quiet.modes).sum() / quiet.modes.sum()) / (BOX / 32) ** 3
    assert ratio == pytest.approx(1.0, abs=0.02)


def test_parseval_all_modes_together_are_the_variance(float64):
    mesh = mesh_of(PENCIL)
    grid = gaussian.white_noise(jax.random.key(2), N, mesh, jnp.float64)
    edges = np.array([1e-6, 10.0])
    found = spectra.power_spectrum(grid, box_size=BOX, mesh=mesh, edges=edges)
    assert float(found.modes[0]) == N**3 - 1
    total = float(found.power[0] * found.modes[0]) / BOX**3
    assert total == pytest.approx(float(((grid - grid.mean()) ** 2).mean()), rel=1e-12)


def test_a_plane_wave_moves_as_zeldovich_says(float64):
    """delta = A cos(k x): psi = -A / k sin(k x), and no second order in one dimension."""
    mesh = mesh_of(ONE)
    x = np.arange(N) * BOX / N
    k = 2 * np.pi * 2 / BOX
    delta = np.broadcast_to(0.1 * np.cos(k * x)[:, None, None], (N, N, N))
    modes = fft.forward(jnp.asarray(delta), mesh, BOX)
    psi = lpt.first_order(modes, mesh)
    np.testing.assert_allclose(psi[:, 0, 0, 0], -0.1 / k * np.sin(k * x), atol=1e-12)
    np.testing.assert_allclose(psi[..., 1:], 0.0, atol=1e-12)
    np.testing.assert_allclose(lpt.second_order(modes, mesh), 0.0, atol=1e-12)


def test_two_crossed_waves_have_their_second_order(float64):
    """delta = A cos(k x) + B cos(k y): lap phi2 = A B cos(k x) cos(k y)."""
    mesh = mesh_of(SLAB)
    x = np.arange(N) * BOX / N
    k, a, b = 2 * np.pi / BOX, 0.1, 0.2
    wave = np.cos(k * x)
    delta = a * wave[:, None, None] + b * wave[None, :, None] + np.zeros((N, N, N))
    modes = fft.forward(jnp.asarray(delta), mesh, BOX)
    psi2 = lpt.second_order(modes, mesh)
    expected = a * b / (2 * k) * np.sin(k * x)[:, None] * wave[None, :]
    np.testing.assert_allclose(psi2[:, :, 5, 0], expected, atol=1e-13)
    np.testing.assert_allclose(psi2[:, :, 5, 1], expected.T, atol=1e-13)
    np.testing.assert_allclose(psi2[..., 2], 0.0, atol=1e-13)


@pytest.mark.parametrize("dtype, limit", [(jnp.float32, 2e-6), (jnp.float64, 1e-12)])
def test_lpt_is_the_same_on_every_mesh(float64, dtype, limit):
    def fields(text):
        mesh = mesh_of(text)
        modes = gaussian.linear_modes(
            gaussian.white_noise(jax.random.key(5), N, mesh, dtype), power, BOX, mesh
        )
        return lpt.displace(modes, LCDM, 0.5, mesh)

    one = fields(ONE)
    for text in (SLAB, PENCIL):
        for here, there in zip(one, fields(text), strict=True):
            assert here.dtype == dtype
            error = np.linalg.norm(np.asarray(here) - np.asarray(there)) / np.linalg.norm(here)
            assert error < limit


def test_velocity_is_the_rate_of_displacement(float64):
    """v = a dx/dt = H / (1 + z) dx/dln a, by finite differences in redshift."""
    mesh = mesh_of(ONE)
    modes = gaussian.linear_modes(
        gaussian.white_noise(jax.random.key(5), N, mesh, jnp.float64), power, BOX, mesh
    )
    z, step = 1.0, 1e-4
    velocity = lpt.displace(modes, LCDM, z, mesh)[1]
    later, earlier = (lpt.displace(modes, LCDM, (1 + z) * np.exp(-s) - 1, mesh)[0] for s in (step, -step))
    rate = (later - earlier) / (2 * step) * hubble(LCDM, z) / (1 + z)
    np.testing.assert_allclose(velocity, rate, atol=2e-5 * float(jnp.abs(velocity).max()))
    assert float(growth_factor(LCDM, z)) < 1 and float(growth_rate(LCDM, z)) < 1
    assert float(second_growth(LCDM, z)[0]) < 0


def test_gradients_through_noise_and_cosmology(float64):
    """A functional of the 2LPT displacement against finite differences, on a mesh."""
    mesh = mesh_of("x=2,y=2")
    noise = gaussian.white_noise(jax.random.key(7), 8, mesh, jnp.float64)
    direction = gaussian.white_noise(jax.random.key(8), 8, mesh, jnp.float64)
    weights = jax.random.normal(jax.random.key(9), (8, 8, 8, 3), jnp.float64)

    @jax.jit
    def value(t, omega_cdm):
        cosmology = Cosmology(0.0224, omega_cdm, 0.67, 0.965, 3.05)
        modes = gaussian.linear_modes(noise + t * direction, lambda k: power(k) * omega_cdm, BOX, mesh)
        return jnp.sum(weights * lpt.displace(modes, cosmology, 0.3, mesh)[0])

    for argument, step in ((0, 1e-4), (1, 1e-4)):
        at = [0.0, 0.12]
        exact = float(jax.grad(value, argument)(*at))
        up, down = list(at), list(at)
        up[argument] += step
        down[argument] -= step
        assert exact == pytest.approx(float(value(*up) - value(*down)) / (2 * step), rel=1e-5)


def test_coherence_and_transfer_of_a_scaled_noisy_copy(float64):
    mesh = mesh_of(ONE)
    truth = gaussian.white_noise(jax.random.key(1), 32, mesh, jnp.float64)
    noise = gaussian.white_noise(jax.random.key(2), 32, mesh, jnp.float64)
    edges = np.array([0.3, 0.9])
    options = dict(box_size=BOX, mesh=mesh, edges=edges)
    _, r = spectra.coherence(2.0 * truth + noise, truth, **options)
    _, t = spectra.transfer(3.0 * truth, truth, **options)
    assert float(r[0]) == pytest.approx(2.0 / np.sqrt(5.0), abs=0.02)
    assert float(t[0]) == pytest.approx(3.0, rel=1e-12)
