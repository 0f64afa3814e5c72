"""Convolution whose weights depend on a few numbers: cosmology, growth.

Weight modulation and demodulation (Karras et al. 2020, eqs 1 and 3; for fields Jamieson et al. 2023): the
style scales the kernel's input channels, then the kernel is normalised, so that unit variance in is unit
variance out whatever the style is. No layer needs the mean of a field, which would tie all devices together,
and going from z = 3 to z = 0 does not change the size of the activations. Everything is smooth in the style,
so derivatives along growth exist everywhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from galaxyjax.nn.conv import Conv, Pad

EPSILON = 1e-8


class StyledConv(Conv):
    """Modulated convolution: (batch, nx, ny, nz, inputs), (batch, style) -> (batch, nx, ny, nz, outputs).

    style: how many numbers there are; 0 leaves only the normalisation, and None is then handed in for them.
    """

    def __init__(self, inputs: int, outputs: int, style: int, kernel: int = 3, *, rngs: nnx.Rngs):
        super().__init__(inputs, outputs, kernel, rngs=rngs)
        if style:
            init = nnx.initializers.lecun_normal()
            self.affine = nnx.Param(init(rngs.params(), (style, inputs), jnp.float32))

    def __call__(self, x: jax.Array, style: jax.Array | None, pad: Pad) -> jax.Array:
        scale = None if style is None else 1.0 + _matmul(style, self.affine[...])
        if scale is not None:
            x = x * _per_channel(scale, x)
        # Scaling the field on both sides of one shared kernel is the same as a kernel for each field of the
        # batch, and stays one convolution.
        return self.correlate(x, pad) * _per_channel(self._norm(scale), x) + self.bias[...].astype(x.dtype)

    def _norm(self, scale: jax.Array | None) -> jax.Array:
        """1 / |kernel| of each output channel after modulation, (batch, outputs) or (1, outputs)."""
        square = jnp.sum(self.kernel[...] ** 2, axis=(0, 1, 2))
        total = jnp.sum(square, axis=0)[None] if scale is None else _matmul(scale**2, square)
        return lax.rsqrt(total + EPSILON)


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """(batch, channels) in the shape and dtype in which it multiplies a field."""
    return values[:, None, None, None, :].astype(x.dtype)
