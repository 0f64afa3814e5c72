"""Neural posterior estimation: an exact posterior found; folds, resuming, a mesh, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.infer.ranks import judge, tarp
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.map_posterior import MapPosterior
from galaxyjax.train.config import FitConfig
from galaxyjax.train.posterior import Pairs, cross_validate, draw_posterior, train_posterior, turned

CELLS = 8
MODEL = MapPosterior(("mean",), (-1.0,), (1.0,), CELLS, widths=(4,), features=2, hidden=16, bins=4)
CONFIG = FitConfig(steps=500, batch=64, learning_rate=5e-3, ema=0.98, evaluate_every=50, patience=100)
SIGMA = 2.0  # of a cell: the mean is known to 2 / 8


def pairs(count: int, seed: int = 0) -> Pairs:
    """Maps of white noise about a mean."""
    random = np.random.default_rng(seed)
    mean = random.uniform(-1, 1, size=(count, 1))
    maps = mean[:, :, None, None] + SIGMA * random.normal(size=(count, CELLS, CELLS, 1))
    return Pairs(maps.astype(np.float32), mean, list(range(count)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_posterior(MODEL, pairs(2000), CONFIG, tmp_path_factory.mktemp("run"))[0]


@pytest.mark.slow
def test_the_exact_posterior_is_found(trained):
    fresh = pairs(200, seed=1)
    draws = draw_posterior(MODEL, trained, fresh.maps, 400)
    assert draws.shape == (200, 400, 1) and np.abs(draws).max() <= 1.0
    # A normal of deviation sigma / n about the map's own mean, cut off by the prior.
    middle = np.abs(fresh.maps.mean((1, 2, 3))) < 0.4
    np.testing.assert_allclose(draws.std(axis=1)[middle].mean(), SIGMA / CELLS, rtol=0.15)
    off = draws.mean(axis=1)[middle, 0] - fresh.maps.mean((1, 2, 3))[middle]
    assert np.sqrt(np.mean(off**2)) < 0.4 * SIGMA / CELLS
    rng = np.random.default_rng(0)
    shares = tarp(fresh.theta, draws, rng.uniform(-1, 1, fresh.theta.shape), rng)
    assert judge(["TARP"], shares[:, None])[0].p > 1e-3


@pytest.mark.slow
def test_log_prob_is_the_density_of_the_draws(trained):
    observed = pairs(1, seed=2).maps
    at = jnp.linspace(-0.999, 0.999, 801)[:, None]
    density = np.exp(MODEL.log_prob(trained, at, jnp.broadcast_to(observed, (801, *observed.shape[1:]))))
    width = float(at[1, 0] - at[0, 0])
    assert abs(density.sum() * width - 1.0) < 0.02
    draws = draw_posterior(MODEL, trained, observed, 4000)[0, :, 0]
    mean = (density * np.asarray(at[:, 0])).sum() * width
    assert abs(draws.mean() - mean) < 5 * draws.std() / np.sqrt(4000) + 0.005


def test_turns_and_shifts_hardly_matter():
    """Means over the map forget where things are; whole strides are forgotten exactly."""
    maps = pairs(5, seed=3).maps
    params = MODEL.scaled(MODEL.init(jax.random.key(0)), maps)
    context = MODEL.context(params, jnp.asarray(maps))
    shifted = MODEL.context(params, jnp.roll(jnp.asarray(maps), 2, axis=1))
    np.testing.assert_allclose(shifted, context, atol=1e-4)
    assert turned(maps).shape == (8, *maps.shape)
    assert len({m.tobytes() for m in turned(maps)[:, 0]}) == 8


@pytest.mark.slow
def test_a_stopped_training_goes_on_and_a_mesh_changes_nothing(tmp_path):
    data = pairs(100)
    short = FitConfig(steps=20, batch=16, learning_rate=5e-3, ema=0.9, evaluate_every=10, patience=100)
    whole, history = train_posterior(MODEL, data, short, tmp_path / "a")
    again, same = train_posterior(MODEL, data, short, tmp_path / "a")
    assert same == history
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    spread, _ = train_posterior(MODEL, data, short, tmp_path / "b", mesh=build_mesh("data=8"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), whole, spread)
    with pytest.raises(ConfigError, match="another training run"):
        train_posterior(MODEL, pairs(100, seed=9), short, tmp_path / "a")


@pytest.mark.slow
def test_each_simulation_is_judged_by_one_that_never_saw_it(tmp_path, monkeypatch):
    seen = []
    import galaxyjax.train.posterior as module

    real = module.train_posterior

    def watched(model, inside, *args, **options):
        seen.append(set(inside.simulations))
        return real(model, inside, *args, **options)

    monkeypatch.setattr(module, "train_posterior", watched)
    data = pairs(60)
    data = Pairs(data.maps, data.theta, [i // 3 for i in range(60)])
    short = FitConfig(steps=10, batch=16, learning_rate=5e-3, ema=0.9, evaluate_every=10)
    crossed = cross_validate(MODEL, data, short, tmp_path, folds=2, draws=20)
    assert crossed.draws.shape == (60, 20, 1) and np.isfinite(crossed.log_prob).all()
    assert seen[0].isdisjoint(seen[1]) and seen[0] | seen[1] == set(range(20))


def test_bad_input_is_one_error(tmp_path):
    data = pairs(20)
    for wrong, said in (
        (data._replace(maps=data.maps[:, :4]), "maps \\(20, 4, 8, 1\\)"),
        (data._replace(theta=3 * data.theta), "leaves its prior"),
        (data._replace(maps=data.maps * np.nan), "not finite"),
        (data._replace(simulations=[0]), "give one each"),
    ):
        with pytest.raises(DataError, match=said):
            train_posterior(MODEL, wrong, CONFIG, tmp_path)
    with pytest.raises(ConfigError, match="multiple of 4"):
        MapPosterior(("a",), (0.0,), (1.0,), 10, widths=(2, 2))
    with pytest.raises(ConfigError, match="prior of a"):
        MapPosterior(("a",), (1.0,), (1.0,), 8)
