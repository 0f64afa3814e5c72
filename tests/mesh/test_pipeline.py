"""The pipeline against a plain loop over layers: values, gradients, what it sends and what it keeps."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.budget import collectives, temp_bytes
from galaxyjax.mesh.pipeline import pipeline
from galaxyjax.mesh.topology import build_mesh

LAYERS, WIDTH, BATCH = 8, 16, 32


def block(params, x):
    """A residual block with a bottleneck of its own and a style that is handed on."""
    h, style = x
    inner = jnp.tanh(h @ params["in"] + style @ params["style"])
    return h + inner @ params["out"], style


@cache
def problem(layers=LAYERS, width=WIDTH, batch=BATCH):
    rng = np.random.default_rng(9)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) / shape[-2] ** 0.5, jnp.float32)  # noqa: E731
    params = {
        "in": draw(layers, width, 3 * width),
        "out": draw(layers, 3 * width, width),
        "style": draw(layers, 2, 3 * width),
    }
    return params, (draw(batch, width), draw(batch, 2))


def plain(params, x):
    for layer in range(len(params["in"])):
        x = block({name: leaf[layer] for name, leaf in params.items()}, x)
    return x


def loss(apply, params, x):
    h, style = apply(params, x)
    return jnp.mean(jnp.sin(h) ** 2) + jnp.mean(style * h[:, :2])


@cache
def expected():
    return jax.jit(jax.value_and_grad(partial(loss, plain), argnums=(0, 1)))(*problem())


def relative(found, like) -> float:
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True))
    difference = sum(np.sum((np.asarray(a, np.float64) - np.asarray(b)) ** 2) for a, b in pairs)
    return (difference / sum(np.sum(np.asarray(b, np.float64) ** 2) for _, b in pairs)) ** 0.5


@pytest.mark.parametrize(
    ("shape", "microbatches", "schedule"),
    [
        ("stage=4", 16, "1f1b"),
        ("stage=2,data=2", 8, "1f1b"),
        ("stage=8", 8, "1f1b"),
        ("data=2", 4, "1f1b"),
        ("stage=4", 16, "gpipe"),
    ],
)
def test_value_and_gradient_equal_the_plain_stack(shape, microbatches, schedule):
    mesh = build_mesh(shape)
    run = partial(pipeline, block, mesh=mesh, microbatches=microbatches, schedule=schedule)
    value, gradient = jax.jit(jax.value_and_grad(partial(loss, run), argnums=(0, 1)))(*problem())
    (plain_value, plain_gradient) = expected()
    np.testing.assert_allclose(value, plain_value, rtol=1e-6)
    assert relative(gradient[0], plain_gradient[0]) <= 1e-5
    assert relative(gradient[1], plain_gradient[1]) <= 1e-5


def test_examples_come_back_in_their_places():
    params, x = problem()
    found = jax.jit(partial(pipeline, block, mesh=build_mesh("stage=4,data=2"), microbatches=4))(params, x)
    np.testing.assert_allclose(found[0], plain(params, x)[0], atol=2e-6)
    np.testing.assert_array_equal(found[1], x[1])


def test_works_outside_jit():
    params, x = problem()
    found = pipeline(block, params, x, build_mesh("stage=2"), 2)
    np.testing.assert_allclose(found[0], plain(params, x)[0], atol=2e-6)


def given(tree, sharding):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def transpose(schedule, mesh, batch, microbatches, width=WIDTH, layers=LAYERS):
    """The compiled backward pass: cotangents of parameters and x from that of the result."""
    params, x = problem(layers, width, batch)
    run = partial(pipeline, block, mesh=mesh, microbatches=microbatches, schedule=schedule)

    def pull(params, x, slope):
        return jax.vjp(run, params, x)[1](slope)

    share = given(x, NamedSharding(mesh, P(("data", "stage"))))
    return jax.jit(pull).lower(given(params, NamedSharding(mesh, P("stage"))), share, share).compile()


def test_only_permutes_and_one_sum_of_the_parameters():
    mesh, microbatches = build_mesh("stage=4,data=2"), 8
    found = collectives(transpose("1f1b", mesh, 2 * BATCH, microbatches))
    assert {c.kind for c in found} == {"collective-permute", "all-reduce"}
    assert all(c.exact for c in found)
    # The gradient of each stage's own layers, once, over "data".
    params, x = problem(batch=2 * BATCH)
    summed = [c for c in found if c.kind == "all-reduce"]
    assert sum(c.bytes * c.count for c in summed) == sum(leaf.nbytes // 4 for leaf in jax.tree.leaves(params))
    assert all(len(group) == 2 for c in summed for group in c.groups)
    # Five registers a tick move one microbatch of each array: two inlets, up, down and the outlet.
    ticks = microbatches + 2 * 3 + 1
    moved = sum(c.bytes * c.count for c in found if c.kind == "collective-permute")
    assert moved <= 5 * ticks * sum(leaf.nbytes for leaf in x) // (2 * microbatches)


def test_memory_is_bounded_by_stages_not_microbatches():
    """With four times the microbatches of the same size 1F1B's temporaries stay; GPipe keeps all insides."""
    mesh, width, layers, size = build_mesh("stage=4"), 64, 8, 64
    held = {
        (schedule, m): temp_bytes(transpose(schedule, mesh, size * m, m, width, layers))
        for schedule, m in (("1f1b", 8), ("1f1b", 32), ("gpipe", 32))
    }
    assert held["1f1b", 32] <= 1.01 * held["1f1b", 8]
    # By hand, for 32 microbatches: the input and tanh's 3 x width values of both layers of a stage.
    assert held["gpipe", 32] >= 32 * size * 4 * 2 * (3 * width + width)
    assert held["1f1b", 32] <= held["gpipe", 32] / 5


def test_fields_keep_their_blocks_inside_the_stages():
    """A stencil with neighbours on the mesh in each layer, over stage and x at once."""
    rng = np.random.default_rng(10)
    params = jnp.asarray(0.1 * rng.normal(size=(4, 3, 3)), jnp.float32)
    x = jnp.asarray(rng.normal(size=(4, 8, 4, 2, 3)), jnp.float32)

    def stencil(weights, field, size=2):
        left = field[:, -1:] if size == 1 else jax.lax.ppermute(field[:, -1:], "x", [(0, 1), (1, 0)])
        return field + jnp.tanh(jnp.concatenate([left, field[:, :-1]], axis=1) @ weights)

    def whole(params, field):
        for weights in params:
            field = stencil(weights, field, size=1)
        return field

    def objective(apply, params, field):
        return jnp.sum(jnp.sin(apply(params, field)))

    mesh = build_mesh("stage=2,x=2,y=2")
    staged = partial(pipeline, stencil, mesh=mesh, microbatches=4)
    found = jax.jit(jax.grad(partial(objective, staged), argnums=(0, 1)))(params, x)
    like = jax.jit(jax.grad(partial(objective, whole), argnums=(0, 1)))(params, x)
    assert relative(found, like) <= 1e-5


def test_what_does_not_divide_is_named():
    params, x = problem()
    with pytest.raises(ConfigError, match="8 layers do not divide over stage=3"):
        pipeline(block, params, x, build_mesh("stage=3"), 3)
    with pytest.raises(ConfigError, match="microbatches=6 do not divide over stage=4.*multiple of 4"):
        pipeline(block, params, x, build_mesh("stage=4"), 6)
    with pytest.raises(ConfigError, match="batch of 32 does not divide into 12 microbatches over data=2"):
        pipeline(block, params, x, build_mesh("stage=4,data=2"), 12)
    with pytest.raises(ConfigError, match="schedule='zb' must be one of 1f1b, gpipe"):
        pipeline(block, params, x, build_mesh("stage=4"), 4, schedule="zb")
    with pytest.raises(ConfigError, match="integers"):
        pipeline(block, params, (x[0], jnp.zeros((BATCH, 2), int)), build_mesh("stage=4"), 4)
    with pytest.raises(ConfigError, match=r"found \[7, 8\]"):
        pipeline(block, params | {"in": params["in"][:7]}, x, build_mesh("stage=4"), 4)
