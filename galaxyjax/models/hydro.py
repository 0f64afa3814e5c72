"""The family `hydro`: gas, temperature, pressure and stars from the density of matter, physics first.

    b      baryons over their mean: matter smoothed by the gas's filtering scale, times exp(network), over the
           mean of that over the box, so that gas + stars = f_b x matter exactly
    f      the stars' share of the baryons of a cell, a logistic function: gas = (1 - f) b, stars = f b
    T      a temperature-density relation, times exp(network)
    P      the ideal gas law of gas and T at a fixed molecular weight; or times exp(network)

The network is one V-Net of a few logarithms of smoothed density and two local potentials, styled by
cosmology, astrophysics and time. That is the mean head. A second V-Net is the velocity field of a flow
(conditional flow matching, Lipman et al. 2023, eq. 9) from white noise to what the mean head misses, since
the map from dark matter to gas is not one to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import fft
from galaxyjax.mesh.collect import varies_over, varying
from galaxyjax.mesh.topology import SPATIAL
from galaxyjax.models.vnet import VNet

FLOOR = 0.02  # of densities over their mean: below it a logarithm bends to a constant
STAR_FLOOR = 1e-3  # of the stars' share, where its logarithm bends
# k_B / (mu m_p) of ionised gas with X = 0.76, mu = 4 / (3 + 5 X): (km/s)^2 per K.
IDEAL = 1.380649e-16 / 1.67262192e-24 / (4.0 / (3.0 + 5.0 * 0.76)) * 1e-10
_TALLEST = 12.0  # bound on logarithms of densities, and on how far a network may move one


class Baryons(NamedTuple):
    """Fields (batch, nx, ny, nz): gas and stars over the mean density of baryons, T in K, P in (km/s)^2
    times that mean."""

    gas: Array
    stars: Array
    temperature: Array
    pressure: Array


@dataclass(frozen=True)
class Hydro:
    """Hyperparameters of the family. spacing: of the cells, Mpc/h.

    style: names of the parameters that condition the networks; the scale factor follows them. centre, width:
    of each, by which they become of order one (of the logarithm for names in `logarithmic`). widths, blocks:
    of the mean head's V-Net; flow_widths, flow_blocks: of the flow's, () for none. smoothing: Gaussian radii
    of the densities it sees, potential: radii below which potentials are local, Mpc/h. filtering: (R, p), the
    gas's filtering scale R a^p in Mpc/h. relation: (c0, c1, c2, d0, d1, d2), ln T = sum (c_i + d_i a) x^i in
    x = ln of the smoothed density, `saturated`. stars: (c0, c1), logit of the stars' share is
    c0 + c1 x. scales: of the network's corrections of ln b, logit f, ln T and ln P. residual: what the flow's
    unit is in ln b, ln f, ln T, ln P. ideal: pressure is the ideal gas law's and no fourth channel is learnt.
    flat: fields are maps, as `multiple` equal layers along z.

    Raises ConfigError when these contradict each other.
    """

    spacing: float
    style: tuple[str, ...] = ("Omega_m", "sigma_8")
    centre: tuple[float, ...] = (0.3, 0.8, 0.65)
    width: tuple[float, ...] = (0.1, 0.1, 0.35)
    logarithmic: tuple[str, ...] = ()
    widths: tuple[int, ...] = (8, 16)
    blocks: tuple[int, ...] = (1, 1)
    flow_widths: tuple[int, ...] = ()
    flow_blocks: tuple[int, ...] = ()
    smoothing: tuple[float, ...] = (0.8, 1.6, 3.2)
    potential: tuple[float, ...] = (1.5, 4.0)
    filtering: tuple[float, float] = (0.235, 0.43)
    relation: tuple[float, ...] = (9.5, 0.6, 0.0, 0.0, 0.0, 0.0)
    stars: tuple[float, float] = (-7.0, 1.2)
    scales: tuple[float, ...] = (0.15, 1.5, 0.8, 0.1)
    residual: tuple[float, ...] = (0.3, 1.0, 0.5, 0.1)
    ideal: bool = True
    flat: bool = False
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self):
        for name, value in asdict(self).items():  # JSON knows lists, a hash wants tuples
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        count = len(self.style) + 1
        if len(self.centre) != count or len(self.width) != count or not min(self.width) > 0:
            raise ConfigError(
                f"hydro: centre={self.centre} and width={self.width} must have {count} numbers, of "
                f"{', '.join(self.style)} and the scale factor, widths positive"
            )
        if not set(self.logarithmic) <= set(self.style):
            raise ConfigError(f"hydro: logarithmic={self.logarithmic} must be among style={self.style}")
        if not self.spacing > 0 or len(self.relation) != 6 or min(len(self.scales), len(self.residual)) < 4:
            raise ConfigError(
                "hydro: spacing must be positive, relation of 6 numbers, scales and residual of 4"
            )
        _ = self.net, self.flow  # their own checks

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``Hydro(**hyperparameters)``."""
        return asdict(self)

    @property
    def channels(self) -> int:
        """Of the latent fields: ln b, logit f, ln T, and the correction of ln P where it is not ideal."""
        return 3 if self.ideal else 4

    @cached_property
    def net(self) -> VNet:
        """The mean head's network."""
        features, style = 1 + len(self.smoothing) + len(self.potential), len(self.style) + 1
        options = dict(remat=self.remat, dtype=self.dtype)
        return VNet(features, self.channels, self.widths, self.blocks, style=style, **options)

    @cached_property
    def flow(self) -> VNet | None:
        """The flow's network: state, features and the mean head's latents in, velocity out."""
        if not self.flow_widths:
            return None
        inputs, style = self.net.inputs + 2 * self.channels, len(self.style) + 3
        options = dict(remat=self.remat, dtype=self.dtype)
        return VNet(inputs, self.channels, self.flow_widths, self.flow_blocks, style=style, **options)

    @property
    def multiple(self) -> int:
        """What the sides of a field, and of each device's block, must be multiples of."""
        return max(net.multiple for net in (self.net, self.flow) if net)

    def init(self, key: Array) -> dict:
        """Return parameters, a nested dict of float32 arrays: "mean", and "flow" where there is one."""
        first, second = jax.random.split(key)
        params = {"mean": self.net.init(first)}
        return params | ({"flow": self.flow.init(second)} if self.flow else {})

    def flops(self, cells) -> int:
        """Operations of a forward pass of both heads."""
        return sum(net.flops(cells) for net in (self.net, self.flow) if net) + 1000 * prod(cells)

    def normalised_style(self, style: Array) -> Array:
        """Return parameters and scale factor (batch, s + 1) brought to order one."""
        logs = jnp.array([name in self.logarithmic for name in (*self.style, "a")])
        values = jnp.where(logs, jnp.log(jnp.where(logs, style, 1.0)), style)
        return (values - jnp.asarray(self.centre, style.dtype)) / jnp.asarray(self.width, style.dtype)

    def features_block(self, matter: Array, style: Array) -> tuple[Array, Array]:
        """Return the networks' channels (batch, nx, ny, nz, f) and ln of the filtered density, one device's.

        matter: (batch, nx, ny, nz) over its mean. style: (batch, s + 1). Inside `shard_map`.
        """
        sides = [n * jax.lax.axis_size(name) for n, name in zip(matter.shape[1:3], SPATIAL, strict=True)]
        box = tuple(n * self.spacing for n in (*sides, matter.shape[3]))
        modes = fft.forward_block(matter, box)
        k2 = modes.k_squared
        back = lambda kernel: fft.inverse_block(modes.replace(modes.values * kernel))  # noqa: E731
        scale, power = self.filtering
        a = style[:, -1][:, None, None, None]
        filtered = log_density(back(jnp.exp(-0.5 * k2 * (scale * a**power) ** 2)))
        channels = [
            log_density(matter),
            *(log_density(back(jnp.exp(-0.5 * k2 * r**2))) for r in self.smoothing),
        ]
        channels = [(x + 0.5) / 1.2 for x in channels]
        inverse = jnp.where(k2 > 0, 1.0 / jnp.where(k2 > 0, k2, 1.0), 0.0)
        # Depth of the local potential, (3/2) Omega_m H0^2 / a of it in a physical unit: squares of speeds.
        depth = self._matter(style)[:, None, None, None] / (0.3 * a)
        for radius in self.potential:
            local = back(inverse * (1.0 - jnp.exp(-0.5 * k2 * radius**2)))
            channels.append(jnp.arcsinh(local * depth))
        return jnp.stack(channels, axis=-1), filtered

    def _matter(self, style: Array) -> Array:
        """Omega_m where it is among the style, (batch,)."""
        if "Omega_m" not in self.style:
            return jnp.full(style.shape[:1], 0.3, style.dtype)
        return style[:, self.style.index("Omega_m")]

    def baseline_block(self, filtered: Array, style: Array) -> Array:
        """Return the latents of the physics alone, (batch, nx, ny, nz, channels), before normalisation."""
        x, a = filtered, style[:, -1][:, None, None, None]
        parts = [x, self.stars[0] + self.stars[1] * x, self.log_temperature(x, a)]
        return jnp.stack(parts + [jnp.zeros_like(x)] * (self.channels - 3), axis=-1)

    def log_temperature(self, x: Array, a: Array) -> Array:
        """Return ln T of the temperature-density relation at ln density x and scale factor a."""
        c, x = self.relation, saturated(x)
        return (c[0] + c[3] * a) + (c[1] + c[4] * a) * x + (c[2] + c[5] * a) * x**2

    def mean_block(self, params, matter: Array, style: Array, axes: Sequence[str] = SPATIAL):
        """Return the latents of the mean head, its features and those of the baselines alone.

        matter: (batch, nx, ny, nz). Latents (batch, nx, ny, nz, channels): ln b (of mean 1), logit f, ln T
        and, where not ideal, the correction of ln P.
        """
        features, filtered = self.features_block(matter, style)
        correction = self.net.apply_block(params["mean"], features, self.normalised_style(style), axes)
        correction = self._even(correction)
        scales = jnp.asarray(self.scales[: self.channels], matter.dtype)
        baseline = self.baseline_block(filtered, style)
        latents = baseline + jnp.clip(scales * correction, -_TALLEST, _TALLEST)
        return conserved(latents), features, conserved(baseline)

    def velocity_block(
        self, params, state: Array, time: Array, latents: Array, features: Array, style: Array, axes=SPATIAL
    ) -> Array:
        """Return the flow's velocity (batch, nx, ny, nz, channels) at time (batch,) in [0, 1].

        state: white noise at 0, at 1 what the mean head misses in units of `residual`.
        """
        shown = jnp.concatenate([state, features, self._shown(latents)], axis=-1)
        clock = jnp.stack([2.0 * time - 1.0, jnp.cos(jnp.pi * time)], axis=-1)
        full = jnp.concatenate([self.normalised_style(style), clock], axis=-1)
        return self._even(self.flow.apply_block(params["flow"], shown, full, axes))

    def _even(self, x: Array) -> Array:
        """Of maps the mean of their layers, which up-sampling makes different ones."""
        return jnp.broadcast_to(x.mean(axis=3, keepdims=True), x.shape) if self.flat else x

    def flowed(
        self, params, state: Array, latents: Array, features: Array, style: Array, steps: int, axes=SPATIAL
    ):
        """Return the state at time 1 that the flow makes of white noise, by `steps` of Heun's method."""

        def velocity(state, time):
            now = jnp.full(style.shape[:1], time, style.dtype)
            now = varying(now, tuple(varies_over(style)))
            return self.velocity_block(params, state, now, latents, features, style, axes)

        def step(state, index):
            now, width = index / steps, 1.0 / steps
            first = velocity(state, now)
            second = velocity(state + width * first, now + width)
            return state + (0.5 * width) * (first + second), None

        return jax.lax.scan(step, state, jnp.arange(steps, dtype=state.dtype))[0]

    def _shown(self, latents: Array) -> Array:
        """Latents of order one."""
        centre = jnp.asarray((-0.5, -5.0, 9.5, 0.0)[: self.channels], latents.dtype)
        width = jnp.asarray((1.2, 2.5, 1.5, 0.3)[: self.channels], latents.dtype)
        return (latents - centre) / width

    def sampled(self, latents: Array, state: Array) -> Array:
        """Return latents with what the flow adds; the stars' share moves in ln(f + STAR_FLOOR)."""
        step = state * jnp.asarray(self.residual[: self.channels], state.dtype)
        share = jnp.log(jax.nn.sigmoid(latents[..., 1]) + STAR_FLOOR) + step[..., 1]
        # Back to a share: none below the floor, and never all.
        share = jnp.clip(jnp.exp(jnp.minimum(share, 0.0)) - STAR_FLOOR, 1e-9, 1.0 - 1e-4)
        logit = jnp.log(share) - jnp.log1p(-share)
        moved = [latents[..., 0] + step[..., 0], logit, *jnp.moveaxis((latents + step)[..., 2:], -1, 0)]
        return conserved(jnp.stack(moved, axis=-1))

    def missed(self, latents: Array, truth: Baryons) -> tuple[Array, Array]:
        """Return what the mean head misses, in the flow's units, and where it is known (both as latents)."""
        total = truth.gas + truth.stars
        here = total > 0
        warm = (truth.temperature > 0) & (truth.gas > 0)
        log = lambda x, good: jnp.log(jnp.where(good, x, 1.0))  # noqa: E731
        share = jnp.log(truth.stars / jnp.where(here, total, 1.0) + STAR_FLOOR)
        parts = [
            (log(jnp.maximum(total, 1e-3), here) - latents[..., 0], here),
            (share - jnp.log(jax.nn.sigmoid(latents[..., 1]) + STAR_FLOOR), here),
            (log(truth.temperature, warm) - latents[..., 2], warm),
        ]
        if not self.ideal:
            ideal = truth.gas * IDEAL * truth.temperature
            fine = warm & (truth.pressure > 0)
            parts.append((log(truth.pressure, fine) - log(ideal, fine) - latents[..., 3], fine))
        known = jnp.stack([good for _, good in parts], axis=-1)
        scale = jnp.asarray(self.residual[: self.channels], latents.dtype)
        return jnp.where(known, jnp.stack([value for value, _ in parts], axis=-1), 0.0) / scale, known

    def fields(self, latents: Array) -> Baryons:
        """Return the fields that latents (..., channels) stand for."""
        total = jnp.exp(latents[..., 0])
        share, heat = latents[..., 1], jnp.exp(latents[..., 2])
        gas = total * jax.nn.sigmoid(-share)
        pressure = gas * IDEAL * heat
        if not self.ideal:
            pressure = pressure * jnp.exp(latents[..., 3])
        return Baryons(gas, total * jax.nn.sigmoid(share), heat, pressure)


def log_density(x: Array) -> Array:
    """Return ln of a density over its mean, bent to a constant below FLOOR: smooth, and finite anywhere."""
    return jnp.log(0.5 * (x + jnp.sqrt(x**2 + FLOOR**2)))


def saturated(x: Array) -> Array:
    """Return ln of a density, bent to a constant beyond e^3 means: dense gas cools, and stays where it is."""
    return 3.0 * jnp.tanh(x / 3.0)


def conserved(latents: Array) -> Array:
    """Return latents whose baryons have the mean 1 over the whole box, inside `shard_map`."""
    first = jnp.clip(latents[..., 0], -_TALLEST, _TALLEST)
    axes = tuple(name for name in SPATIAL if name in varies_over(first))
    total = jnp.mean(jnp.exp(first), axis=(1, 2, 3))
    if axes:
        total = jax.lax.pmean(total, axes)
    first = first - jnp.log(total)[:, None, None, None]
    return jnp.concatenate([first[..., None], latents[..., 1:]], axis=-1)
