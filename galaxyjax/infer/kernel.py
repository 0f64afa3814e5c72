"""One compiled block of transitions over all chains, for the warm-up and for sampling alike.

BlackJAX gives the transitions (NUTS: Hoffman & Gelman 2014 with multinomial proposals, Betancourt 2017; for
the others see `microcanonical`) and the dual averaging of the step size. Here they are looped, vectorised
over the chains of a device, and laid out over devices.
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
from blackjax.mcmc.integrators import IntegratorState
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from galaxyjax.mesh.independent import independent

CHAIN = PartitionSpec("chain")
WHOLE = PartitionSpec()


class ChainState(NamedTuple):
    """All that a chain carries from one block to the next; each leaf has the chains first."""

    position: jax.Array  # (chains, d)
    log_density: jax.Array  # (chains,)
    gradient: jax.Array  # (chains, d)
    momentum: jax.Array  # (chains, d) unit vectors in whitened coordinates; NUTS has no use for them
    step_size: DualAveragingAdaptationState  # leaves (chains,)


class Draws(NamedTuple):
    """What a block leaves behind, chains first, draws second."""

    position: jax.Array  # (chains, draws, d)
    log_density: jax.Array  # (chains, draws)
    acceptance: jax.Array  # (chains, draws); for MCLMC the squared energy error a step and dimension
    gradients: jax.Array  # (chains, draws) integer
    divergent: jax.Array  # (chains, draws) bool
    outside: jax.Array  # (chains, draws) bool: a trajectory that ended where the density is zero


class Tuned(NamedTuple):
    """What the warm-up tunes and all chains share."""

    inverse_mass: jax.Array  # (d, d), the covariance of the coordinates
    factor: jax.Array  # (d, d), its lower Cholesky factor
    length: jax.Array  # MCLMC: until the direction is forgotten; adjusted: mean number of steps; NUTS: none


def tuned(inverse_mass, length: float = 0.0) -> Tuned:
    """The metric and its factor, in its own dtype, factorised in float64."""
    factor = np.linalg.cholesky(np.asarray(inverse_mass, np.float64))
    dtype = np.asarray(inverse_mass).dtype
    return Tuned(inverse_mass, factor.astype(dtype), np.asarray(length, dtype))


def chain_mesh(chains: int, devices=None) -> Mesh:
    """A mesh with the one axis "chain": as many of the devices as divide the chains evenly."""
    devices = list(jax.local_devices() if devices is None else devices)
    count = max(n for n in range(1, min(chains, len(devices)) + 1) if chains % n == 0)
    return Mesh(np.asarray(devices[:count]), ("chain",))


def place(mesh: Mesh, tree, spec: PartitionSpec = CHAIN):
    """Puts host arrays on the mesh, chains split over its devices (or whole on each)."""
    return jax.device_put(tree, NamedSharding(mesh, spec))


def start_state(position, log_density, gradient, step_size: float, seed: int = 0) -> ChainState:
    """State of fresh chains on the host; all arrays in the dtype of `position` (chains, d)."""
    position = np.asarray(position)
    momentum = np.random.default_rng([seed, 2]).standard_normal(position.shape)
    momentum /= np.linalg.norm(momentum, axis=-1, keepdims=True)
    return ChainState(
        position,
        np.asarray(log_density, position.dtype),
        np.asarray(gradient, position.dtype),
        momentum.astype(position.dtype),
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
        # Steps are counted in floats: powers of an int32 are float32 numbers, whatever the dtype.
        full,
        full.copy(),
        np.ones(chains, dtype),
        zero,
        full + np.log(1.5, dtype=dtype),
    )


def nuts(log_density: Callable, max_doublings: int) -> Callable:
    """A transition of NUTS, called as those of `microcanonical`."""
    kernel = blackjax.nuts.build_kernel()

    def transition(key, index, state: IntegratorState, step_size, tuned: Tuned):
        point = blackjax.mcmc.hmc.HMCState(state.position, state.logdensity, state.logdensity_grad)
        point, info = kernel(key, point, log_density, step_size, tuned.inverse_mass, max_doublings)
        ends = info.trajectory_leftmost_state.logdensity, info.trajectory_rightmost_state.logdensity
        outside = info.is_divergent & (jnp.isneginf(ends[0]) | jnp.isneginf(ends[1]))
        state = IntegratorState(point.position, state.momentum, point.logdensity, point.logdensity_grad)
        return state, (info.acceptance_rate, info.num_integration_steps, info.is_divergent, outside)

    return transition


def build_block(transition: Callable, draws: int, acceptance: float, mesh: Mesh):
    """A jitted function (keys, state, tuned, first, adapt) -> (state, Draws), one call a block.

    keys: (chains,) typed random keys, one a chain for the whole run: transition i uses fold_in(key, i), so a
    run that is stopped and taken up again draws the same numbers. first: index of the first transition.
    adapt: whether dual averaging moves the step size towards `acceptance`; otherwise its average is used.
    """
    local = block_of(transition, draws, acceptance)
    if mesh.size == 1:  # nothing varies, and a chain traced twice would cost every start a second
        return jax.jit(local)
    # BlackJAX's loops begin with constants, which do not vary over devices as what they end with does. Each
    # device runs its own loops and never waits for another: chains exchange nothing in a block.
    apart = block_of(transition, draws, acceptance, partial(independent, axes=mesh.axis_names))
    return jax.jit(
        jax.shard_map(apart, mesh=mesh, in_specs=(CHAIN, CHAIN, WHOLE, WHOLE, WHOLE), out_specs=CHAIN)
    )


def block_of(transition: Callable, draws: int, acceptance: float, wrap: Callable = lambda one: one):
    """The function of `build_block` for the chains of one device, not yet compiled. wrap: of a chain."""
    _, update, _ = dual_averaging_adaptation(acceptance)

    def chain(key, state: ChainState, tuned: Tuned, first, adapt):
        def step(state: ChainState, index):
            size = state.step_size
            log_step = jnp.where(adapt, size.log_step_size, size.log_step_size_avg)
            point = IntegratorState(state.position, state.momentum, state.log_density, state.gradient)
            point, (rate, gradients, divergent, outside) = transition(
                jax.random.fold_in(key, index), index, point, jnp.exp(log_step), tuned
            )
            rate = rate.astype(log_step.dtype)
            # A wall would stop any step: it says nothing about this one's length.
            moved = update(size, jnp.where(outside, acceptance, rate))
            size = jax.tree.map(lambda new, old: jnp.where(adapt, new, old).astype(old.dtype), moved, size)
            state = ChainState(point.position, point.logdensity, point.logdensity_grad, point.momentum, size)
            return state, (point.position, point.logdensity, rate, gradients, divergent, outside)

        state, columns = jax.lax.scan(step, state, first + jnp.arange(draws))
        return state, Draws(*columns)

    chain = wrap(chain)

    def local(keys, state, tuned, first, adapt):
        if len(keys) == 1:  # without vmap, `cond` stays a branch and nothing waits for another chain
            one = chain(keys[0], jax.tree.map(lambda leaf: leaf[0], state), tuned, first, adapt)
            return jax.tree.map(lambda leaf: leaf[None], one)
        return jax.vmap(chain, (0, 0, None, None, None))(keys, state, tuned, first, adapt)

    return local
