"""Calibration of posteriors of fields: truths in any coordinates; right ones pass, over-confident fail."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.infer.calibrate import Miscalibrated
from galaxyjax.infer.field_level.calibrate import DENSITY, calibrate_fields, small_tracer
from galaxyjax.infer.field_level.sample import FieldSampler
from galaxyjax.infer.mass_map.calibrate import MapFamily
from galaxyjax.infer.mass_map.marginal import lognormal
from galaxyjax.infer.mass_map.prior import MapGrid, gaussian_spectrum
from galaxyjax.mesh.topology import build_mesh

GRID = MapGrid((8, 16), 0.5 / 60 * np.pi / 180)
ELL = np.geomspace(50, 40000, 40)
VARIANCE = gaussian_spectrum(GRID, ELL, 4e-9 / (1 + (ELL / 1000) ** 2))
SAMPLER = FieldSampler(chains=2, warmup=(2, 2), min_draws=100, max_draws=400, energy_error=1e-4, ess=50.0)


class Overconfident(MapFamily):
    """Posteriors that are told half of the noise."""

    def draw(self, key):
        target, truth = super().draw(key)
        return replace(target, weight=tuple(4.0 * one for one in target.weight)), truth


def maps(kind=MapFamily, marginal=None):
    std = np.where(np.random.default_rng(0).random(GRID.shape) > 0.3, 0.01, 0.0)
    return kind(GRID, std, VARIANCE, build_mesh("x=1", devices=jax.devices()[:1]), marginal)


def test_the_truth_of_a_map_is_one_in_all_coordinates(float64):
    family = maps(marginal=lognormal(float(np.sqrt(VARIANCE.mean())), 0.05))
    target, truth = family.draw(jax.random.key(1))
    other = target.with_learnt({"narrowing": np.linspace(0.5, 1.5, len(target.narrowing))})
    kappa = np.asarray(target.kappa(truth(target)))
    assert 0.3 < kappa.std() / np.sqrt(VARIANCE.mean()) < 3.0
    np.testing.assert_allclose(np.asarray(other.kappa(truth(other))), kappa, atol=1e-5)
    assert len(family.names(target)) == sum(target.observe(truth(target))[n].size for n in target.judged)
    assert family.identity() != maps().identity()


def test_the_truth_of_a_tracer_is_one_in_all_coordinates():
    family = small_tracer(build_mesh("x=1", devices=jax.devices()[:1]), cells=4)
    target, truth = family.draw(jax.random.key(1))
    d = target.prior.dimension
    other = target.adapted(0.3 * np.ones(d), 0.25 * np.eye(d), 0.8 * np.asarray(target.narrowing))
    look = jax.jit(lambda t, x: t.observe(x))
    first, second = look(target, truth(target)), look(other, truth(other))
    for name in target.judged:
        np.testing.assert_allclose(first[name], second[name], rtol=2e-3, atol=1e-3)
    names = family.names(target)
    assert names[:4] == ("Omega_m", "sigma_8", "b1", "b2")
    assert len(names) == sum(first[name].size for name in target.judged)
    assert jnp.isfinite(jax.jit(lambda t, x: t.log_density(x))(target, truth(target)))


def test_too_few_mocks_are_refused():
    with pytest.raises(ConfigError, match="ranks of 5 mocks"):
        calibrate_fields(maps(), 5)


@pytest.mark.slow
def test_maps_are_calibrated_and_those_told_half_the_noise_are_not(tmp_path):
    found = calibrate_fields(maps(), 60, tmp_path / "right", SAMPLER, draws=25)
    found.check()
    assert found.names[-1] == DENSITY and found.ranks.shape == (60, len(found.names))
    again = calibrate_fields(maps(), 60, tmp_path / "right", SAMPLER, draws=25)
    np.testing.assert_array_equal(again.ranks, found.ranks)
    with pytest.raises(ConfigError, match="of another calibration"):
        calibrate_fields(maps(), 60, tmp_path / "right", SAMPLER, draws=20)
    with pytest.raises(Miscalibrated, match="over-confident|biased"):
        calibrate_fields(maps(Overconfident), 60, None, SAMPLER, draws=25).check()
