"""Half and twice the resolution without halos: eight cells become channels of one, or the reverse.

Blocks with even sides hold whole cubes of 2 x 2 x 2 cells, so both directions are local to a device. A
transposed convolution would do the same upwards, but the compiler gathers the whole field for its weight
gradient.
"""

from __future__ import annotations

import jax
from flax import nnx

from galaxyjax.core.errors import ConfigError
from galaxyjax.nn.conv import Conv


class Down(nnx.Module):
    """Linear in 2 x 2 x 2 cells: (batch, nx, ny, nz, inputs) -> (batch, nx/2, ny/2, nz/2, outputs).

    The same map as a convolution of kernel 2 and stride 2.
    """

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.mix = Conv(8 * inputs, outputs, kernel=1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.mix(space_to_depth(x), _unpadded)


class Up(nnx.Module):
    """Each cell becomes 2 x 2 x 2: (batch, nx, ny, nz, inputs) -> (batch, 2nx, 2ny, 2nz, outputs)."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.mix = Conv(inputs, 8 * outputs, kernel=1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return depth_to_space(self.mix(x, _unpadded))


def space_to_depth(x: jax.Array) -> jax.Array:
    """Return (batch, nx/2, ny/2, nz/2, 8c) from (batch, nx, ny, nz, c): channels are (cell in C order, c).

    Raises ConfigError when a side is odd.
    """
    b, nx, ny, nz, c = x.shape
    if nx % 2 or ny % 2 or nz % 2:
        raise ConfigError(
            f"down-sampling: a block of {nx} x {ny} x {nz} cells has an odd side; choose a field and a mesh "
            "whose blocks are multiples of 2 to the number of halvings"
        )
    x = x.reshape(b, nx // 2, 2, ny // 2, 2, nz // 2, 2, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, nx // 2, ny // 2, nz // 2, 8 * c)


def depth_to_space(x: jax.Array) -> jax.Array:
    """Return (batch, 2nx, 2ny, 2nz, c) from (batch, nx, ny, nz, 8c); the inverse of `space_to_depth`."""
    b, nx, ny, nz, c = x.shape
    x = x.reshape(b, nx, ny, nz, 2, 2, 2, c // 8).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, 2 * nx, 2 * ny, 2 * nz, c // 8)


def _unpadded(x: jax.Array, width: int) -> jax.Array:
    raise AssertionError("a kernel of one cell has no halo")
