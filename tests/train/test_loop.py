"""Training: it learns, it resumes bit for bit, it refuses what is not its own, it stops early."""

import shutil
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.nn.functional import functional
from galaxyjax.nn.mlp import MLP
from galaxyjax.train import loop
from galaxyjax.train.config import FitConfig

CONFIG = FitConfig(steps=400, batch=64, evaluate_every=20, learning_rate=2e-2, ema=0.9)


@pytest.fixture(scope="module")
def problem():
    """A smooth function of two variables."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(600, 2)).astype(np.float32)
    y = np.stack([np.sin(2 * x[:, 0]) * x[:, 1], x[:, 0] ** 2], axis=1)
    data = [
        loop.Data(*(jnp.asarray(v[s]) for v in (x, y, np.ones(600)))) for s in (slice(500), slice(500, None))
    ]
    init, apply = functional(lambda rngs: MLP((2, 16, 16, 2), "silu", rngs=rngs))
    return apply, init(jax.random.key(0)), *data


def test_it_learns_and_validation_sees_the_average(problem, tmp_path):
    apply, params, data, held_out = problem
    best, history = loop.fit(apply, params, data, held_out, CONFIG, tmp_path, "a")
    first, last = history[0][2], history[-1][2]
    assert last < 1e-3 < first
    error = apply(best, held_out.features) - held_out.targets
    np.testing.assert_allclose(jnp.mean(jnp.sum(error**2, -1)), last, rtol=1e-3)


def test_examples_over_a_mesh_teach_the_same_and_go_on_elsewhere(problem, tmp_path):
    """The first steps agree to rounding; a run of four devices is taken up by one and by eight."""
    apply, params, data, held_out = problem
    short = replace(CONFIG, steps=40)
    plain, _ = loop.fit(apply, params, data, held_out, short, tmp_path / "one", "a")
    for shape in ("data=4", "data=2,x=2,y=2"):
        mesh = build_mesh(shape)
        found, _ = loop.fit(apply, params, data, held_out, short, tmp_path / shape, "a", mesh=mesh)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), found, plain)
    for shape in ("data=1", "data=8"):
        shutil.copytree(tmp_path / "data=4", tmp_path / f"on {shape}")
        longer = replace(CONFIG, steps=60)
        arguments = (apply, params, data, held_out, longer, tmp_path / f"on {shape}", "a")
        found, history = loop.fit(*arguments, mesh=build_mesh(shape))
        assert [row[0] for row in history] == [20, 40, 60]
    with pytest.raises(ConfigError, match="batch of 63 examples does not divide over data=4"):
        config = replace(CONFIG, batch=63)
        loop.fit(apply, params, data, held_out, config, tmp_path / "b", "a", mesh=build_mesh("data=4"))


def test_a_killed_run_goes_on_bit_for_bit(problem, tmp_path, monkeypatch):
    apply, params, data, held_out = problem
    whole, history = loop.fit(apply, params, data, held_out, CONFIG, tmp_path / "whole", "a")

    real, saved = loop._save, []

    def save_then_die(*arguments):
        real(*arguments)
        arguments[0].wait_until_finished()
        saved.append(int(arguments[1].step))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "SAVE_EVERY", 5)
    monkeypatch.setattr(loop, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(apply, params, data, held_out, CONFIG, tmp_path / "killed", "a")
    monkeypatch.setattr(loop, "_save", real)
    resumed, history_resumed = loop.fit(apply, params, data, held_out, CONFIG, tmp_path / "killed", "a")
    assert saved == [100]
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert history_resumed == history


def test_a_finished_run_is_not_repeated_and_a_foreign_one_refused(problem, tmp_path):
    apply, params, data, held_out = problem
    short = replace(CONFIG, steps=40)
    best, history = loop.fit(apply, params, data, held_out, short, tmp_path, "a")
    again, same = loop.fit(apply, params, data, held_out, short, tmp_path, "a")
    assert same == history
    jax.tree.map(np.testing.assert_array_equal, best, again)
    with pytest.raises(ConfigError, match="another training run"):
        loop.fit(apply, params, data, held_out, short, tmp_path, "b")


def test_early_stopping_keeps_the_best(problem, tmp_path):
    apply, params, data, held_out = problem
    # Validation that no step improves: targets far away and a learning rate of next to nothing.
    frozen = replace(CONFIG, learning_rate=1e-12, patience=3)
    _, history = loop.fit(
        apply, params, data, held_out._replace(targets=held_out.targets + 5), frozen, tmp_path, "a"
    )
    assert len(history) < CONFIG.steps // CONFIG.evaluate_every


def test_nan_in_the_data_stops_with_a_message(problem, tmp_path):
    apply, params, data, held_out = problem
    broken = data._replace(targets=data.targets.at[:].set(jnp.nan))
    with pytest.raises(DataError, match="loss is nan"):
        loop.fit(apply, params, broken, held_out, CONFIG, tmp_path, "a")


@pytest.mark.parametrize("bad", [{"steps": 0}, {"learning_rate": -1.0}, {"ema": 1.0}])
def test_a_senseless_configuration_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        FitConfig(**bad)
