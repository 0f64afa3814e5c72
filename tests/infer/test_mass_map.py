"""Mass maps: lensing and its transpose, Wiener against dense matrices, one device against eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.data.shear_maps import ShearMaps
from galaxyjax.fields.shear import kaiser_squires, shear_of
from galaxyjax.infer.field_level import block
from galaxyjax.infer.field_level.sample import FieldSampler, sample_field
from galaxyjax.infer.mass_map.marginal import hermite, learnt, lognormal, response, underlying
from galaxyjax.infer.mass_map.posterior import Sky, mass_map
from galaxyjax.infer.mass_map.prior import (
    MapGrid,
    gaussian_spectrum,
    shift_of,
    spectrum_of,
)
from galaxyjax.infer.mass_map.run import judge
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh

GRID = MapGrid((8, 16), 0.5 / 60 * np.pi / 180)
ELL = np.geomspace(50, 40000, 40)
POWER = 4e-9 / (1 + (ELL / 1000) ** 2)


def one_device():
    return build_mesh("x=1", devices=jax.devices()[:1])


def skewed(kind):
    """What a pixel may be: None, log-normal, or learnt from numbers that are not log-normal."""
    std = float(np.sqrt(np.mean(gaussian_spectrum(GRID, ELL, POWER))))
    if kind == "learnt":
        return learnt(np.random.default_rng(5).gamma(2.0, size=20000), std)
    return lognormal(std, 0.05) if kind == "lognormal" else None


def made(kind="gaussian", mesh=None, dtype=jnp.float64, grid=GRID):
    """A map of random shear of which a third was not seen, with uneven noise."""
    numbers = np.random.default_rng(1)
    shear = tuple(0.02 * numbers.normal(size=grid.shape) for _ in range(2))
    std = 0.01 * (1 + numbers.random(grid.shape)) * (numbers.random(grid.shape) > 0.3)
    return mass_map(
        grid,
        shear,
        (std, std),
        gaussian_spectrum(grid, ELL, POWER),
        mesh or one_device(),
        skewed(kind),
        dtype,
    ), std


def test_shear_and_kaiser_squires_are_transposes_and_inverses(float64):
    mesh = one_device()
    keys = jax.random.split(jax.random.key(0), 3)
    kappa, one, two = (jax.random.normal(k, (*GRID.shape, 1)) for k in keys)

    def both(kappa, one, two):
        shear = shear_of(fft.forward(kappa, mesh, GRID.size), mesh)
        e, _ = kaiser_squires(one, two, mesh, GRID.size)
        again, b = kaiser_squires(*shear, mesh, GRID.size)
        return shear, *(fft.inverse(m, mesh) for m in (e, again, b))

    shear, e, again, b = jax.jit(both)(kappa, one, two)
    left, right = jnp.sum(shear[0] * one + shear[1] * two), jnp.sum(kappa * e)
    assert float(left) == pytest.approx(float(right), rel=1e-12)
    smooth = np.fft.fft2(np.asarray(kappa)[..., 0])
    smooth[0, 0] = 0.0
    found = np.fft.fft2(np.asarray(again)[..., 0])
    inner = (slice(1, 4), slice(1, 8))  # away from the Nyquist waves, of which shear loses a part
    np.testing.assert_allclose(found[inner], smooth[inner], atol=1e-12)
    assert np.abs(np.fft.fft2(np.asarray(b)[..., 0])[inner]).max() < 1e-12


def test_wiener_is_the_solution_of_the_dense_system(float64):
    """With a mask and uneven noise, against matrices built column by column."""
    target, std = made()
    n = GRID.shape[0] * GRID.shape[1]
    ell = GRID.ell()
    variance = np.interp(np.log(np.maximum(ell, ELL[0])), np.log(ELL), np.log(POWER))
    variance = np.where(ell > 0, np.exp(variance), 0.0) / GRID.pixel**2
    unit = np.eye(n).reshape(n, *GRID.shape)
    prior = np.fft.ifft2(variance * np.fft.fft2(unit)).real.reshape(n, n)
    lens = jax.jit(jax.vmap(lambda k: jnp.stack(shear_of(fft.forward(k[..., None], target.mesh, GRID.size),
                                                         target.mesh))))  # fmt: skip
    forward = np.asarray(lens(jnp.asarray(unit))).reshape(n, 2 * n).T
    weight = np.where(std > 0, 1.0 / np.where(std > 0, std, 1.0) ** 2, 0.0).ravel()
    weight = np.concatenate([weight, weight])
    data = np.concatenate([np.asarray(one).ravel() for one in target.shear])
    right = prior @ (forward.T @ (weight * data))
    expected = np.linalg.solve(np.eye(n) + prior @ (forward.T * weight) @ forward, right)
    np.testing.assert_allclose(np.asarray(target.wiener(400)).ravel(), expected, atol=1e-9)


def test_the_modes_under_a_lognormal_map_are_those_of_theory():
    """The correlations of ln(1 + kappa / shift) are ln(1 + xi / shift^2)."""
    grid, shift = MapGrid((64, 64), GRID.pixel), 0.05
    variance = gaussian_spectrum(grid, ELL, POWER)
    xi = np.fft.ifft2(variance).real
    logs = np.log1p(xi / shift**2)
    prior = lognormal(np.sqrt(xi[0, 0]), shift)
    expected = np.fft.fft2(logs / logs[0, 0]).real
    inner = expected > 1e-6 * expected.max()
    np.testing.assert_allclose(underlying(variance, prior)[inner], expected[inner], rtol=1e-6)
    assert response(prior) == pytest.approx(shift**2 * np.exp(logs[0, 0]) * logs[0, 0], rel=1e-6)


@pytest.mark.parametrize("kind", ["lognormal", "learnt"])
def test_a_skewed_map_has_the_spectrum_and_the_distribution_asked_for(float64, kind):
    grid = MapGrid((64, 64), GRID.pixel)
    variance = np.exp(-((grid.ell() / 8000.0) ** 2)) * 2e-2
    variance[0, 0] = 0.0
    std = float(np.sqrt(variance.mean()))
    numbers = np.random.default_rng(0)
    like = numbers.gamma(1.5, size=100_000)
    prior = learnt(like, std) if kind == "learnt" else lognormal(std, 0.05)
    assert np.sum(hermite(prior)[1:] ** 2) == pytest.approx(std**2, rel=1e-6)
    amplitude, power, pixels = np.sqrt(underlying(variance, prior)), 0.0, []
    for _ in range(60):
        g = np.fft.ifft2(amplitude * np.fft.fft2(numbers.normal(size=grid.shape))).real
        kappa = np.asarray(prior.cast(jnp.float64)(jnp.asarray(g)))
        power += np.abs(np.fft.fft2(kappa)) ** 2 / kappa.size / 60
        pixels.append(kappa)
    low = (grid.ell() > 0) & (grid.ell() < 8000)
    assert power[low].mean() == pytest.approx(variance[low].mean(), rel=0.05)
    pixels = np.ravel(pixels)
    if kind == "lognormal":
        assert pixels.min() > -0.05 and shift_of(pixels) == pytest.approx(0.05, rel=0.3)
    else:
        at = (0.02, 0.16, 0.5, 0.84, 0.98)
        expected = np.quantile(like - like.mean(), at) * std / like.std()
        np.testing.assert_allclose(np.quantile(pixels, at), expected, atol=0.05 * std)
    ell, found = spectrum_of(kappa, grid)
    assert (np.diff(ell) > 0).all() and len(found) == len(ell)


def test_what_a_pixel_may_be_rises_smoothly_everywhere(float64):
    prior = skewed("learnt").cast(jnp.float64)
    g = jnp.linspace(-7.0, 7.0, 2001)
    slope = np.asarray(jax.jit(jax.vmap(jax.grad(prior)))(g))
    assert (slope > 0).all()
    difference = np.asarray((prior(g + 1e-6) - prior(g - 1e-6)) / 2e-6)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-9)
    with pytest.raises(ConfigError, match="must be positive"):
        lognormal(0.02, -1.0)
    with pytest.raises(DataError, match="200 pixels"):
        learnt(np.zeros((20, 20)), 0.02)


def test_bad_maps_are_refused_and_noise_is_measured():
    blank, variance = np.zeros(GRID.shape), gaussian_spectrum(GRID, ELL, POWER)
    with pytest.raises(DataError, match="nothing was seen"):
        mass_map(GRID, (blank, blank), (blank, blank), variance, one_device())
    with pytest.raises(DataError, match="not finite"):
        mass_map(GRID, (blank * np.nan, blank), (blank + 1, blank + 1), variance, one_device())
    with pytest.raises(DataError, match="same"):
        ShearMaps(blank, blank, blank, blank[:4])
    numbers = np.random.default_rng(2)
    std = np.full((200, 200), 0.1)
    maps = ShearMaps(*(0.13 * numbers.normal(size=std.shape) for _ in range(2)), std, std)
    assert maps.noise_scale(0.13**2 - 0.12**2) == pytest.approx(1.2, rel=0.01)


def test_noise_is_held_against_the_scatter_of_the_shear():
    """Proportions that the shear follows are scaled; those it contradicts are refused, one number found."""
    numbers = np.random.default_rng(3)
    std = np.where(numbers.random((200, 200)) > 0.3, 0.1 * np.exp(0.3 * numbers.normal(size=(200, 200))), 0.0)
    noise = [std * numbers.normal(size=std.shape) for _ in range(2)]
    signal = 0.02 * numbers.normal(size=(2, *std.shape))
    found = ShearMaps(*(1.3 * n + s for n, s in zip(noise, signal, strict=True)), std, std)
    np.testing.assert_allclose(found.noise_ratios(0.02**2), 1.3, rtol=0.05)
    scaled = found.with_noise("scaled", 0.02**2)
    np.testing.assert_allclose(scaled.std1, 1.3 * std, rtol=0.02)
    assert found.with_noise("given", 0.02**2) is found
    flat = ShearMaps(*(0.15 * numbers.normal(size=std.shape) * (std > 0) for _ in range(2)), std, std)
    with pytest.raises(DataError, match="does not scatter as the noise given says.*'uniform'"):
        flat.with_noise("scaled", 0.0)
    one = flat.with_noise("uniform", 0.0)
    np.testing.assert_allclose(one.std2[std > 0], 0.15, rtol=0.01)
    assert (one.seen == flat.seen).all()
    with pytest.raises(ConfigError, match="one of scaled, uniform, given"):
        flat.with_noise("none", 0.0)


def test_power_of_pixels_that_are_averages():
    """Against averages over pixels of a grid 64 times as fine, whose modes fold into those of the map."""
    n, times = 8, 64
    fine, coarse = MapGrid((n * times, n * times), GRID.pixel / times), MapGrid((n, n), GRID.pixel)
    power = 1e-9 * (ELL / 1000.0) ** -1.2
    wave = np.pi * np.fft.fftfreq(n * times)
    wave[0] = 1e-9
    kept = np.square(np.sin(times * wave) / (times * np.sin(wave)))
    modes = gaussian_spectrum(fine, ELL, power) * kept[:, None] * kept
    averaged = modes.reshape(times, n, times, n).sum((0, 2)) / times**2
    found = gaussian_spectrum(coarse, ELL, power, averaged=True)
    assert found[0, 0] == 0.0
    found[0, 0] = averaged[0, 0]
    np.testing.assert_allclose(found, averaged, rtol=0.012)  # the worst mode; waves beyond the third turn
    assert found.mean() == pytest.approx(averaged.mean(), rel=3e-3)
    plain = gaussian_spectrum(coarse, ELL, power)
    assert found[n // 2, n // 2] < 0.75 * plain[n // 2, n // 2] and found[0, 1] < plain[0, 1]


def test_draws_like_the_truth_cover_it_as_often_as_they_say():
    """However few; and draws half as wide cover too little."""
    numbers = np.random.default_rng(4)
    truth, draws = numbers.normal(size=(100, 100)), numbers.normal(size=(16, 100, 100))
    made = {name: numbers.normal(size=truth.shape) for name in ("kaiser_squires", "wiener", "mean")}
    seen = numbers.random(truth.shape) > 0.2
    covered = judge(made, draws + 3.0, truth, seen)["coverage"]
    assert covered == pytest.approx({"68.3%": 0.683, "95.4%": 0.954}, abs=0.015)
    assert judge(made, 0.5 * draws, truth, seen)["coverage"]["68.3%"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "lognormal", "learnt"])
def test_eight_devices_map_as_one_and_slopes_are_differences(float64, kind):
    found = []
    for shape, count in (("x=1", 1), ("x=4,y=2", 8)):
        target, _ = made(kind, build_mesh(shape, devices=jax.devices()[:count]))
        state, sums = block.begin(target, target.start(jax.random.key(1)), jax.random.key(2))
        after, sums, trace = block.run_block(
            target, jax.random.key(3), state, sums, 0, 0.5, 5.0, method="mclmc", draws=2, thin=2
        )
        row = (state.log_density, state.gradient, after.position, sums.mean, trace.observed)
        found.append(jax.device_get(row))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9), *found)
    way = jax.random.normal(jax.random.key(5), (*GRID.shape, 1))
    value = jax.jit(lambda s: target.log_density(Sky(target.start(jax.random.key(1)).field + s * way)))
    difference = float(value(1e-5) - value(-1e-5)) / 2e-5
    assert float(np.sum(found[0][1].field * np.asarray(way))) == pytest.approx(difference, rel=1e-6)


@pytest.mark.slow
def test_chains_find_the_wiener_map(float64):
    target, _ = made()
    expected = np.asarray(target.wiener(400))
    sampler = FieldSampler(chains=2, thin=4, block=50, warmup=(4, 4), max_draws=2000, min_draws=2000,
                           energy_error=1e-4)  # fmt: skip
    chains = sample_field(target, sampler)
    n = chains.convergence["pixels"].ess_bulk.mean()
    assert n > 300
    assert np.sqrt(np.mean(((chains.mean - expected) / chains.std) ** 2) * n) < 1.4
