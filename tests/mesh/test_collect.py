"""Means, norms and gradient sums inside `shard_map`, against NumPy on whole arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.mesh import budget, collect
from galaxyjax.mesh.topology import build_mesh

AXES = ("data", "x", "y")
EVERYWHERE = P(AXES)  # one row a device
# Tensors sharded over "data" along their first, second and last dimension, and two whole ones.
SHAPES = {"a": (4, 3), "b": (3, 6, 2), "c": (2, 2, 8), "d": (5,), "e": ()}
SPECS = {"a": P("data"), "b": P(None, "data"), "c": P(None, None, "data"), "d": P(), "e": P()}


@pytest.fixture(scope="module")
def mesh():
    return build_mesh("data=2,x=2,y=2")


@pytest.fixture(scope="module")
def gradients():
    """One gradient a device: name -> (8, *shape) float32."""
    random = np.random.default_rng(0)
    return {k: random.normal(size=(8, *shape)).astype(np.float32) for k, shape in SHAPES.items()}


def inside(function, mesh, in_specs, out_specs):
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=True))


def mine(tree):
    """This device's row of arrays (8, ...)."""
    return jax.tree.map(lambda a: a[0], tree)


def test_mean_and_share_are_the_mean_over_devices(mesh):
    values = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)

    def both(v):
        partial_mean = collect.mean(mine(v), ("x",))
        return (
            collect.mean(mine(v), AXES),
            collect.mean(partial_mean, AXES),
            jax.lax.psum(collect.share(mine(v)), AXES),
        )

    for got in inside(both, mesh, EVERYWHERE, P())(values):
        np.testing.assert_allclose(got, values.mean(0), rtol=1e-6, atol=1e-7)


def test_share_of_what_is_already_summed_counts_once(mesh):
    """A loss that is the same along x and y is divided by the size of "data" only."""

    def value(v):
        summed = collect.mean(mine(v), ("x", "y"))
        return collect.share(summed)[None]

    out = inside(value, mesh, EVERYWHERE, P("data"))(np.full(8, 6.0, np.float32))
    np.testing.assert_array_equal(out, [3.0, 3.0])


def test_gradients_are_summed_into_their_shards(mesh, gradients):
    def reduce(g):
        return collect.reduce_gradients(mine(g), SPECS, AXES)[0]

    found = inside(reduce, mesh, EVERYWHERE, SPECS)(gradients)
    for name, spec in SPECS.items():
        np.testing.assert_allclose(found[name], gradients[name].sum(0), rtol=1e-5, atol=1e-6)
        assert found[name].sharding.spec == spec


def test_the_norm_of_shards_is_the_norm_of_the_whole(mesh, gradients):
    whole = mine(gradients)
    norm = inside(lambda g: collect.global_norm(g, SPECS), mesh, (SPECS,), P())(whole)
    expected = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in whole.values()))
    np.testing.assert_allclose(norm, expected, rtol=1e-6)


def test_varying_parameters_leave_one_gradient_a_device(mesh):
    """Replicated ones make automatic differentiation sum over the mesh, once for each of them."""
    x = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)

    def gradient(cast, w, v):
        w = collect.varying(w, AXES) if cast else w
        g = jax.grad(lambda w: jnp.sum(jnp.sin(v @ w)))(w)
        return g[None] if cast else g

    counts = {}
    for cast, out in ((True, EVERYWHERE), (False, P())):
        run = inside(lambda w, v, cast=cast: gradient(cast, w, v), mesh, (P(), EVERYWHERE), out)
        counts[cast] = budget.count(
            budget.collectives(run.lower(np.ones(4, np.float32), x).compile()), "all-reduce"
        )
        total = np.asarray(run(np.ones(4, np.float32), x)).reshape(-1, 4).sum(0)
        np.testing.assert_allclose(total, np.cos(x.sum(1)) @ x, rtol=1e-5)
    assert counts == {True: 0, False: 1}


def test_error_feedback_sends_what_rounding_left_out(mesh, gradients):
    """The same gradient again and again: the mean of what is sent nears it as 1 / steps, to float32's limit.

    It lies on one device only: rounding the *sum* over devices to bfloat16 is the wire's, no residual has it.
    """
    alone = {
        k: np.where(np.arange(8).reshape(8, *[1] * (g.ndim - 1)) == 3, g, 0) for k, g in gradients.items()
    }
    local, specs = collect.empty_residual(mine(gradients), SPECS, mesh)
    residual = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), local)

    def reduce(g, r):
        row = jax.tree.map(lambda a: a.reshape(a.shape[3:]), r)
        total, left = collect.reduce_gradients(mine(g), SPECS, AXES, row)
        return total, jax.tree.map(lambda a, like: a.reshape(like.shape), left, r)

    step = inside(reduce, mesh, (EVERYWHERE, specs), (SPECS, specs))
    exact = {name: g.astype(np.float64).sum(0) for name, g in alone.items()}
    mean, errors = {name: 0.0 for name in exact}, []
    for i in range(64):
        total, residual = step(alone, residual)
        mean = {k: (mean[k] * i + np.asarray(total[k], np.float64)) / (i + 1) for k in exact}
        errors.append(max(np.max(np.abs(mean[k] - exact[k]) / np.abs(exact[k])) for k in exact))
    assert 2**-12 < errors[0] < 2**-8  # one rounding
    assert errors[63] < 2**-8 / 64  # less than one rounding in 64 steps
    # What is held back stays below one rounding of what is sent: nothing piles up.
    largest = max(np.abs(g).max() for g in alone.values())
    assert all(np.abs(leaf).max() <= 2**-8 * largest for leaf in jax.tree.leaves(residual))
