"""Two samplers of whole fields, written for pytrees of sharded arrays: elementwise work and global sums.

microcanonical   MCLMC (Robnik et al. 2023, JMLR 24, 311; Robnik & Seljak 2024, arXiv:2303.18221): the speed
                 is constant, gradients turn it, a little noise makes it forget. No accept step: a bias that
                 falls with the step size, and no cost that grows with the dimension.
hamiltonian      HMC (Duane et al. 1987) with an accept step: no bias.

BlackJAX's kernels flatten a position into one vector, which no mesh of x and y holds; the arithmetic of
`turn` is theirs to rounding (a test says so). Both use the two-stage integrator of minimum norm (McLachlan
1995, SIAM J. Sci. Comput. 16, 151): two gradients a step, at a fifth of the leapfrog's error for the same
gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

INNER = 0.1931833275037836  # share of the first and last change of momentum
GRADIENTS = 2  # a step


class Target(Protocol):
    """A density on a pytree of arrays; itself a pytree, so that a compiled block outlives its adaptation."""

    def log_density(self, latent: Any) -> Array: ...

    def place(self, latent: Any) -> Any:
        """The same values, constrained to where they lie on the mesh."""


class State(NamedTuple):
    """A chain between two steps. momentum: of unit norm for MCLMC; HMC draws its own."""

    position: Any
    momentum: Any
    log_density: Array
    gradient: Any


class Moved(NamedTuple):
    """What a transition says of itself. energy: its energy error, 0 where the density was 0. accepted: 1, or
    0 where it stayed."""

    energy: Array
    accepted: Array


def dot(a, b) -> Array:
    """Return the scalar product of two pytrees, without flattening what is sharded."""
    return sum(jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def start(target: Target, position, key: Array) -> State:
    """Return the state of a chain that begins at `position` in a direction that `key` draws."""
    position = _placed(target, position)
    value, gradient = slope(target, position)
    return State(position, _direction(target, key, position), value, gradient)


@jax.jit
def slope(target: Target, position) -> tuple[Array, Any]:
    """Return the log density and its gradient: one program for all who want them outside a block."""
    return jax.value_and_grad(target.log_density)(target.place(position))


def microcanonical(
    target: Target, state: State, key: Array, step: Array, length: Array
) -> tuple[State, Moved]:
    """One MCLMC step. step: how far, in the norm of all coordinates. length: way after which a direction is
    forgotten. A step is not taken, and the direction is drawn anew, when it ends where the density is 0, or
    its energy error squared is above 1 a coordinate: nothing is integrated then (steps that sample well make
    1e-5), and without an accept step the chain would leave for good."""
    size = sum(leaf.size for leaf in jax.tree.leaves(state.position))
    zero = jnp.zeros_like(state.log_density)

    def stage(carry, share):  # a loop, so that the density is compiled once
        position, momentum, value, gradient, kinetic = carry
        momentum, gained = turn(momentum, gradient, share * step, size)
        position = target.place(jax.tree.map(lambda x, u: x + 0.5 * step * u, position, momentum))
        value, gradient = jax.value_and_grad(target.log_density)(position)
        return (position, momentum, value, gradient, kinetic + gained), None

    carry = (*state, zero)
    (position, momentum, value, gradient, kinetic), _ = jax.lax.scan(stage, carry, _shares(zero))
    momentum, gained = turn(momentum, gradient, INNER * step, size)
    kinetic = kinetic + gained
    energy = kinetic - value + state.log_density
    known = jnp.isfinite(energy) & jnp.isfinite(dot(gradient, gradient))
    fine = known & (energy**2 < size)
    noise = _normal(target, key, position)
    share = jnp.sqrt(jnp.expm1(2.0 * step / length) / size)
    onward = _unit(jax.tree.map(lambda u, z: u + share * z, momentum, noise))
    new = State(position, onward, value, gradient)
    stay = State(state.position, _unit(noise), state.log_density, state.gradient)
    new = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, stay)
    energy = jnp.clip(energy, -(size**0.5), size**0.5)
    return new, Moved(jnp.where(known, energy, 0.0), fine.astype(value.dtype))


def turn(momentum, gradient, step: Array, size: int) -> tuple[Any, Array]:
    """Return the direction after a force acted for `step`, and the kinetic energy gained.

    With e the gradient's direction and delta = step |gradient| / (size - 1) (Robnik et al. 2023, eq. 7):
    u' ~ u + e (sinh delta + e.u (cosh delta - 1)), times exp(-delta) so that nothing overflows.
    """
    norm = jnp.sqrt(dot(gradient, gradient))
    along = dot(momentum, gradient) / norm
    delta = step * norm / (size - 1)
    shrunk = jnp.exp(-delta)
    pull = (1.0 - shrunk) * (1.0 + shrunk + along * (1.0 - shrunk)) / norm
    turned = _unit(jax.tree.map(lambda u, g: 2.0 * shrunk * u + pull * g, momentum, gradient))
    # ln(cosh delta + e.u sinh delta): to its last digits where small, without overflow where large.
    few = jnp.minimum(delta, 1.0)
    small = jnp.log1p(0.5 * (1.0 + along) * jnp.expm1(2.0 * few)) - few
    parts = jnp.log(0.5 * jnp.clip(1.0 + along, 0.0)), jnp.log(0.5 * jnp.clip(1.0 - along, 0.0))
    growth = jnp.where(delta < 1.0, small, jnp.logaddexp(parts[0] + delta, parts[1] - delta))
    return turned, growth * (size - 1)


def hamiltonian(
    target: Target, state: State, key: Array, step: Array, length: Array, steps: int
) -> tuple[State, Moved]:
    """One HMC transition of `steps` steps, each 0.8 to 1.2 of `step` long; step is per coordinate here.

    length: not used; it stands so that both samplers are called alike.
    """
    key_p, key_jitter, key_accept = jax.random.split(key, 3)
    momentum = _normal(target, key_p, state.position)
    step = step * jax.random.uniform(key_jitter, (), step.dtype, 0.8, 1.2)

    def stage(carry, share):
        position, momentum, value, gradient = carry
        momentum = jax.tree.map(lambda p, g: p + share * step * g, momentum, gradient)
        position = target.place(jax.tree.map(lambda x, p: x + 0.5 * step * p, position, momentum))
        value, gradient = jax.value_and_grad(target.log_density)(position)
        return (position, momentum, value, gradient), None

    def one(carry, _):
        (position, momentum, value, gradient), _ = jax.lax.scan(stage, carry, _shares(step))
        momentum = jax.tree.map(lambda p, g: p + INNER * step * g, momentum, gradient)
        return (position, momentum, value, gradient), None

    begin = (state.position, momentum, state.log_density, state.gradient)
    (position, after, value, gradient), _ = jax.lax.scan(one, begin, None, length=steps)
    energy = 0.5 * (dot(after, after) - dot(momentum, momentum)) - value + state.log_density
    energy = jnp.where(jnp.isfinite(energy), energy, jnp.inf)
    chance = jnp.minimum(1.0, jnp.exp(-energy))
    accept = jax.random.uniform(key_accept, (), step.dtype) < chance
    new = State(position, state.momentum, value, gradient)
    new = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, state)
    return new, Moved(energy, chance)


def _shares(like: Array) -> Array:
    """By how much of a step momentum changes before each of its two moves."""
    return jnp.asarray([INNER, 1.0 - 2.0 * INNER], like.dtype)


def _normal(target: Target, key: Array, like):
    """Standard normals of the shapes of a pytree, placed as its arrays; the same on every mesh."""
    leaves, tree = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return target.place(jax.tree.unflatten(tree, drawn))


@jax.jit
def _placed(target: Target, position):
    return target.place(position)


@jax.jit
def _direction(target: Target, key: Array, like):
    return _unit(_normal(target, key, like))


def _unit(tree):
    scale = jax.lax.rsqrt(dot(tree, tree))
    return jax.tree.map(lambda leaf: leaf * scale, tree)


Transition = Callable[[Target, State, Array, Array, Array], tuple[State, Moved]]
