"""One compiled block of a chain: many steps, a few numbers of every draw, running means of whole fields.

Whole fields are too many to keep: a draw leaves its parameters, its power in shells and some cells; means and
variances of the pictured field are summed on the device, by Welford's rule, where the field lies.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.infer.field_level import dynamics
from galaxyjax.infer.field_level.dynamics import State


class Observed(Protocol):
    """A `dynamics.Target` that says what of a draw is kept."""

    def observe(self, latent: Any) -> dict[str, Array]:
        """Small arrays by name, each (q,)."""

    def picture(self, latent: Any) -> Array:
        """The field whose mean and variance are wanted."""


class Sums(NamedTuple):
    """Running moments of one chain. count: draws. mean, squares: of the picture (sum of squared deviations).
    coordinates: mean of the position."""

    count: Array
    mean: Array
    squares: Array
    coordinates: Any


class Trace(NamedTuple):
    """What a block leaves of its draws, (draws, ...). energy: mean squared energy error a transition.
    accepted: mean share."""

    observed: dict[str, Array]
    log_density: Array
    energy: Array
    accepted: Array


@partial(jax.jit, static_argnames=("method", "draws", "thin", "steps"))
def run_block(
    target: Observed,
    key: Array,
    state: State,
    sums: Sums,
    first: Array,
    step: Array,
    length: Array,
    *,
    method: str,
    draws: int,
    thin: int,
    steps: int = 1,
) -> tuple[State, Sums, Trace]:
    """Run `draws` draws of `thin` transitions; transition i of a chain uses fold_in(key, i).

    first: index of the first transition. step, length: see `dynamics`. steps: of one HMC trajectory.
    """
    move = partial(dynamics.hamiltonian, steps=steps) if method == "hmc" else dynamics.microcanonical

    def transition(carry, index):
        state, energy, accepted = carry
        state, moved = move(target, state, jax.random.fold_in(key, index), step, length)
        finite = jnp.where(jnp.isfinite(moved.energy), moved.energy, 0.0)
        return (state, energy + finite**2 / thin, accepted + moved.accepted / thin), None

    def draw(carry, index):
        state, sums = carry
        zero = jnp.zeros((), state.log_density.dtype)
        begin = first + index * thin
        (state, energy, accepted), _ = jax.lax.scan(transition, (state, zero, zero), begin + jnp.arange(thin))
        sums = _add(sums, target.picture(state.position), state.position)
        return (state, sums), Trace(target.observe(state.position), state.log_density, energy, accepted)

    (state, sums), trace = jax.lax.scan(draw, (state, sums), jnp.arange(draws))
    return state, sums, trace


def begin(target: Observed, position, key: Array) -> tuple[State, Sums]:
    """Return state and empty sums of a chain that begins at `position`."""
    state = dynamics.start(target, position, key)
    return state, empty_sums(target, state.position)


@jax.jit
def empty_sums(target: Observed, position) -> Sums:
    """Return sums of no draws, of the right shapes and places."""
    blank = 0.0 * target.picture(position)
    zero = jax.tree.map(jnp.zeros_like, position)
    return Sums(jnp.zeros((), jnp.int32), blank, blank, target.place(zero))


@jax.jit
def carry(target, other, latent):
    """Return the target's coordinates of what are another's coordinates `latent`."""
    return target.carried(other, latent)


def _add(sums: Sums, picture: Array, position) -> Sums:
    count = sums.count + 1
    off = picture - sums.mean
    mean = sums.mean + off / count
    squares = sums.squares + off * (picture - mean)
    coordinates = jax.tree.map(lambda m, x: m + (x - m) / count, sums.coordinates, position)
    return Sums(count, mean, squares, coordinates)
