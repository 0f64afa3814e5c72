"""The warm-up of field samplers: steps that are not integrated are refused, coordinates learn to lean."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.infer.field_level import dynamics
from galaxyjax.infer.field_level.coordinates import lean
from galaxyjax.infer.field_level.posterior import Latent
from galaxyjax.infer.field_level.sample import FieldSampler, _judged, _retune
from galaxyjax.infer.field_level.store import Run


@partial(jax.tree_util.register_dataclass, data_fields=("stiff", "mixed"), meta_fields=())
@dataclass(frozen=True)
class Quadratic:
    """-log p = stiff x.x / 2 + y (mixed . x) + y.y: a normal distribution of a field and parameters."""

    stiff: jax.Array
    mixed: jax.Array

    def log_density(self, latent):
        cross = jnp.sum(self.mixed * latent.parameters[:, None, None, None] * latent.field)
        return -0.5 * self.stiff * jnp.sum(latent.field**2) - cross - jnp.sum(latent.parameters**2)

    def place(self, latent):
        return latent


def quadratic(stiff=1.0):
    keys = jax.random.split(jax.random.key(0), 2)
    shape = (4, 4, 4)
    target = Quadratic(jnp.asarray(stiff), 0.05 * jax.random.normal(keys[0], (2, *shape)))
    return target, Latent(jax.random.normal(keys[1], shape), jnp.zeros(2))


@pytest.mark.parametrize("step", [0.5, 1e4])
def test_a_step_that_keeps_no_energy_is_refused(float64, step):
    """The chain stays, and says so with an error that shortens the step; a good step is taken."""
    target, latent = quadratic()
    state = dynamics.start(target, latent, jax.random.key(1))
    move = jax.jit(dynamics.microcanonical)
    after, moved = move(target, state, jax.random.key(2), jnp.asarray(step), jnp.asarray(10.0))
    stayed = bool((after.position.field == latent.field).all())
    assert stayed == (step > 1) and float(moved.accepted) == (0.0 if stayed else 1.0)
    assert float(moved.energy) ** 2 <= 66 * (1 + 1e-9)
    if stayed:
        assert float(moved.energy) ** 2 == pytest.approx(66)
        assert float(after.log_density) == float(state.log_density)


def test_steps_shrink_when_none_is_taken():
    run = Run(None, [], [])
    run.step, run.energy, run.accepted = 0.4, 1.0, 0.0
    _retune(run, FieldSampler())
    assert run.step < 0.2  # more than halved
    run.step, run.energy, run.accepted = 0.4, 0.0, 0.0  # every step ends where the density is 0
    _retune(run, FieldSampler())
    assert run.step == pytest.approx(0.2)


@pytest.mark.parametrize("stiff", [1.0, 9.0])
def test_the_lean_of_a_normal_distribution_is_its_own(float64, stiff):
    """H_xx^-1 H_xy, where one step of steepest descent finds it."""
    target, latent = quadratic(stiff)
    points = [latent, Latent(2.0 * latent.field, latent.parameters + 0.3)]
    whole = lambda field: field[None]  # noqa: E731 (one shell)
    np.testing.assert_allclose(lean(target, points, whole), target.mixed / stiff, rtol=1e-7)


def test_a_lean_on_which_draws_disagree_is_left_out(float64):
    @partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=())
    @dataclass(frozen=True)
    class Odd:
        """H_xy is the field itself, which has another sign at every other point."""

        def log_density(self, latent):
            return -0.5 * jnp.sum(latent.field**2) * (1.0 + latent.parameters[0])

        place = Quadratic.place

    field = jax.random.normal(jax.random.key(0), (4, 4, 4))
    points = [Latent(sign * field, jnp.zeros(1)) for sign in (1.0, -1.0)]
    np.testing.assert_array_equal(lean(Odd(), points, lambda one: one[None]), 0.0)
    same = [points[0], points[0]]
    assert float(jnp.abs(lean(Odd(), same, lambda one: one[None])).max()) > 0.1


@partial(jax.tree_util.register_dataclass, data_fields=("stiff",), meta_fields=())
@dataclass(frozen=True)
class Normal:
    """A normal distribution with its own precision in every cell."""

    stiff: jax.Array

    def log_density(self, x):
        return -0.5 * jnp.sum(self.stiff * x**2)

    def place(self, x):
        return x


def test_what_no_accept_step_costs_at_the_energy_error_aimed_at():
    """Variances by MCLMC: half a per cent low where precision is 1, a few per cent where it is 9."""
    size, step = 4096, 0.5
    target = Normal(jnp.asarray(np.repeat([1.0, 2.0, 4.0, 9.0], size // 4), jnp.float32))
    key = jax.random.key(0)
    begin = dynamics.start(target, jax.random.normal(key, (size,)) / jnp.sqrt(target.stiff), key)

    @jax.jit
    def run(state, first):
        def move(carry, index):
            state, square, energy = carry
            arguments = jnp.float32(step * size**0.5), jnp.float32(FieldSampler.length * size**0.5)
            state, moved = dynamics.microcanonical(target, state, jax.random.fold_in(key, index), *arguments)
            return (state, square + target.stiff * state.position**2, energy + moved.energy**2), None

        carry = (state, jnp.zeros(size), jnp.zeros(()))
        (state, square, energy), _ = jax.lax.scan(move, carry, first + jnp.arange(2000))
        return state, square / 2000, energy / 2000 / size

    state, _, _ = run(begin, 0)
    _, square, energy = run(state, 2000)
    assert 1e-4 < float(energy) < 2 * FieldSampler.energy_error
    variance = np.asarray(square).reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(variance[:2], 0.994, atol=0.008)
    assert 0.94 < variance[3] < 0.985


def test_empty_shells_are_not_judged_and_stuck_chains_are():
    draws = np.random.default_rng(0).normal(size=(2, 40, 3))
    draws[..., 1] = 0.0  # no mode of the grid lies there
    found = _judged(draws)
    assert len(found.r_hat) == 2 and np.isfinite(found.max_r_hat)
    draws[..., 1] = [[1.0], [2.0]]  # neither chain moves
    assert not np.isfinite(_judged(draws).max_r_hat)
