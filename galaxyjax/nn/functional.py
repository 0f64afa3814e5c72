"""The one place where Flax modules become pure functions of a parameter pytree."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import nnx


def functional(build: Callable[[nnx.Rngs], nnx.Module]) -> tuple[Callable, Callable]:
    """Splits a module into ``init(key) -> params`` and ``apply(params, *args) -> y``.

    Args:
        build: makes the module from an `nnx.Rngs`. The module must not change its own state when called.

    Returns:
        init: pure, so that `jax.jit(init, out_shardings=...)` bears parameters already sharded.
        apply: pure; `params` is a nested dict with string keys.
    """
    definition, template = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))

    def init(key: jax.Array):
        return nnx.to_pure_dict(nnx.split(build(nnx.Rngs(params=key)))[1])

    def apply(params, *args):
        state = jax.tree.map(lambda leaf: leaf, template)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(definition, state)(*args)

    return init, apply
