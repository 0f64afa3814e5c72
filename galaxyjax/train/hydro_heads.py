"""The two heads of `models.hydro` as their trainings see them, and their losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from galaxyjax.mesh.topology import SPATIAL
from galaxyjax.models.hydro import Baryons, Hydro
from galaxyjax.train.displacement import shell_powers
from galaxyjax.train.field import FieldBatch


@dataclass(frozen=True)
class MeanHead:
    """A `Hydro` as the training of its mean head sees it: (matter, ...) in, latents out."""

    model: Hydro
    remat: bool = False
    dtype: str | None = None

    @property
    def multiple(self) -> int:
        """What a block's sides must be multiples of."""
        return self.model.multiple

    def init(self, key: jax.Array) -> dict:
        """Parameters of both heads."""
        return self.model.init(key)

    def flops(self, cells) -> int:
        """Operations of a forward pass."""
        return self.model.net.flops(cells)

    def apply_block(self, params, field: jax.Array, style: jax.Array, axes=SPATIAL) -> jax.Array:
        """One device's block of the latents, inside `shard_map`."""
        model = replace(self.model, remat=self.remat, dtype=self.dtype)
        return model.mean_block(params, field[..., 0], style[:, : len(model.style) + 1], axes)[0]


@dataclass(frozen=True)
class Flow(MeanHead):
    """A `Hydro` as the training of its flow sees it: (matter, truth, noise) in; its mean head stays as it is.

    Comes out, (..., 2 x channels): the velocity of the flow on the straight way from the noise to what the
    mean head misses, and the velocity wanted of it; both 0 where the truth is not known.
    """

    def flops(self, cells) -> int:
        """Operations of a forward pass, of which the mean head has no backward one."""
        return self.model.flow.flops(cells) + self.model.net.flops(cells) // 3

    def apply_block(self, params, field: jax.Array, style: jax.Array, axes=SPATIAL) -> jax.Array:
        """One device's block of both velocities, inside `shard_map`."""
        model = replace(self.model, remat=self.remat, dtype=self.dtype)
        plain, time = style[:, : len(model.style) + 1], style[:, -1]
        fixed = {**params, "mean": jax.lax.stop_gradient(params["mean"])}
        latents, features, _ = model.mean_block(fixed, field[..., 0], plain, axes)
        truth, noise = Baryons(*jnp.moveaxis(field[..., 1:5], -1, 0)), field[..., 5:]
        missed, known = model.missed(latents, truth)
        t = time[:, None, None, None, None]
        velocity = model.velocity_block(
            params, (1.0 - t) * noise + t * missed, time, latents, features, plain, axes
        )
        return jnp.concatenate([jnp.where(known, part, 0.0) for part in (velocity, missed - noise)], axis=-1)


@dataclass(frozen=True)
class FlowLoss:
    """Mean square of the velocity that the flow misses (Lipman et al. 2023, eq. 9)."""

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        velocity, wanted = jnp.split(prediction, 2, axis=-1)
        return jnp.mean(jnp.square(velocity - wanted))


@dataclass(frozen=True)
class HydroLoss:
    """Weighted errors of the mean head, each of order one at first.

    gas, temperature: of logarithms, where gas is not nearly empty; stars: cross-entropy of the stars' share
    by mass; peaks: of linear gas and pressure over their own mean squares; gas_spectrum,
    pressure_spectrum: of ln P(k) in shells.
    """

    model: Hydro
    gas: float = 1.0
    temperature: float = 1.5
    stars: float = 1.0
    peaks: float = 0.2
    gas_spectrum: float = 2.0
    pressure_spectrum: float = 0.2

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        truth = Baryons(*jnp.moveaxis(batch.target, -1, 0))
        found = self.model.fields(prediction)
        return self._mean(prediction, found, truth, axes) + self._spectra(found, truth)

    def _mean(self, latents: jax.Array, found: Baryons, truth: Baryons, axes) -> jax.Array:
        whole = lambda values: jax.lax.pmean(jnp.mean(values), axes)  # noqa: E731
        baryons = truth.gas + truth.stars
        error = jnp.log((found.gas + 0.05) / (truth.gas + 0.05)) / 0.2
        total = self.gas * jnp.mean(jnp.square(error))
        warm = truth.temperature > 0
        weight = jnp.where(warm, jnp.sqrt(truth.gas), 0.0)
        weight = weight / whole(weight)
        heat = jnp.log(jnp.where(warm, truth.temperature, 1.0))
        error = jnp.where(warm, latents[..., 2] - heat, 0.0) / 0.4
        # Absolute rather than square far out: the median counts.
        total += self.temperature * jnp.mean(weight * _huber(error, 1.0))
        if not self.model.ideal:
            fine = warm & (truth.pressure > 0)
            log = lambda x: jnp.log(jnp.where(fine, x, 1.0))  # noqa: E731
            total += self.temperature * jnp.mean(
                weight * jnp.square(log(found.pressure) - log(truth.pressure))
            )
        share = truth.stars / jnp.where(baryons > 0, baryons, 1.0)
        entropy = jax.nn.softplus(latents[..., 1]) - share * latents[..., 1]
        total += self.stars * 20.0 * jnp.mean(baryons * entropy)
        for name, much in (("gas", 5.0), ("pressure", 1.0)):
            own = getattr(truth, name)
            scale = whole(jnp.square(own)) + 1e-3 * jnp.square(whole(own)) + 1e-3
            missed = whole(jnp.square(getattr(found, name) - own)) / scale
            total += (
                self.peaks * much * jnp.log1p(missed)
            )  # a few cells count most, and may be far off at first
        return total

    def _spectra(self, found: Baryons, truth: Baryons) -> jax.Array:
        total = 0.0
        for name, weight in (("gas", self.gas_spectrum), ("pressure", self.pressure_spectrum)):
            if not weight:
                continue
            for mine, own in zip(getattr(found, name), getattr(truth, name), strict=True):
                powers = [shell_powers(grid) for grid in (mine, own)]
                inside = powers[1] > 0.0  # a box of few cells has no modes in the first shells
                ratio = jnp.where(inside, powers[0], 1.0) / jnp.where(inside, powers[1], 1.0)
                missed = _huber(jnp.log(ratio), 0.3)
                total += weight * 20.0 * jnp.mean(missed, where=inside) / len(found.gas)
        return total


def _huber(x: jax.Array, turn: float) -> jax.Array:
    """x^2 / 2 near 0, turn |x| far from it, and smooth."""
    return turn**2 * (jnp.sqrt(1.0 + jnp.square(x / turn)) - 1.0)
