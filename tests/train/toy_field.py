"""A field training that compiles in a second: a pointwise network, and a function it can learn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import LAYOUT, FieldBatch, FieldTraining


@dataclass(frozen=True)
class Pointwise:
    """Two layers on every cell, conditioned by adding the style to the hidden ones."""

    width: int = 16
    remat: bool = False
    dtype: str | None = None
    multiple: int = 1

    def init(self, key):
        one, two = jax.random.split(key)
        first, last = jax.random.normal(one, (2, self.width)), jax.random.normal(two, (self.width, 1))
        return {"first": first, "last": last / self.width**0.5, "style": jnp.ones((1, self.width))}

    def apply_block(self, params, field, style, axes):
        dtype = self.dtype or field.dtype
        params = jax.tree.map(lambda a: a.astype(dtype), params)
        hidden = (
            field.astype(dtype) @ params["first"]
            + (style.astype(dtype) @ params["style"])[:, None, None, None]
        )
        return (jnp.tanh(hidden) @ params["last"]).astype(field.dtype)

    def flops(self, cells):
        return 2 * cells[0] * cells[1] * cells[2] * 3 * self.width


@dataclass(frozen=True)
class Product:
    """Two normal fields and a number to their product; `scale` and `broken_from` are for tests."""

    cells: int = 4
    scale: float = 1.0
    broken_from: int = 10**9  # the step from which targets are NaN
    held_out_shift: float = 0.0
    seconds: float = 0.0  # that each batch takes

    def _make(self, mesh, size, key, shift, broken):
        field = jax.random.normal(key, (size,) + (self.cells,) * 3 + (2,))
        style = jax.random.uniform(jax.random.fold_in(key, 1), (size, 1))
        target = (
            jnp.tanh(field[..., :1] * field[..., 1:]) * self.scale + style[:, :, None, None, None] + shift
        )
        made = FieldBatch(field, style, target * (jnp.nan if broken else 1.0))
        return jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec)), made, LAYOUT)

    def batch(self, mesh, size, seed, step):
        key = jax.random.fold_in(jax.random.key(seed), step)
        return self._make(mesh, size, key, 0.0, step >= self.broken_from)

    def held_out(self, mesh, size):
        return [
            self._make(mesh, size, jax.random.key(10**6 + i), self.held_out_shift, False) for i in range(2)
        ]

    def identity(self):
        return f"product {self.cells}"

    def normalisation(self):
        return {"scale": self.scale}


FIT = FieldFitConfig(steps=60, batch=8, learning_rate=2e-2, warmup=5, evaluate_every=10, save_every=20)
TRAINING = FieldTraining(model=Pointwise(), source=Product(), cells=4, fit=FIT)
