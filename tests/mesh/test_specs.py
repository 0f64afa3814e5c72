"""Parameters on a mesh: rules by path, FSDP's memory and gradient, and parameters that are born in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.mesh.budget import collectives, temp_bytes
from galaxyjax.mesh.specs import (
    FSDP,
    REPLICATE,
    SMALL,
    Rules,
    born_sharded,
    bytes_per_device,
    fsdp,
    gather,
    shardings,
    specs,
)
from galaxyjax.mesh.topology import build_mesh

WIDTH, LAYERS = 256, 4
KEY = jax.random.key(3)


def init(key):
    """A network with a stack of equal layers, large kernels, small biases and a first kernel of odd shape."""
    first, stack, last = jax.random.split(key, 3)
    normal = jax.random.normal
    return {
        "first": {"kernel": 0.1 * normal(first, (7, WIDTH)), "bias": jnp.zeros(WIDTH)},
        "blocks": {
            "kernel": normal(stack, (LAYERS, WIDTH, 2 * WIDTH)) / WIDTH**0.5,
            "bias": jnp.ones((LAYERS, WIDTH)),
        },
        "last": {"kernel": 0.1 * normal(last, (2 * WIDTH, WIDTH))},
    }


SHAPES = jax.eval_shape(init, KEY)


def loss(params, x):
    h = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    for kernel, bias in zip(params["blocks"]["kernel"], params["blocks"]["bias"], strict=True):
        h = h + jnp.tanh(h @ kernel[:, :WIDTH] + bias) * jax.nn.sigmoid(h @ kernel[:, WIDTH:])
    wide = jnp.concatenate([h, h**2], axis=-1)
    return jnp.mean((wide @ params["last"]["kernel"]) ** 2)


def test_fsdp_shards_the_largest_dimension_of_what_is_large():
    placed = fsdp(SHAPES, build_mesh("data=8"))
    assert placed["blocks"]["kernel"] == P(None, None, "data")
    assert placed["last"]["kernel"] == P("data", None)
    assert placed["first"] == {"kernel": P(None, None), "bias": P(None)}  # under 64 KiB
    assert placed["blocks"]["bias"] == P(None, None)


@pytest.mark.parametrize("data", [2, 4, 8])
def test_fsdp_memory_is_the_total_over_data(data):
    mesh = build_mesh(f"data={data}")
    placed = fsdp(SHAPES, mesh)
    total = bytes_per_device(SHAPES, specs(SHAPES, REPLICATE, mesh), mesh, at_least=SMALL)
    assert bytes_per_device(SHAPES, placed, mesh, at_least=SMALL) <= 1.1 * total / data
    # And on the devices themselves.
    params = born_sharded(init, KEY, mesh, placed)
    held = {device: 0 for device in mesh.devices.flat}
    for leaf in jax.tree.leaves(params):
        if leaf.nbytes >= SMALL:
            for shard in leaf.addressable_shards:
                held[shard.device] += shard.data.nbytes
    assert max(held.values()) <= 1.1 * total / data


def test_parameters_are_born_sharded_with_the_values_of_one_device():
    """The compiled init makes and keeps an eighth: results and temporaries are far from the whole."""
    mesh = build_mesh("data=8")
    placed = fsdp(SHAPES, mesh)
    program = jax.jit(init, out_shardings=shardings(placed, mesh)).lower(KEY).compile()
    assert collectives(program) == []
    whole = bytes_per_device(SHAPES, specs(SHAPES, REPLICATE, mesh), mesh)
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes <= 1.1 * bytes_per_device(SHAPES, placed, mesh)
    assert memory.output_size_in_bytes + temp_bytes(program) < 0.5 * whole
    params, plain = born_sharded(init, KEY, mesh, placed), jax.jit(init)(KEY)
    for leaf, spec in zip(jax.tree.leaves(params), jax.tree.leaves(placed), strict=True):
        assert leaf.sharding.spec == spec
    for leaf, expected in zip(jax.tree.leaves(params), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-6, atol=1e-7)


def relative(found, expected) -> float:
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    difference = sum(np.sum((np.asarray(a, np.float64) - np.asarray(b)) ** 2) for a, b in pairs)
    return (difference / sum(np.sum(np.asarray(b, np.float64) ** 2) for _, b in pairs)) ** 0.5


def test_fsdp_gradient_equals_plain_and_comes_back_in_shards():
    mesh = build_mesh("data=8")
    placed = fsdp(SHAPES, mesh)
    params = born_sharded(init, KEY, mesh, placed)
    x = jax.random.normal(jax.random.key(4), (16, 7))
    plain = jax.jit(jax.grad(loss))(jax.jit(init)(KEY), x)

    whole = jax.jit(
        jax.grad(loss),
        in_shardings=shardings((placed, P("data")), mesh),
        out_shardings=shardings(placed, mesh),
    )
    assert relative(whole(params, x), plain) <= 1e-5

    def block(params, x):
        return jax.lax.pmean(loss(gather(params, placed), x), "data")

    inside = jax.jit(jax.grad(jax.shard_map(block, mesh=mesh, in_specs=(placed, P("data")), out_specs=P())))
    gradient = inside(params, x)
    assert relative(gradient, plain) <= 1e-5
    for leaf, spec in zip(jax.tree.leaves(gradient), jax.tree.leaves(placed), strict=True):
        assert leaf.sharding.is_equivalent_to(shardings(spec, mesh), leaf.ndim)
    kinds = [c.kind for c in collectives(inside.lower(params, x).compile())]
    assert kinds.count("all-gather") <= 2 and "reduce-scatter" in kinds


def test_first_rule_that_matches_counts_and_fsdp_takes_what_is_left():
    mesh = build_mesh("stage=2,data=4")
    rules = Rules(paths=((r"blocks/bias", ()), (r"^blocks/", ("layers",))), fsdp=True)
    placed = specs(SHAPES, rules, mesh)
    assert placed["blocks"] == {"kernel": P("stage", None, "data"), "bias": P(None, None)}
    assert placed["last"]["kernel"] == P("data", None)
    # The same rules on a mesh without stages, and on an optimiser's state.
    assert specs(SHAPES, rules, build_mesh("data=8"))["blocks"]["kernel"] == P(None, None, "data")
    moments = {"count": jax.ShapeDtypeStruct((), jnp.int32), "mu": SHAPES}
    state = specs(moments, Rules(paths=((r"blocks/", ("layers",)),)), mesh)
    assert state["mu"]["blocks"]["bias"] == P("stage", None) and state["count"] == P()


def test_rules_that_cannot_hold_are_named():
    mesh = build_mesh("stage=8")
    with pytest.raises(ConfigError, match="'trnk' matches no parameter"):
        specs(SHAPES, Rules(paths=(("trnk", ("layers",)),)), mesh)
    with pytest.raises(ConfigError, match=r"dimension 0 of \(4, 256, 512\) does not divide over stage=8"):
        specs(SHAPES, Rules(paths=(("blocks/kernel", ("layers",)),)), mesh)
    with pytest.raises(ConfigError, match="2 axes"):
        specs(SHAPES, Rules(paths=(("first/bias", (None, "layers")),)), mesh)
    with pytest.raises(UnknownName, match="'layer'.*layers"):
        specs(SHAPES, Rules(paths=(("blocks/kernel", ("layer",)),)), mesh)


def test_a_tensor_that_no_dimension_divides_stays_whole():
    odd = {"kernel": jax.ShapeDtypeStruct((129, 257), jnp.float32)}
    assert specs(odd, FSDP, build_mesh("data=8"))["kernel"] == P(None, None)
