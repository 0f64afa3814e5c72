"""The two heads of `models.hydro` as their trainings see them, and their losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from galaxyjax.mesh.topology import SPATIAL
from galaxyjax.models.hydro import Hydro
from galaxyjax.models.hydro_fields import IDEAL, Baryons, Heads, fields, missed
from galaxyjax.train.field import FieldBatch

_TAIL = 3.0  # scatters beyond which a cell says less about the scatter
_FARTHEST = 8.0  # scatters from the typical value: beyond, a cell would rule the flow's loss


@dataclass(frozen=True)
class MeanHead:
    """A `Hydro` as the training of its mean head sees it: (matter, ...) in, its `Heads` side by side out.

    seen: what comes in is not matter but what the networks see of it. cells: and of any cells, not of a box;
    both as `train.hydro_cells` makes them.
    """

    model: Hydro
    seen: bool = False
    cells: bool = False
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
        return sum(net.flops(cells) for net in self.model.nets.values())

    def apply_block(self, params, field: jax.Array, style: jax.Array, axes=SPATIAL) -> jax.Array:
        """One device's block of the heads, inside `shard_map`."""
        model = replace(self.model, remat=self.remat, dtype=self.dtype)
        plain = style[:, : len(model.style) + 1]
        features, x, _ = self._seen(field, plain)
        heads = model.heads_block(params, features, x, plain, axes, whole=not self.cells)[0]
        return jnp.concatenate(heads, axis=-1)

    def _seen(self, field: jax.Array, style: jax.Array):
        """(features, ln of the filtered density, the rest) of what comes in."""
        if self.seen:
            n = self.model.features
            return field[..., :n], field[..., n], field[..., n + 1 :]
        return *self.model.features_block(field[..., 0], style), field[..., 1:]


@dataclass(frozen=True)
class Flow(MeanHead):
    """A `Hydro` as the training of its flow sees it: (matter, truth, noise) in; its mean head stays as it is.

    Comes out, (..., 2 x channels): the velocity of the flow on the straight way from the noise to what the
    mean head misses, and the velocity wanted of it; both 0 where the truth is not known.
    """

    def flops(self, cells) -> int:
        """Operations of a forward pass, of which the mean head has no backward one."""
        return self.model.flow.flops(cells) + super().flops(cells) // 3

    def apply_block(self, params, field: jax.Array, style: jax.Array, axes=SPATIAL) -> jax.Array:
        """One device's block of both velocities, inside `shard_map`."""
        model = replace(self.model, remat=self.remat, dtype=self.dtype)
        plain, time = style[:, : len(model.style) + 1], style[:, -1]
        fixed = {**params, "mean": jax.lax.stop_gradient(params["mean"])}
        features, x, rest = self._seen(field, plain)
        heads = model.heads_block(fixed, features, x, plain, axes)[0]
        truth, noise = Baryons(*jnp.moveaxis(rest[..., :4], -1, 0)), rest[..., 4:]
        off, known = missed(heads, truth, model.ideal)
        t = time[:, None, None, None, None]
        off = jnp.clip(off, -_FARTHEST, _FARTHEST)
        velocity = model.velocity_block(
            params, (1.0 - t) * noise + t * off, time, heads, features, plain, axes
        )
        return jnp.concatenate([jnp.where(known, part, 0.0) for part in (velocity, off - noise)], axis=-1)


@dataclass(frozen=True)
class FlowLoss:
    """Mean square of the velocity that the flow misses (Lipman et al. 2023, eq. 9)."""

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        velocity, wanted = jnp.split(prediction, 2, axis=-1)
        return jnp.mean(jnp.square(velocity - wanted))


@dataclass(frozen=True)
class HydroLoss:
    """How far the heads are from the truth: likelihoods of latents, deviances of expectations.

    Typical latents and scatters: -ln of a normal density, each cell by the root of its variance (Seitzer et
    al. 2022, beta = 1/2), and by volume and the root of its mass; of ln T and ln P beyond `turn` scatters
    the distance counts, not its square, since the median is wanted. The scatter learns apart from the place.
    Means: unit deviances of Tweedie's family (Jorgensen 1987) of power `gas` (gas, stars) and `pressure`,
    least at the expectation whatever the scatter is, and less at the mercy of a box's largest halo than
    squares (power 0) are.
    """

    model: Hydro
    likelihood: float = 2.0
    turn: float = 0.7
    gas: float = 1.2
    pressure: float = 1.4
    heat: float = 0.15  # weight of the pressure's deviance
    cells: bool = (
        False  # the batch is of `train.hydro_cells`: its last channels say how much each cell counts
    )

    def __call__(self, prediction: jax.Array, batch: FieldBatch, axes: tuple[str, str]) -> jax.Array:
        truth, n = Baryons(*jnp.moveaxis(batch.target, -1, 0)), self.model.channels
        heads = Heads(*jnp.split(prediction, (4, 4 + n), axis=-1))
        if self.cells:
            count, unit = batch.field[..., -2], batch.field[..., -1]
        else:
            count, unit = jnp.ones(()), jax.lax.pmean(jnp.mean(truth.pressure), axes)
        likelihood = self._likelihood(heads, truth, count)
        return self.likelihood * likelihood + self.expectation(heads.mean, truth, unit, count)

    def _likelihood(self, heads: Heads, truth: Baryons, count: jax.Array) -> jax.Array:
        still = jax.lax.stop_gradient
        off, known = missed(heads._replace(scatter=still(heads.scatter)), truth, self.model.ideal)
        baryons = jnp.maximum(truth.gas + truth.stars, 1e-3)
        weight = (0.5 * count * (1.0 + jnp.sqrt(baryons)))[..., None] * still(heads.scatter)
        place = jnp.concatenate([0.5 * jnp.square(off[..., :2]), _huber(off[..., 2:], self.turn)], axis=-1)
        ratio = still(heads.scatter) / heads.scatter  # the scatter learns from distances, not from places
        width = _huber(still(off) * ratio, _TAIL) + jnp.log(heads.scatter)
        return jnp.sum(jnp.mean(jnp.where(known, weight * (place + width), 0.0), (0, 1, 2, 3)))

    def expectation(self, latents: jax.Array, truth: Baryons, unit, count=1.0) -> jax.Array:
        """Deviances of the expected gas, stars and pressure from the truth's, () of this block; 0 at it.

        unit: of pressure, its mean. count: how much each cell counts.
        """
        found, unit = fields(latents), unit + IDEAL
        total = _deviance(truth.gas, found.gas, self.gas, 0.02, count)
        total += _deviance(truth.stars, found.stars, self.gas, 0.02, count)
        pressures = truth.pressure / unit, found.pressure / unit
        return total + self.heat * _deviance(*pressures, self.pressure, 1e-3, count)


def _deviance(truth: jax.Array, mean: jax.Array, power: float, floor: float, count) -> jax.Array:
    """Mean of half the unit deviance of Tweedie's family, 1 < power < 2 (Jorgensen 1987, eq. 3.2)."""
    y, mu, p = truth + floor, mean + floor, power
    own = y ** (2.0 - p) / ((1.0 - p) * (2.0 - p))
    return jnp.mean(count * (own - y * mu ** (1.0 - p) / (1.0 - p) + mu ** (2.0 - p) / (2.0 - p)))


def _huber(x: jax.Array, turn: float) -> jax.Array:
    """x^2 / 2 near 0, turn |x| far from it, and smooth."""
    return turn**2 * (jnp.sqrt(1.0 + jnp.square(x / turn)) - 1.0)
