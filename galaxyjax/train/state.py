"""Everything that a training run needs to go on exactly where it was."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax


@chex.dataclass(frozen=True)
class TrainState:
    """Parameters, optimiser, moving average and early-stopping state, all saved in every checkpoint."""

    step: jax.Array
    params: chex.ArrayTree
    opt_state: optax.OptState
    average: chex.ArrayTree  # exponential moving average of params
    best: chex.ArrayTree  # the average with the lowest validation loss
    best_loss: jax.Array
    best_step: jax.Array
    stale: jax.Array  # evaluations since best


def create(params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        params=params,
        opt_state=optimizer.init(params),
        average=params,
        best=params,
        best_loss=jnp.asarray(jnp.inf, jnp.float32),
        best_step=zero,
        stale=zero,
    )


def updated(state: TrainState, gradient, optimizer: optax.GradientTransformation, ema: float) -> TrainState:
    """The state after one step: parameters, optimiser and average, element by element."""
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # Young averages forget faster, so that the random start is gone early.
    decay = jnp.minimum(ema, (1.0 + state.step) / (10.0 + state.step))
    average = optax.incremental_update(params, state.average, 1.0 - decay)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state, average=average)


def judged(state: TrainState, held_out_loss: jax.Array) -> TrainState:
    """The state after a validation of its average, which is kept when it is the best so far."""
    better = held_out_loss < state.best_loss
    return state.replace(
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), state.average, state.best),
        best_loss=jnp.where(better, held_out_loss, state.best_loss),
        best_step=jnp.where(better, state.step, state.best_step),
        stale=jnp.where(better, 0, state.stale + 1),
    )
