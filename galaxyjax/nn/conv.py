"""Periodic convolution with the padding handed in, so that one module serves one device and a mesh."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from galaxyjax.core.errors import ConfigError

# (field, cells) -> the field with so many periodic neighbours on each side of its three axes.
Pad = Callable[[jax.Array, int], jax.Array]

LAYOUT = ("NXYZC", "XYZIO", "NXYZC")


class Conv(nnx.Module):
    """Convolution with a cubic kernel: (batch, nx, ny, nz, inputs) -> (batch, nx, ny, nz, outputs).

    It computes in the field's dtype, whatever its weights are kept in. float32 means float32: by default an
    accelerator would round its operands to bfloat16 or TF32.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, rngs: nnx.Rngs):
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"convolution: kernel={kernel} must be odd and positive; use 3 or 1")
        self.reach = kernel // 2
        # Unit variance in, unit variance out.
        init = nnx.initializers.lecun_normal(in_axis=(0, 1, 2, 3))
        shape = (kernel, kernel, kernel, inputs, outputs)
        self.kernel = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: jax.Array, pad: Pad) -> jax.Array:
        return self.correlate(x, pad) + self.bias[...].astype(x.dtype)

    def correlate(self, x: jax.Array, pad: Pad) -> jax.Array:
        """The field convolved with the kernel, without the bias."""
        return convolve(x, self.kernel[...].astype(x.dtype), pad)


def convolve(x: jax.Array, kernel: jax.Array, pad: Pad) -> jax.Array:
    """Return the periodic cross-correlation sum_d kernel[d] x[r + d - kernel // 2].

    Args:
        x: (batch, nx, ny, nz, inputs).
        kernel: (k, k, k, inputs, outputs) of x's dtype, k odd.
        pad: gives k // 2 periodic cells on each side; not called when k is 1.
    """
    precision = precision_of(x.dtype)
    if kernel.shape[0] == 1:  # a matrix product, on the CPU several times faster than a convolution
        return jnp.matmul(x, kernel[0, 0, 0], precision=precision)
    x = pad(x, kernel.shape[0] // 2)
    ones = (1, 1, 1)
    return lax.conv_general_dilated(x, kernel, ones, "VALID", dimension_numbers=LAYOUT, precision=precision)


def precision_of(dtype: jax.typing.DTypeLike) -> lax.Precision:
    """HIGHEST for float32 and float64, the hardware's own for narrower ones, which are meant to be fast."""
    return lax.Precision.HIGHEST if jnp.finfo(dtype).bits >= 32 else lax.Precision.DEFAULT
