"""One compiled block of NUTS transitions over all chains, for the warm-up and for sampling alike.

BlackJAX gives the transition (Hoffman & Gelman 2014 with multinomial proposals, Betancourt 2017) and the dual
averaging of the step size. Here they are looped, vectorised over the chains of a device, and laid out over
devices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.adaptation.step_size import DualAveragingAdaptationState, dual_averaging_adaptation
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from galaxyjax.mesh.independent import independent

CHAIN = PartitionSpec("chain")
WHOLE = PartitionSpec()


class ChainState(NamedTuple):
    """All that a chain carries from one block to the next; each leaf has the chains first."""

    position: jax.Array  # (chains, d)
    log_density: jax.Array  # (chains,)
    gradient: jax.Array  # (chains, d)
    step_size: DualAveragingAdaptationState  # leaves (chains,)


class Draws(NamedTuple):
    """What a block leaves behind, chains first, draws second."""

    position: jax.Array  # (chains, draws, d)
    log_density: jax.Array  # (chains, draws)
    acceptance: jax.Array  # (chains, draws)
    gradients: jax.Array  # (chains, draws) integer
    divergent: jax.Array  # (chains, draws) bool
    outside: jax.Array  # (chains, draws) bool: a trajectory that ended where the density is zero


def chain_mesh(chains: int, devices=None) -> Mesh:
    """A mesh with the one axis "chain": as many of the devices as divide the chains evenly."""
    devices = list(jax.local_devices() if devices is None else devices)
    count = max(n for n in range(1, min(chains, len(devices)) + 1) if chains % n == 0)
    return Mesh(np.asarray(devices[:count]), ("chain",))


def place(mesh: Mesh, tree, spec: PartitionSpec = CHAIN):
    """Puts host arrays on the mesh, chains split over its devices (or whole on each)."""
    return jax.device_put(tree, NamedSharding(mesh, spec))


def start_state(position, log_density, gradient, step_size: float) -> ChainState:
    """State of fresh chains on the host; all arrays in the dtype of `position` (chains, d)."""
    position = np.asarray(position)
    return ChainState(
        position,
        np.asarray(log_density, position.dtype),
        np.asarray(gradient, position.dtype),
        fresh_step_size(len(position), np.log(step_size), position.dtype),
    )


def fresh_step_size(chains: int, log_step: float, dtype) -> DualAveragingAdaptationState:
    """Dual averaging that begins at a step size already near the mark.

    Its attractor `mu` is 1.5 times the present step, not 10 times as from a cold start: those first steps of
    a window would be thrown away.
    """
    full = np.full(chains, log_step, dtype)
    zero = np.zeros(chains, dtype)
    return DualAveragingAdaptationState(
        full, full.copy(), np.ones(chains, np.int32), zero, full + np.log(1.5, dtype=dtype)
    )


def build_block(log_density: Callable, draws: int, acceptance: float, max_doublings: int, mesh: Mesh):
    """A jitted function (keys, state, inverse_mass, first, adapt) -> (state, Draws), one call a block.

    keys: (chains,) typed random keys, one a chain for the whole run: transition i uses fold_in(key, i), so a
    run that is stopped and taken up again draws the same numbers. inverse_mass: (d, d). first: index of the
    first transition. adapt: whether dual averaging moves the step size; otherwise its average is used.
    """
    transition = blackjax.nuts.build_kernel()
    _, update, _ = dual_averaging_adaptation(acceptance)

    def chain(key, state: ChainState, inverse_mass, first, adapt):
        def step(state: ChainState, index):
            tuned = state.step_size
            log_step = jnp.where(adapt, tuned.log_step_size, tuned.log_step_size_avg)
            point = blackjax.mcmc.hmc.HMCState(state.position, state.log_density, state.gradient)
            point, info = transition(
                jax.random.fold_in(key, index),
                point,
                log_density,
                jnp.exp(log_step),
                inverse_mass,
                max_doublings,
            )
            rate = info.acceptance_rate.astype(log_step.dtype)
            ends = info.trajectory_leftmost_state.logdensity, info.trajectory_rightmost_state.logdensity
            outside = info.is_divergent & (jnp.isneginf(ends[0]) | jnp.isneginf(ends[1]))
            # A wall would stop any step: it says nothing about this one's length.
            moved = update(tuned, jnp.where(outside, acceptance, rate))
            tuned = jax.tree.map(lambda new, old: jnp.where(adapt, new, old).astype(old.dtype), moved, tuned)
            state = ChainState(point.position, point.logdensity, point.logdensity_grad, tuned)
            return state, (
                point.position, point.logdensity, rate, info.num_integration_steps, info.is_divergent, outside
            )  # fmt: skip

        state, columns = jax.lax.scan(step, state, first + jnp.arange(draws))
        return state, Draws(*columns)

    def local(keys, state, inverse_mass, first, adapt, chain=chain):
        if len(keys) == 1:  # without vmap, `cond` stays a branch and nothing waits for another chain
            one = chain(keys[0], jax.tree.map(lambda leaf: leaf[0], state), inverse_mass, first, adapt)
            return jax.tree.map(lambda leaf: leaf[None], one)
        return jax.vmap(chain, (0, 0, None, None, None))(keys, state, inverse_mass, first, adapt)

    if mesh.size == 1:  # nothing varies, and a chain traced twice would cost every start a second
        return jax.jit(local)
    # BlackJAX's loops begin with constants, which do not vary over devices as what they end with does. Each
    # device runs its own loops and never waits for another: chains exchange nothing in a block.
    apart = partial(local, chain=independent(chain, mesh.axis_names))
    return jax.jit(
        jax.shard_map(apart, mesh=mesh, in_specs=(CHAIN, CHAIN, WHOLE, WHOLE, WHOLE), out_specs=CHAIN)
    )
