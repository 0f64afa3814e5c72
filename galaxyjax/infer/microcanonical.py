"""Microcanonical Langevin and Hamiltonian transitions of one chain, in coordinates of unit covariance.

Unadjusted (Robnik, De Luca, Silverstein & Seljak 2023, JMLR 24, 311): a walk at unit speed along the flow
whose time average is the posterior, its direction refreshed a little at each step. Nothing is rejected; the
bias is held by the energy that a step may gain or lose. Adjusted (Robnik, Cohn-Gordon & Seljak 2025): whole
trajectories of that flow, accepted or rejected, hence exact. BlackJAX gives both; here the coordinates are
whitened, a wall turns a chain round, and all chains take equally many steps.

Steps are velocity Verlet's, one gradient each.
"""

from __future__ import annotations

from collections.abc import Callable

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc.dynamic_hmc import DynamicHMCState, halton_sequence
from blackjax.mcmc.integrators import IntegratorState, isokinetic_velocity_verlet


def langevin(log_density: Callable, steps: int) -> Callable:
    """A transition of `steps` integration steps; (key, index, state, step size, tuned) -> (state, what
    happened).

    state: IntegratorState of the coordinates u (d,), its momentum that of the whitened ones. Returns what
    `Draws` wants: mean squared energy error a dimension, gradients, whether a step failed, whether at a wall.
    """
    kernel = blackjax.mclmc.build_kernel(integrator=isokinetic_velocity_verlet)

    def transition(key, index, state, step_size, tuned):
        white = lambda v: log_density(tuned.factor @ v)  # noqa: E731

        def step(state, key):
            new, info = kernel(key, state, white, 1.0, tuned.length, step_size)
            # A new direction at random would leave too many chains beside a wall; back the way it came is
            # reversible, and keeps the distribution flat there.
            new = new._replace(momentum=jnp.where(info.nonans, new.momentum, -state.momentum))
            return new, (info.energy_change**2, ~info.nonans)

        first = _whitened(state, tuned.factor)
        last, (errors, failed) = jax.lax.scan(step, first, jax.random.split(key, steps))
        error = jnp.mean(errors) / first.position.size
        return _unwhitened(last, tuned.factor), (error, jnp.int32(steps), failed.any(), failed.any())

    return transition


def hamiltonian(log_density: Callable) -> Callable:
    """A transition of one accepted or rejected trajectory, called as that of `langevin`.

    The numbers of steps follow a Halton sequence, the same in every chain, uniform with the mean
    that is tuned: chains that are vectorised together do not wait for each other. Returns the acceptance
    probability in place of the energy error.
    """

    def transition(key, index, state, step_size, tuned):
        white = lambda v: log_density(tuned.factor @ v)  # noqa: E731
        most = 2.0 * tuned.length - 1.0
        kernel = blackjax.adjusted_mclmc_dynamic.build_kernel(
            integration_steps_fn=lambda index: 1 + jnp.int32(halton_sequence(index) * most),
            integrator=isokinetic_velocity_verlet,
            next_random_arg_fn=lambda index: index,
        )
        first = _whitened(state, tuned.factor)
        at = DynamicHMCState(first.position, first.logdensity, first.logdensity_grad, index)
        at, info = kernel(key, at, white, step_size, jnp.inf, 1.0)
        last = IntegratorState(at.position, state.momentum, at.logdensity, at.logdensity_grad)
        rate = jnp.nan_to_num(info.acceptance_rate)
        outside = ~jnp.isfinite(info.proposal.logdensity)
        diverged = info.is_divergent | outside
        return _unwhitened(last, tuned.factor), (
            rate,
            jnp.int32(info.num_integration_steps),
            diverged,
            outside,
        )

    return transition


def _whitened(state: IntegratorState, factor) -> IntegratorState:
    position = jax.scipy.linalg.solve_triangular(factor, state.position, lower=True)
    return state._replace(position=position, logdensity_grad=factor.T @ state.logdensity_grad)


def _unwhitened(state: IntegratorState, factor) -> IntegratorState:
    gradient = jax.scipy.linalg.solve_triangular(factor.T, state.logdensity_grad, lower=False)
    return state._replace(position=factor @ state.position, logdensity_grad=gradient)
