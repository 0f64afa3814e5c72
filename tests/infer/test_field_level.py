"""Field-level inference: a linear posterior is Wiener's, slopes are differences, a mesh changes nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.background import growth_factor, growth_rate
from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.infer.field_level import block, dynamics
from galaxyjax.infer.field_level.evolve import Linear, Lpt, ParticleMesh
from galaxyjax.infer.field_level.posterior import Latent, field_posterior
from galaxyjax.infer.field_level.sample import FieldSampler, sample_field
from galaxyjax.infer.field_level.tracer import TracerModel, mock
from galaxyjax.infer.priors import Normal, Prior, Uniform
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.simulate.fields import cosmology_of

THETA = dict(Omega_m=0.3, Omega_b=0.049, h=0.6774, n_s=0.9667, sigma_8=0.8)
BIAS = dict(b1=0.9, b2=0.3, bs2=-0.4, bn2=0.5)
PRIOR = Prior({**THETA, "Omega_m": Uniform(0.1, 0.6), "sigma_8": Uniform(0.3, 1.3), "b1": Normal(1.0, 0.5),
               "b2": Normal(0.0, 2.0)})  # fmt: skip
STD = 0.8


def one_device():
    return build_mesh("x=1", devices=jax.devices()[:1])


def made(evolution, cells=8, mesh=None, prior=PRIOR, dtype=jnp.float64, spacing=8.0, **options):
    """A posterior of a mock survey, and the white noise behind it."""
    mesh = mesh or one_device()
    model = TracerModel(cells, spacing * cells, 0.7, mesh, evolution, True, **options)
    truth = {**THETA, "b1": 0.9, **({"b2": 0.3} if "b2" in prior.names else {})}
    seen, noise = mock(model, truth, STD, jax.random.key(3), dtype)
    return field_posterior(model, np.asarray(seen), STD, prior, dtype), noise


def wiener(posterior, theta):
    """Mean (modes) and variance of white noise by textbook formulas, in NumPy on the full FFT."""
    model = posterior.model
    n, size = model.cells, model.box_size
    k = 2 * np.pi * np.fft.fftfreq(n, size / n)
    kx, ky, kz = np.meshgrid(k, k, k, indexing="ij")
    k2 = kx**2 + ky**2 + kz**2
    k2[0, 0, 0] = 1.0
    flat = cosmology_of({name: theta[name] for name in THETA})
    power = np.array(linear_power(flat, theta["sigma_8"])(jnp.sqrt(jnp.asarray(k2))))
    power[0, 0, 0] = 0.0
    z = jnp.asarray(model.z)
    kaiser = 1 + theta["b1"] + float(growth_rate(flat, z)) * kz**2 / k2
    signal = float(growth_factor(flat, z)) * kaiser * np.sqrt(power * n**3 / size**3)
    variance = 1.0 / (1.0 + signal**2 / STD**2)
    return variance * signal / STD**2 * np.fft.fftn(np.asarray(posterior.contrast)), variance


def test_with_a_linear_model_the_posterior_is_the_wiener_filters(float64):
    """Given the parameters the sampler's coordinates are exactly standard normals about Wiener's mean."""
    fixed = Prior({**THETA, "b1": 0.9})
    posterior, _ = made(Linear(), prior=fixed)
    mean, variance = wiener(posterior, {**THETA, "b1": 0.9})
    run = jax.jit(lambda p, x: (p.log_density(x), fft.inverse(p.noise(x), p.model.mesh)))
    still = Latent(jnp.zeros((8, 8, 8)), jnp.zeros(0))
    top, at_rest = run(posterior, still)
    np.testing.assert_allclose(at_rest, np.fft.ifftn(mean).real, atol=1e-10)
    x = jax.random.normal(jax.random.key(1), (8, 8, 8))
    value, there = run(posterior, Latent(x, still.parameters))
    assert float(value - top) == pytest.approx(-0.5 * float(jnp.sum(x**2)), abs=1e-8)
    away = np.fft.ifftn(np.sqrt(variance) * np.fft.fftn(np.asarray(x))).real
    np.testing.assert_allclose(there - at_rest, away, atol=1e-10)


@pytest.mark.slow
def test_coordinates_change_nothing_but_themselves(float64):
    """Other centres, factors and narrowings are the same point of the same density, up to their Jacobian."""
    posterior, noise = made(Linear())
    d, nb = posterior.prior.dimension, len(posterior.narrowing)
    factor = np.tril(np.random.default_rng(0).normal(size=(d, d))) * 0.1 + np.eye(d)
    other = posterior.adapted(np.full(d, 0.1), factor @ factor.T, np.linspace(0.8, 1.2, nb))
    other = replace(other, lean=jax.random.normal(jax.random.key(4), (d, 8, 8, 8)))

    def both(p, noise, u):
        latent = p.latent(noise, u)
        back = fft.inverse(p.noise(latent), p.model.mesh)
        _, scale = p._noise(p.theta(latent.parameters)[0], p._modes(latent))
        return back, p.theta(latent.parameters)[1], p.log_density(latent) - scale

    u = jnp.asarray([0.3, -0.2, 0.1, 0.05])
    run = jax.jit(both)
    first, second = run(posterior, noise, u), run(other, noise, u)
    for one in (first, second):
        np.testing.assert_allclose(one[0], noise, atol=1e-9)
        np.testing.assert_allclose(one[1], u, atol=1e-12)
    assert float(first[2]) == pytest.approx(float(second[2]), abs=1e-7)


def test_a_turn_is_blackjaxs(float64):
    integrators = pytest.importorskip("blackjax.mcmc.integrators")
    keys = jax.random.split(jax.random.key(0), 4)
    gradient = {"a": 30.0 * jax.random.normal(keys[0], (4, 4, 4)), "b": jax.random.normal(keys[1], (3,))}
    momentum = {"a": jax.random.normal(keys[2], (4, 4, 4)), "b": jax.random.normal(keys[3], (3,))}
    momentum = jax.tree.map(lambda leaf: leaf / jnp.sqrt(dynamics.dot(momentum, momentum)), momentum)
    theirs = integrators.esh_dynamics_momentum_update_one_step(1.0)
    for step in (1e-3, 0.5, 20.0):
        turned, gained = dynamics.turn(momentum, gradient, jnp.asarray(step), 67)
        expected, _, energy = theirs(momentum, gradient, step, 1.0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), turned, expected)
        assert float(gained) == pytest.approx(float(energy), rel=1e-9, abs=1e-9)


def test_bad_surveys_are_refused():
    model = TracerModel(8, 64.0, 0.5, one_device(), Linear())
    seen = np.zeros((8, 8, 8))
    with pytest.raises(DataError, match="shape"):
        field_posterior(model, np.zeros((8, 8, 4)), 1.0, PRIOR)
    with pytest.raises(DataError, match="positive"):
        field_posterior(model, seen, -1.0, PRIOR)
    with pytest.raises(DataError, match="not finite"):
        field_posterior(model, np.full((8, 8, 8), np.nan), 1.0, PRIOR)
    with pytest.raises(ConfigError, match="sigma_8"):
        field_posterior(model, seen, 1.0, Prior({"Omega_m": Uniform(0.1, 0.6)}))
    with pytest.raises(ConfigError, match="nuts"):
        FieldSampler(method="nuts")


@pytest.mark.slow
@pytest.mark.parametrize("evolution", [Lpt(1), Lpt(2), ParticleMesh(3)], ids=["lpt1", "lpt2", "mesh"])
def test_slopes_are_differences(float64, evolution):
    """Of the log density by field and parameters, along random ways."""
    biases = {"b1": Normal(1, 0.5), "b2": Normal(0, 2), "bs2": Normal(0, 2), "bn2": Normal(0, 2)}
    prior = Prior({**THETA, "Omega_m": Uniform(0.1, 0.6), "sigma_8": Uniform(0.3, 1.3), **biases})
    posterior, noise = made(evolution, prior=prior)
    value = jax.jit(lambda p, x: p.log_density(x))
    point = posterior.latent(noise, 0.1 * jnp.arange(6.0))
    gradient = jax.jit(lambda p, x: jax.grad(p.log_density)(x))(posterior, point)
    keys = jax.random.split(jax.random.key(8), 3)
    ways = [Latent(jax.random.normal(keys[0], (8, 8, 8)), jnp.zeros(6))]
    ways += [Latent(jnp.zeros((8, 8, 8)), jnp.eye(6)[i]) for i in range(6)]
    h = 1e-5
    for way in ways:
        move = lambda s, way=way: jax.tree.map(lambda a, b: a + s * b, point, way)  # noqa: E731
        slope = float(dynamics.dot(gradient, way))
        differences = float(value(posterior, move(h)) - value(posterior, move(-h))) / (2 * h)
        assert slope == pytest.approx(differences, rel=2e-5, abs=1e-4)


@pytest.mark.slow
def test_eight_devices_move_as_one():
    """Log density, its gradient and steps of both samplers are the same on a mesh of 4 x 2."""
    found = []
    for shape in ("x=1", "x=4,y=2"):
        mesh = build_mesh(shape, devices=jax.devices()[: 8 if "4" in shape else 1])
        posterior, _ = made(Lpt(2), cells=16, mesh=mesh, dtype=jnp.float32, spacing=10.0, halo=25.0)
        latent = posterior.start(jax.random.key(1))
        state, sums = block.begin(posterior, latent, jax.random.key(2))
        assert state.gradient.field.sharding.device_set == set(mesh.devices.ravel())
        row = [jax.device_get((state.log_density, state.gradient))]
        for method, step in (("mclmc", 2.0), ("hmc", 0.05)):
            options = dict(method=method, draws=2, thin=2, steps=2)
            after, total, trace = block.run_block(
                posterior, jax.random.key(3), state, sums, 0, jnp.float32(step), jnp.float32(60.0), **options
            )
            shard = after.position.field.addressable_shards[0].data.shape
            assert shard == ((16, 16, 16) if mesh.size == 1 else (4, 8, 16))
            row.append(jax.device_get((after.position, total.mean, trace.observed)))
        found.append(row)
    for one, many in zip(*found, strict=True):
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * np.abs(a).max())  # noqa: E731
        jax.tree.map(close, one, many)


@pytest.mark.slow
def test_chains_find_the_wiener_filter(float64):
    """Mean and variance of the linear field from MCLMC and HMC: Wiener's within the chains' own errors."""
    fixed = Prior({**THETA, "b1": 0.9})
    posterior, _ = made(Linear(), prior=fixed)
    mean, variance = wiener(posterior, {**THETA, "b1": 0.9})
    unit = fft.forward(jnp.zeros((8, 8, 8)), posterior.model.mesh, posterior.model.box_size)
    amplitude = posterior.model.linear_matter({**THETA, "b1": 0.9}, unit.replace(jnp.ones_like(unit.values)))
    full = np.fft.fftn(np.fft.irfftn(np.asarray(amplitude.values.real), s=(8, 8, 8), axes=(0, 1, 2)))
    expected = np.fft.ifftn(full * mean).real
    spread = np.sqrt(np.mean(np.abs(full) ** 2 * variance))
    for method in ("mclmc", "hmc"):
        sampler = FieldSampler(method=method, chains=2, thin=4, block=50, warmup=(3, 3), max_draws=1000,
                               min_draws=1000, steps=6, energy_error=1e-4)  # fmt: skip
        chains = sample_field(posterior, sampler)
        n = chains.convergence["cells"].ess_bulk.mean()
        off = (chains.mean - expected) / spread * np.sqrt(n)
        assert n > 300
        assert np.sqrt(np.mean(off**2)) < 1.3
        assert np.mean(chains.std**2) == pytest.approx(spread**2, rel=5 / np.sqrt(512 * n / 2) + 0.01)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_draws(tmp_path):
    posterior, _ = made(Linear(), dtype=jnp.float32)
    options = dict(chains=2, thin=2, block=10, warmup=(2, 2), min_draws=40)
    whole = sample_field(posterior, FieldSampler(**options, max_draws=40))
    sample_field(posterior, FieldSampler(**options, max_draws=20), tmp_path)
    resumed = sample_field(posterior, FieldSampler(**options, max_draws=40), tmp_path)
    np.testing.assert_array_equal(whole.observed["parameters"], resumed.observed["parameters"])
    np.testing.assert_allclose(whole.mean, resumed.mean, rtol=1e-6, atol=1e-6)
    with pytest.raises(ConfigError, match="other data"):
        sample_field(replace(posterior, contrast=posterior.contrast + 1), FieldSampler(**options), tmp_path)
