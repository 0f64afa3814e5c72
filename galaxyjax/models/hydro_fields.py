"""What latents of `models.hydro` stand for: fields of baryons, draws, what they miss."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.mesh.collect import varies_over
from galaxyjax.mesh.topology import SPATIAL

STAR_FLOOR = 1e-3  # of the stars' share, where its logarithm bends
# k_B / (mu m_p) of ionised gas with X = 0.76, mu = 4 / (3 + 5 X): (km/s)^2 per K.
IDEAL = 1.380649e-16 / 1.67262192e-24 / (4.0 / (3.0 + 5.0 * 0.76)) * 1e-10
TALLEST = 12.0  # bound on logarithms of densities, and on how far a network may move one


class Baryons(NamedTuple):
    """Fields (batch, nx, ny, nz): gas and stars over the mean density of baryons, T in K, P in (km/s)^2
    times that mean."""

    gas: Array
    stars: Array
    temperature: Array
    pressure: Array


class Heads(NamedTuple):
    """What the networks make, each (batch, nx, ny, nz, latents).

    mean: ln b (of mean 1), logit f, ln T and ln of the pressure over the ideal gas law's. typical: ln b,
    logit f, ln T and, where not ideal, the correction of ln P: what draws scatter about. scatter: of ln b,
    ln (f + STAR_FLOOR), ln T (and ln P), the flow's unit.
    """

    mean: Array
    typical: Array
    scatter: Array


def drawn(heads: Heads, state: Array, common: tuple = (), shared: Array | None = None) -> Array:
    """Return the typical latents with what a draw adds; the stars' share moves in ln(f + STAR_FLOOR).

    state: of the flow at time 1, in units of the scatter. common, shared: `Hydro.common` and the draw's
    (batch, modes) normal numbers, None for zeros.
    """
    step, latents = state * heads.scatter, heads.typical
    if common and shared is not None:
        step = step + _common(latents[..., 0], jnp.asarray(common, state.dtype), shared)
    share = jnp.log(jax.nn.sigmoid(latents[..., 1]) + STAR_FLOOR) + step[..., 1]
    # Back to a share: none below the floor, and never all.
    share = jnp.clip(jnp.exp(jnp.minimum(share, 0.0)) - STAR_FLOOR, 1e-9, 1.0 - 1e-4)
    logit = jnp.log(share) - jnp.log1p(-share)
    moved = [latents[..., 0] + step[..., 0], logit, *jnp.moveaxis((latents + step)[..., 2:], -1, 0)]
    return conserved(jnp.stack(moved, axis=-1))


def _common(x: Array, common: Array, shared: Array) -> Array:
    """What all cells of one density x = ln b have in common in a draw, (batch, nx, ny, nz, latents)."""
    weight = jnp.matmul(shared, common.T, precision="highest")
    weight = weight.reshape(-1, 1, 1, 1, len(common) // 3, 3)
    return jnp.sum(weight * common_powers(x)[..., None, :], axis=-1)


def missed(heads: Heads, truth: Baryons, ideal: bool) -> tuple[Array, Array]:
    """Return the truth's departure from the typical latents, in units of the scatter, and where it is
    known (both as draws' latents; ideal: they are three)."""
    latents, total = heads.typical, truth.gas + truth.stars
    here = total > 0
    warm = (truth.temperature > 0) & (truth.gas > 0)
    log = lambda x, good: jnp.log(jnp.where(good, x, 1.0))  # noqa: E731
    share = jnp.log(truth.stars / jnp.where(here, total, 1.0) + STAR_FLOOR)
    parts = [
        (log(jnp.maximum(total, 1e-3), here) - latents[..., 0], here),
        (share - jnp.log(jax.nn.sigmoid(latents[..., 1]) + STAR_FLOOR), here),
        (log(truth.temperature, warm) - latents[..., 2], warm),
    ]
    if not ideal:
        law = truth.gas * IDEAL * truth.temperature
        fine = warm & (truth.pressure > 0)
        parts.append((log(truth.pressure, fine) - log(law, fine) - latents[..., 3], fine))
    known = jnp.stack([good for _, good in parts], axis=-1)
    return jnp.where(known, jnp.stack([v for v, _ in parts], axis=-1), 0.0) / heads.scatter, known


def fields(latents: Array) -> Baryons:
    """Return the fields that latents (..., 3 or 4) stand for: of `Heads.mean`, or of a draw."""
    total = jnp.exp(latents[..., 0])
    share, heat = latents[..., 1], jnp.exp(latents[..., 2])
    gas = total * jax.nn.sigmoid(-share)
    pressure = gas * IDEAL * heat
    if latents.shape[-1] > 3:
        pressure = pressure * jnp.exp(latents[..., 3])
    return Baryons(gas, total * jax.nn.sigmoid(share), heat, pressure)


def common_powers(x: Array) -> Array:
    """Return 1, t and t^2 of t = tanh(x / 3), x = ln of a density: (..., 3)."""
    t = jnp.tanh(x / 3.0)
    return jnp.stack([jnp.ones_like(t), t, t**2], axis=-1)


def conserved(latents: Array) -> Array:
    """Return latents whose baryons have the mean 1 over the whole box, inside `shard_map`."""
    first = jnp.clip(latents[..., 0], -TALLEST, TALLEST)
    axes = tuple(name for name in SPATIAL if name in varies_over(first))
    total = jnp.mean(jnp.exp(first), axis=(1, 2, 3))
    if axes:
        total = jax.lax.pmean(total, axes)
    first = first - jnp.log(total)[:, None, None, None]
    return jnp.concatenate([first[..., None], latents[..., 1:]], axis=-1)
