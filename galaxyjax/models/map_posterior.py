"""The posterior of parameters given a periodic map: an encoder, and a flow conditioned on what it sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.stats import norm

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.nn.functional import functional
from galaxyjax.nn.spline_flow import SplineFlow

EDGE = 1e-6  # of the unit interval: what lies nearer to an end of the prior is taken for this near


@dataclass(frozen=True)
class MapPosterior:
    """q(parameters | maps) for a uniform prior, by neural posterior estimation (Papamakarios & Murray 2016).

    names, low, high: parameters and the ends of their prior. cells: a side of the maps, a multiple of 2 to
    the number of widths. channels: maps of one observation. widths: of the encoder's levels. features: that
    it hands on, beside each map's mean and the logarithms of its power in shells one fundamental mode wide.
    hidden, bins: of the flow.

    The flow's numbers are the normal scores of the parameters in their prior, so that draws never leave it
    and a map that says nothing gives the prior back.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    cells: int
    channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64)
    features: int = 16
    hidden: int = 64
    bins: int = 8

    def __post_init__(self):
        if not len(self.names) == len(self.low) == len(self.high) or not self.names:
            raise ConfigError("map posterior: names, low and high must be one each for every parameter")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low < high:
                raise ConfigError(f"map posterior: the prior of {name} ends at {high}, not above {low}")
        if self.cells % 2 ** len(self.widths) or self.cells < 8:
            raise ConfigError(
                f"map posterior: cells = {self.cells} must be a multiple of {2 ** len(self.widths)}, "
                "and 8 or more"
            )

    @property
    def hyperparameters(self) -> dict:
        """What makes the model again, plain JSON."""
        return asdict(self)

    def init(self, key: jax.Array) -> dict:
        """Parameters, nested dicts; the scalings are neutral until `scaled` has seen data."""
        encoder, flow = jax.random.split(key)
        size = self._shells * self.channels
        scaling = {
            "map_mean": jnp.zeros(self.channels),
            "map_scale": jnp.ones(self.channels),
            "mean_scale": jnp.ones(self.channels),
            "power_mean": jnp.zeros(size),
            "power_scale": jnp.ones(size),
        }
        return {"encoder": self._encoder[0](encoder), "flow": self._flow[0](flow), "scaling": scaling}

    def scaled(self, params: dict, maps: jax.Array) -> dict:
        """The same parameters with the scalings of maps (m, n, n, c); training leaves them alone."""
        maps = jnp.asarray(maps)
        self._check(maps)
        power = self._log_power(maps)
        tiny = 1e-6
        scaling = {
            "map_mean": maps.mean((0, 1, 2)),
            "map_scale": maps.std((0, 1, 2)) + tiny,
            "mean_scale": maps.mean((1, 2)).std(0) + tiny,
            "power_mean": power.mean(0),
            "power_scale": power.std(0) + tiny,
        }
        return {**params, "scaling": scaling}

    def log_prob(self, params: dict, theta: jax.Array, maps: jax.Array) -> jax.Array:
        """ln q (m,) of theta (m, d), per unit of the parameters, given maps (m, n, n, c).

        Outside the prior it is what it is at its edge: the prior, not the density, ends there.
        """
        width = jnp.asarray(np.subtract(self.high, self.low), theta.dtype)
        unit = jnp.clip((theta - jnp.asarray(self.low, theta.dtype)) / width, EDGE, 1.0 - EDGE)
        score = norm.ppf(unit)
        inner = self._flow[1](params["flow"], "log_prob", score, self.context(params, maps))
        return inner - jnp.sum(norm.logpdf(score) + jnp.log(width), axis=-1)

    def sample(self, params: dict, key: jax.Array, maps: jax.Array, draws: int) -> jax.Array:
        """Draws (m, draws, d) of the posterior, given maps (m, n, n, c)."""
        context = self.context(params, maps)
        context = jnp.broadcast_to(context[:, None], (len(maps), draws, context.shape[-1]))
        z = jax.random.normal(key, (len(maps), draws, len(self.names)), context.dtype)
        unit = norm.cdf(self._flow[1](params["flow"], "from_normal", z, context))
        low, high = (jnp.asarray(ends, unit.dtype) for ends in (self.low, self.high))
        return low + (high - low) * unit

    def context(self, params: dict, maps: jax.Array) -> jax.Array:
        """What the flow is told of maps (m, n, n, c): (m, features + channels x (1 + shells))."""
        self._check(maps)
        scaling = jax.tree.map(jax.lax.stop_gradient, params["scaling"])
        power = (self._log_power(maps) - scaling["power_mean"]) / scaling["power_scale"]
        seen = self._encoder[1](params["encoder"], (maps - scaling["map_mean"]) / scaling["map_scale"])
        mean = (maps.mean((1, 2)) - scaling["map_mean"]) / scaling["mean_scale"]
        return jnp.concatenate([seen, mean, power], axis=-1)

    @cached_property
    def _encoder(self):
        return functional(lambda rngs: _Encoder(self, rngs))

    @cached_property
    def _flow(self):
        contexts = self.features + self.channels * (1 + self._shells)
        build = lambda rngs: _Door(SplineFlow(len(self.names), contexts, self.hidden, self.bins, rngs=rngs))  # noqa: E731
        return functional(build)

    @property
    def _shells(self) -> int:
        return round(self.cells / np.sqrt(2.0))  # to the corners

    def _log_power(self, maps: jax.Array) -> jax.Array:
        """ln of the mean square of modes, (m, channels x shells); no units: scaled by what training saw."""
        n = self.cells
        k = np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.arange(n // 2 + 1)[None])
        shell = np.clip(np.rint(k).astype(int) - 1, -1, self._shells)
        twice = np.where((np.arange(n // 2 + 1) == 0) | (np.arange(n // 2 + 1) == n // 2), 1.0, 2.0)
        weight = np.stack([(shell == i) * twice for i in range(self._shells)])  # (shells, n, n/2 + 1)
        weight /= weight.sum((1, 2), keepdims=True)
        modes = jnp.square(jnp.abs(jnp.fft.rfft2(maps, axes=(1, 2)))) / n**2
        power = jnp.einsum("sxy,mxyc->mcs", jnp.asarray(weight, maps.dtype), modes)
        return jnp.log(power + 1e-12).reshape(len(maps), -1)

    def _check(self, maps) -> None:
        if maps.ndim != 4 or maps.shape[1:] != (self.cells, self.cells, self.channels):
            raise DataError(
                f"map posterior: maps of shape {maps.shape}, not (m, {self.cells}, {self.cells}, "
                f"{self.channels})"
            )


class _Door(nnx.Module):
    """A flow whose functions are called by their names."""

    def __init__(self, flow: SplineFlow):
        self.flow = flow

    def __call__(self, what: str, *args):
        return getattr(self.flow, what)(*args)


class _Encoder(nnx.Module):
    """Periodic convolutions and halvings; means over the map at the end: it hardly cares for a shift.

    A convolution is written as the product of a matrix with the nine neighbours: on a CPU its gradient is
    many times faster so.
    """

    def __init__(self, model: MapPosterior, rngs: nnx.Rngs):
        self.depth, before = len(model.widths), model.channels
        dense = lambda inputs, outputs: nnx.Linear(  # noqa: E731
            inputs, outputs, precision=jax.lax.Precision.HIGHEST, rngs=rngs
        )
        for i, width in enumerate(model.widths):
            for j, inputs in enumerate((before, width)):
                setattr(self, f"conv{i}_{j}", dense(9 * inputs, width))
            before = width
        self.out = dense(before, model.features)

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            for j in range(2):
                x = jax.nn.silu(getattr(self, f"conv{i}_{j}")(_neighbours(x)))
            x = nnx.avg_pool(x, (2, 2), strides=(2, 2))
        return self.out(x.mean((1, 2)))


def _neighbours(x: jax.Array) -> jax.Array:
    """(m, n, n, c) -> (m, n, n, 9c): each cell with those around it, periodic."""
    rows = jnp.concatenate([jnp.roll(x, shift, axis=1) for shift in (1, 0, -1)], axis=-1)
    return jnp.concatenate([jnp.roll(rows, shift, axis=2) for shift in (1, 0, -1)], axis=-1)
