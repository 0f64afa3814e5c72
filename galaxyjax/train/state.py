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
