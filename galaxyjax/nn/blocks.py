"""Residual blocks of styled convolutions, without normalisation layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from galaxyjax.nn.conv import Pad
from galaxyjax.nn.style import StyledConv

# Root mean square of silu(z) for a normal z: the next convolution wants unit variance.
SILU_RMS = 0.596469


def activation(x: jax.Array) -> jax.Array:
    """Return silu(x) with unit mean square for normal x; smooth, since derivatives of the network count."""
    return jax.nn.silu(x) * (1.0 / SILU_RMS)


class ResidualBlock(nnx.Module):
    """x + gain * conv(act(conv(act(x)))), both styled: (batch, nx, ny, nz, channels) and (batch, style).

    gain: of the branch when training begins, one learned number a channel. With 1 / sqrt(n) a stack of n
    multiplies the variance by a few, however large n is, and normalises nothing (De & Smith 2020).
    """

    def __init__(self, channels: int, style: int, kernel: int = 3, gain: float = 1.0, *, rngs: nnx.Rngs):
        self.conv0 = StyledConv(channels, channels, style, kernel, rngs=rngs)
        self.conv1 = StyledConv(channels, channels, style, kernel, rngs=rngs)
        self.gain = nnx.Param(jnp.full(channels, gain, jnp.float32))

    def __call__(self, x: jax.Array, style: jax.Array | None, pad: Pad) -> jax.Array:
        h = self.conv0(activation(x), style, pad)
        h = self.conv1(activation(h), style, pad)
        return x + self.gain[...].astype(x.dtype) * h
