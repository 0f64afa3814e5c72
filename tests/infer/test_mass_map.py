"""Mass maps: lensing and its transpose, Wiener against dense matrices, one device against eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.data.shear_maps import ShearMaps
from galaxyjax.fields.shear import kaiser_squires, shear_of
from galaxyjax.infer.field_level import block
from galaxyjax.infer.field_level.sample import FieldSampler, sample_field
from galaxyjax.infer.mass_map.posterior import Sky, mass_map
from galaxyjax.infer.mass_map.prior import MapGrid, lognormal_spectrum, shift_of, spectrum_of
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh

GRID = MapGrid((8, 16), 0.5 / 60 * np.pi / 180)
ELL = np.geomspace(50, 40000, 40)
POWER = 4e-9 / (1 + (ELL / 1000) ** 2)


def one_device():
    return build_mesh("x=1", devices=jax.devices()[:1])


def made(shift=None, mesh=None, dtype=jnp.float64, grid=GRID):
    """A map of random shear of which a third was not seen, with uneven noise."""
    numbers = np.random.default_rng(1)
    shear = tuple(0.02 * numbers.normal(size=grid.shape) for _ in range(2))
    std = 0.01 * (1 + numbers.random(grid.shape)) * (numbers.random(grid.shape) > 0.3)
    return mass_map(grid, shear, (std, std), ELL, POWER, mesh or one_device(), shift, dtype), std


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


def test_a_lognormal_map_has_the_spectrum_asked_for():
    grid = MapGrid((64, 64), GRID.pixel)
    variance = np.exp(-((grid.ell() / 8000.0) ** 2)) * 2e-2
    variance[0, 0] = 0.0
    shift = 0.05
    of_g, total = lognormal_spectrum(variance, shift)
    assert np.log1p(np.fft.ifft2(variance).real[0, 0] / shift**2) == pytest.approx(total, rel=0.02)
    numbers, power = np.random.default_rng(0), 0.0
    for _ in range(60):
        g = np.fft.ifft2(np.sqrt(of_g) * np.fft.fft2(numbers.normal(size=grid.shape))).real
        kappa = shift * np.expm1(g - 0.5 * total)
        power += np.abs(np.fft.fft2(kappa)) ** 2 / kappa.size / 60
    low = (grid.ell() > 0) & (grid.ell() < 8000)
    assert power[low].mean() == pytest.approx(variance[low].mean(), rel=0.05)
    assert shift_of(kappa) == pytest.approx(shift, rel=0.3)
    ell, found = spectrum_of(kappa, grid)
    assert (np.diff(ell) > 0).all() and len(found) == len(ell)


def test_bad_maps_are_refused_and_noise_is_measured():
    blank = np.zeros(GRID.shape)
    with pytest.raises(DataError, match="nothing was seen"):
        mass_map(GRID, (blank, blank), (blank, blank), ELL, POWER, one_device())
    with pytest.raises(DataError, match="not finite"):
        mass_map(GRID, (blank * np.nan, blank), (blank + 1, blank + 1), ELL, POWER, one_device())
    with pytest.raises(DataError, match="same"):
        ShearMaps(blank, blank, blank, blank[:4])
    numbers = np.random.default_rng(2)
    std = np.full((200, 200), 0.1)
    maps = ShearMaps(*(0.13 * numbers.normal(size=std.shape) for _ in range(2)), std, std)
    assert maps.noise_scale(0.13**2 - 0.12**2) == pytest.approx(1.2, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [None, 0.05], ids=["gaussian", "lognormal"])
def test_eight_devices_map_as_one_and_slopes_are_differences(float64, shift):
    found = []
    for shape, count in (("x=1", 1), ("x=4,y=2", 8)):
        target, _ = made(shift, build_mesh(shape, devices=jax.devices()[:count]))
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
