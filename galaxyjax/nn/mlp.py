"""A smooth multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from flax import nnx

# Smooth activations only: gradients of an emulator are part of what it promises.
ACTIVATIONS = {"silu": jax.nn.silu, "tanh": jax.nn.tanh}


class MLP(nnx.Module):
    """Dense layers with a smooth activation between them: (..., sizes[0]) -> (..., sizes[-1])."""

    def __init__(self, sizes: Sequence[int], activation: str, *, rngs: nnx.Rngs):
        self.depth = len(sizes) - 1
        self.activation = activation
        for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            # Highest precision: on GPU and TPU the default would round spectra at the 1e-3 level.
            layer = nnx.Linear(fan_in, fan_out, precision=jax.lax.Precision.HIGHEST, rngs=rngs)
            setattr(self, f"dense{i}", layer)

    def __call__(self, x: jax.Array) -> jax.Array:
        act = ACTIVATIONS[self.activation]
        for i in range(self.depth - 1):
            x = act(getattr(self, f"dense{i}")(x))
        return getattr(self, f"dense{self.depth - 1}")(x)
