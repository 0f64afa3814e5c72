"""Loops that begin with constants, run by each device for itself: one device's values, and no message."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from galaxyjax.mesh.budget import collectives
from galaxyjax.mesh.independent import independent
from galaxyjax.mesh.topology import build_mesh


def collatz(n):
    """(steps to 1, largest number on the way), a loop of another length for each n."""

    def step(carry):
        n, steps, top, _ = carry
        n = lax.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n)
        return n, steps + 1, jnp.maximum(top, n), n <= 1

    _, steps, top, _ = lax.while_loop(lambda carry: ~carry[3], step, (n, 0, 0, False))
    return steps, top


def slope(x):
    """d/dx of a sum over a scan from nought, through a function with a rule of its own."""

    def total(x):
        return lax.scan(lambda s, k: (s + jax.nn.softplus(k * x), s), 0.0, jnp.arange(3.0))[0]

    return jax.grad(total)(x)


def draw(key):
    """A normal number, found by rejection: a loop around random numbers."""
    found = lambda carry: jnp.abs(carry[1]) > 1.0  # noqa: E731
    step = lambda carry: (carry[0] + 1, jax.random.normal(jax.random.fold_in(key, carry[0])))  # noqa: E731
    return lax.while_loop(found, step, (0, 2.0))


CASES = {
    "while and cond": (collatz, jnp.arange(20, 36)),
    "gradient of a scan": (slope, jnp.linspace(-2.0, 2.0, 16)),
    "random numbers": (draw, jax.vmap(jax.random.key)(jnp.arange(16))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", ["data=4,x=2", "data=1"])
def test_each_device_finds_what_one_finds_and_sends_nothing(case, shape):
    function, rows = CASES[case]
    mesh = build_mesh(shape)
    spec = P(("data", "x", "y"))

    def sharded(function):
        return jax.jit(jax.shard_map(jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec))

    apart = sharded(independent(function, mesh.axis_names))
    jax.tree.map(np.testing.assert_array_equal, apart(rows), jax.jit(jax.vmap(function))(rows))
    assert collectives(apart.lower(rows).compile()) == []
    with pytest.raises((TypeError, ValueError), match="vary|varying"):
        sharded(function)(rows)


def test_nested_results_and_constants_keep_their_places():
    mesh = build_mesh("data=8")
    table = jnp.arange(8.0) ** 2  # closed over

    def function(x):
        looked_up = lax.fori_loop(0, 3, lambda i, s: s + table[i], 0.0)
        return {"sum": (x["a"] + looked_up, jnp.float32(7.0)), "kept": x["b"]}

    rows = jax.vmap(independent(function, mesh.axis_names))
    every = P(mesh.axis_names)
    x = {"a": jnp.arange(8.0), "b": jnp.arange(8)}
    found = jax.jit(jax.shard_map(rows, mesh=mesh, in_specs=every, out_specs=every))(x)
    np.testing.assert_array_equal(found["sum"][0], x["a"] + 5.0)
    np.testing.assert_array_equal(found["sum"][1], np.full(8, 7.0))
    np.testing.assert_array_equal(found["kept"], x["b"])
