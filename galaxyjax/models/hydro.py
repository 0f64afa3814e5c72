"""The family `hydro`: gas, temperature, pressure and stars from the density of matter, physics first.

    b      baryons over their mean: matter smoothed by the gas's filtering scale, times exp(network), over the
           mean of that over the box, so that gas + stars = f_b x matter exactly
    f      the stars' share of the baryons of a cell, a logistic function: gas = (1 - f) b, stars = f b
    T      a temperature-density relation, times exp(network)
    P      the ideal gas law of gas and T at a fixed molecular weight, times exp(network)

Two networks see `hydro_features`, styled by cosmology, astrophysics and time: one for gas and stars, one for
the temperature and the pressure. Each is a V-Net and a linear map beside it. What they make is the mean head
(expected gas, stars and pressure, typical temperature) and, for the draws, a typical value and a scatter of
each latent. A third V-Net is the velocity field of a flow (conditional flow matching, Lipman et al. 2023,
eq. 9) from white noise to the departure from the typical value in units of the scatter, since the map
from dark matter to gas is not one to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import prod

import jax
import jax.numpy as jnp
from jax import Array

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.collect import varies_over, varying
from galaxyjax.mesh.topology import SPATIAL
from galaxyjax.models import hydro_features
from galaxyjax.models.hydro_features import even, saturated
from galaxyjax.models.hydro_fields import TALLEST, Heads, conserved
from galaxyjax.models.vnet import VNet
from galaxyjax.nn.conv import precision_of

_GAS = 2  # latents of the network of gas
# Of ln scatter. The widest that emptiest cells have is 1.2; where a network says e^2, a draw may put a cell
# of e^10 means.
_NARROWEST, _WIDEST = -4.0, 0.3


@dataclass(frozen=True)
class Hydro:
    """Hyperparameters of the family. spacing: of the cells, Mpc/h.

    style: names of the parameters that condition the networks; the scale factor follows them. centre, width:
    of each, by which they become of order one (of the logarithm for names in `logarithmic`). early: of
    Omega_m and sigma_8 the networks see only sigma_8 Omega_m^-0.2, how early haloes formed, and the
    temperature nothing at all: what it owes to cosmology is in the depth of potentials. widths, blocks,
    kernel: of the mean head's V-Nets (kernel 1: cell by cell); flow_widths, flow_blocks: of the flow's, ()
    for none. smoothing: Gaussian radii of the densities they see, potential: radii below which potentials are
    local, tides: Gaussian radii of tidal shear and slope, Mpc/h. filtering: (R, p), the gas's filtering scale
    R a^p in Mpc/h. relation: (c0, c1, c2, d0, d1, d2), ln T = sum (c_i + d_i a) x^i in x = ln of the smoothed
    density, `saturated`. stars: (c0, c1), logit of the stars' share is c0 + c1 x. scales: of the networks'
    corrections of ln b, logit f, ln T and ln P. residual: scatter of ln b, ln f, ln T, ln P before training.
    common: how much simulations differ in ways that are not local, rows (latent x 3 powers of the density)
    of a matrix on independent normal numbers, one set a draw; () for none. ideal: draws obey the ideal gas
    law and have no fourth latent. flat: fields are maps, as `multiple` equal layers along z.

    Raises ConfigError when these contradict each other.
    """

    spacing: float
    style: tuple[str, ...] = ("Omega_m", "sigma_8")
    centre: tuple[float, ...] = (0.3, 0.8, 0.65)
    width: tuple[float, ...] = (0.1, 0.1, 0.35)
    logarithmic: tuple[str, ...] = ()
    early: bool = False
    widths: tuple[int, ...] = (8, 16)
    blocks: tuple[int, ...] = (1, 1)
    kernel: int = 3
    flow_widths: tuple[int, ...] = ()
    flow_blocks: tuple[int, ...] = ()
    smoothing: tuple[float, ...] = (0.8, 1.6, 3.2)
    potential: tuple[float, ...] = (1.5, 4.0)
    tides: tuple[float, ...] = ()
    filtering: tuple[float, float] = (0.235, 0.43)
    relation: tuple[float, ...] = (9.5, 0.6, 0.0, 0.0, 0.0, 0.0)
    stars: tuple[float, float] = (-7.0, 1.2)
    scales: tuple[float, ...] = (0.3, 1.0, 1.0, 0.3)
    residual: tuple[float, ...] = (0.3, 0.6, 0.4, 0.1)
    common: tuple[tuple[float, ...], ...] = field(
        default=(), metadata={"identity": False}
    )  # no training sees it
    ideal: bool = True
    flat: bool = False
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self):
        for name, value in asdict(self).items():  # JSON knows lists, a hash wants tuples
            if isinstance(value, list | tuple):
                value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
                object.__setattr__(self, name, value)
        count = len(self.style) + 1
        if len(self.centre) != count or len(self.width) != count or not min(self.width) > 0:
            raise ConfigError(
                f"hydro: centre={self.centre} and width={self.width} must have {count} numbers, of "
                f"{', '.join(self.style)} and the scale factor, widths positive"
            )
        if not set(self.logarithmic) <= set(self.style):
            raise ConfigError(f"hydro: logarithmic={self.logarithmic} must be among style={self.style}")
        if self.early and self.style[:2] != ("Omega_m", "sigma_8"):
            raise ConfigError(f"hydro: early asks for Omega_m and sigma_8 first, not style={self.style}")
        if not self.spacing > 0 or len(self.relation) != 6 or min(len(self.scales), len(self.residual)) < 4:
            raise ConfigError(
                "hydro: spacing must be positive, relation of 6 numbers, scales and residual of 4"
            )
        if self.common and len(self.common) != 3 * self.channels:
            raise ConfigError(
                f"hydro: common has {len(self.common)} rows and must have {3 * self.channels}, or none"
            )
        _ = self.nets, self.flow  # their own checks

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``Hydro(**hyperparameters)``."""
        return asdict(self)

    @property
    def channels(self) -> int:
        """Of draws: ln b, logit f, ln T, and the correction of ln P where it is not ideal."""
        return 3 if self.ideal else 4

    @property
    def features(self) -> int:
        """Channels that the networks see, without style."""
        return hydro_features.count(self.smoothing, self.potential, self.tides)

    @cached_property
    def styles(self) -> tuple[int, int]:
        """How many numbers condition gas, and temperature."""
        return len(self.style) + (0 if self.early else 1), len(self.style) - (1 if self.early else -1)

    @cached_property
    def nets(self) -> dict[str, VNet]:
        """The mean head's networks: "gas" makes (mean, typical, ln scatter) of ln b and logit f, "heat" of
        ln T one value and ln scatter, of ln P a mean and, where not ideal, a typical value and ln scatter."""
        outputs = {"gas": 3 * _GAS, "heat": 3 if self.ideal else 5}
        options = dict(kernel=self.kernel, remat=self.remat, dtype=self.dtype)
        return {
            name: VNet(self.features + style, outputs[name], self.widths, self.blocks, style=style, **options)
            for name, style in zip(outputs, self.styles, strict=True)
        }

    @cached_property
    def flow(self) -> VNet | None:
        """The flow's network: state, densities, typical latents and scatter in, velocity out."""
        if not self.flow_widths:
            return None
        inputs, style = 3 * self.channels + 1 + len(self.smoothing), self.styles[0] + 2
        options = dict(remat=self.remat, dtype=self.dtype)
        return VNet(inputs, self.channels, self.flow_widths, self.flow_blocks, style=style, **options)

    @property
    def multiple(self) -> int:
        """What the sides of a field, and of each device's block, must be multiples of."""
        return max(net.multiple for net in (*self.nets.values(), self.flow) if net)

    @property
    def modes(self) -> int:
        """Normal numbers that all cells of a draw have in common."""
        return len(self.common[0]) if self.common else 0

    def init(self, key: Array) -> dict:
        """Return parameters, a nested dict of float32 arrays: "mean", and "flow" where there is one."""
        first, second = jax.random.split(key)
        keys = jax.random.split(first)
        mean = {
            name: {"net": net.init(k), "linear": jnp.zeros((net.inputs, net.outputs), jnp.float32)}
            for k, (name, net) in zip(keys, self.nets.items(), strict=True)
        }
        return {"mean": mean} | ({"flow": self.flow.init(second)} if self.flow else {})

    def flops(self, cells) -> int:
        """Operations of a forward pass of both heads."""
        return sum(net.flops(cells) for net in (*self.nets.values(), self.flow) if net) + 1000 * prod(cells)

    def normalised_style(self, style: Array) -> tuple[Array, Array]:
        """Return parameters and scale factor (batch, s + 1), of order one: what gas sees, and what heat."""
        logs = jnp.array([name in self.logarithmic for name in (*self.style, "a")])
        values = jnp.where(logs, jnp.log(jnp.where(logs, style, 1.0)), style)
        values = (values - jnp.asarray(self.centre, style.dtype)) / jnp.asarray(self.width, style.dtype)
        if not self.early:
            return values, values
        # sigma_8 D(z) / D(0) before dark energy: growth from then to now goes about as Omega_m^0.2.
        early = jnp.log(style[:, 1] / 0.8) - 0.2 * jnp.log(style[:, 0] / 0.3)
        return jnp.concatenate([10.0 * early[:, None], values[:, 2:]], axis=1), values[:, 2:]

    def features_block(self, matter: Array, style: Array) -> tuple[Array, Array]:
        """Return the networks' channels (batch, nx, ny, nz, f) and ln of the filtered density, one device's.

        matter: (batch, nx, ny, nz) over its mean. style: (batch, s + 1). Inside `shard_map`.
        """
        sides = [n * jax.lax.axis_size(name) for n, name in zip(matter.shape[1:3], SPATIAL, strict=True)]
        box = tuple(n * self.spacing for n in (*sides, matter.shape[3]))
        a = style[:, -1]
        scale, power = self.filtering
        depth = self._matter(style) / (
            0.3 * a
        )  # (3/2) Omega_m H0^2 / a in a physical unit: squares of speeds
        radii = self.smoothing, self.potential, self.tides
        return hydro_features.features_block(matter, depth, box, scale * a**power, *radii)

    def _matter(self, style: Array) -> Array:
        """Omega_m where it is among the style, (batch,)."""
        if "Omega_m" not in self.style:
            return jnp.full(style.shape[:1], 0.3, style.dtype)
        return style[:, self.style.index("Omega_m")]

    def log_temperature(self, x: Array, a: Array) -> Array:
        """Return ln T of the temperature-density relation at ln density x and scale factor a."""
        c, x = self.relation, saturated(x)
        return (c[0] + c[3] * a) + (c[1] + c[4] * a) * x + (c[2] + c[5] * a) * x**2

    def mean_block(
        self, params, matter: Array, style: Array, axes: Sequence[str] = SPATIAL
    ) -> tuple[Heads, Array, Array]:
        """Return the heads, the features, and the latents of the physics alone.

        matter: (batch, nx, ny, nz). Inside `shard_map`. The physics alone has the latents of `Heads.mean`.
        """
        features, x = self.features_block(matter, style)
        heads, base = self.heads_block(params, features, x, style, axes)
        return heads, features, base

    def heads_block(
        self,
        params,
        features: Array,
        x: Array,
        style: Array,
        axes: Sequence[str] = SPATIAL,
        whole: bool = True,
    ) -> tuple[Heads, Array]:
        """Return the heads, and the latents of the physics alone, of what `features_block` makes.

        whole: the cells are a box, and baryons are shared out over it; else they are any cells.
        """
        made = {}
        for (name, net), shown in zip(self.nets.items(), self.normalised_style(style), strict=True):
            wide = jnp.broadcast_to(shown[:, None, None, None], (*features.shape[:-1], shown.shape[-1]))
            seen = jnp.concatenate([features, wide.astype(features.dtype)], axis=-1)
            own = params["mean"][name]
            out = net.apply_block(own["net"], seen, shown, axes)
            out = out + jnp.matmul(seen, own["linear"].astype(seen.dtype), precision=precision_of(seen.dtype))
            made[name] = jnp.moveaxis(even(out) if self.flat else out, -1, 0)
        gas, heat = made["gas"], made["heat"]
        a = style[:, -1][:, None, None, None]
        base = x, self.stars[0] + self.stars[1] * x, self.log_temperature(x, a), jnp.zeros_like(x)

        def moved(index: int, correction: Array) -> Array:
            return base[index] + jnp.clip(self.scales[index] * correction, -TALLEST, TALLEST)

        temperature = moved(2, heat[0])
        typical = [moved(0, gas[2]), moved(1, gas[3]), temperature, *(moved(3, h) for h in heat[3:4])]
        mean = jnp.stack([moved(0, gas[0]), moved(1, gas[1]), temperature, moved(3, heat[1])], axis=-1)
        spread = [
            jnp.log(r) + s for r, s in zip(self.residual, (gas[4], gas[5], heat[2], *heat[4:]), strict=False)
        ]
        spread = jnp.exp(jnp.clip(jnp.stack(spread, axis=-1), _NARROWEST, _WIDEST))
        share = conserved if whole else (lambda latents: latents)
        heads = Heads(share(mean), share(jnp.stack(typical, axis=-1)), spread)
        return heads, share(jnp.stack(base, axis=-1))

    def velocity_block(
        self, params, state: Array, time: Array, heads: Heads, features: Array, style: Array, axes=SPATIAL
    ) -> Array:
        """Return the flow's velocity (batch, nx, ny, nz, channels) at time (batch,) in [0, 1].

        state: white noise at 0, at 1 the departure from the typical latents in units of the scatter.
        """
        near = features[..., : 1 + len(self.smoothing)]
        shown = [state, near, self._shown(heads.typical), jnp.log(heads.scatter) + 1.0]
        clock = jnp.stack([2.0 * time - 1.0, jnp.cos(jnp.pi * time)], axis=-1)
        full = jnp.concatenate([self.normalised_style(style)[0], clock], axis=-1)
        velocity = self.flow.apply_block(params["flow"], jnp.concatenate(shown, axis=-1), full, axes)
        return even(velocity) if self.flat else velocity

    def flowed(
        self, params, state: Array, heads: Heads, features: Array, style: Array, steps: int, axes=SPATIAL
    ):
        """Return the state at time 1 that the flow makes of white noise, by `steps` of Heun's method."""

        def velocity(state, time):
            now = jnp.full(style.shape[:1], time, style.dtype)
            now = varying(now, tuple(varies_over(style)))
            return self.velocity_block(params, state, now, heads, features, style, axes)

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
