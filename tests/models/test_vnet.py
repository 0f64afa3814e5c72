"""The V-Net: the same field from one device and from many, its symmetries, its derivatives, its refusals."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.topology import FIELD, build_mesh
from galaxyjax.models.vnet import VNet
from tests.nn.weights import normal, weights

MESHES = ("data=2,x=2", "x=2,y=2", "data=2,x=2,y=2")  # (data, x, y) = 2x2x1, 1x2x2, 2x2x2
SMALL = VNet(inputs=3, outputs=3, widths=(4, 6), blocks=(1, 1), style=2)
LEAN = replace(SMALL, blocks=(0, 1))  # compiles in half the time


def problem(model, n=(8, 8, 4), dtype=jnp.float32, batch=2):
    """Weights, a field, a style and a target."""
    x, target = (normal(i, batch, *n, c, dtype=dtype) for i, c in enumerate((model.inputs, model.outputs)))
    return weights(model.init, dtype=dtype), x, normal(2, batch, model.style, dtype=dtype), target


def value_and_gradients(model, mesh, microbatches=None):
    """Jitted output, and gradients of a squared error in parameters, field and style."""

    def loss(params, x, style, target):
        out = model.apply(params, x, style, mesh, microbatches)
        return jnp.mean((out - target) ** 2), out

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))


def norm(tree):
    """Global L2."""
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(tree)))


def difference(a, b):
    """Global L2 of a tree's distance to another, relative."""
    a, b = (jax.tree.map(np.asarray, tree) for tree in (a, b))
    return norm(jax.tree.map(np.subtract, a, b)) / norm(b)


@pytest.mark.parametrize(
    "model, dtype, forward, gradient", [(SMALL, "float32", 1e-6, 1e-5), (LEAN, "float64", 1e-12, 1e-12)]
)
def test_any_mesh_gives_the_field_and_the_gradients_of_one_device(model, dtype, forward, gradient):
    with jax.enable_x64(dtype == "float64"):
        arguments = problem(model, dtype=jnp.dtype(dtype))
        expected, out = value_and_gradients(model, None)(*arguments)
        for shape in MESHES:
            got, sharded = value_and_gradients(model, build_mesh(shape))(*arguments)
            assert difference(sharded, out) <= forward, shape
            assert difference(got, expected) <= gradient, shape
            for one, other in zip(got, expected, strict=True):  # nor hidden behind the larger of the three
                assert difference(one, other) <= gradient, shape


def test_one_device_is_the_mesh_of_one():
    params, x, style, _ = problem(SMALL)
    out = jax.jit(partial(SMALL.apply, mesh=build_mesh("x=1")))(params, x, style)
    np.testing.assert_allclose(out, jax.jit(SMALL.apply)(params, x, style), rtol=1e-6, atol=1e-6)


def test_output_lies_as_the_field_does():
    mesh, (params, x, style, _) = build_mesh("data=2,x=2,y=2"), problem(SMALL)
    out = jax.jit(partial(SMALL.apply, mesh=mesh))(
        params, jax.device_put(x, NamedSharding(mesh, FIELD)), style
    )
    assert out.sharding.is_equivalent_to(NamedSharding(mesh, FIELD), out.ndim)
    assert out.shape == (2, 8, 8, 4, 3) and out.dtype == x.dtype


def test_shifts_by_a_coarsest_cell_are_a_symmetry_and_a_fine_cell_is_not():
    params, x, style, _ = problem(SMALL)
    apply = jax.jit(lambda x: SMALL.apply(params, x, style))
    shift = partial(jnp.roll, shift=(2, 4, -2), axis=(1, 2, 3))
    out = apply(x)
    # The order of sums is the machine's: single precision of the largest value, not of each.
    np.testing.assert_allclose(apply(shift(x)), shift(out), rtol=0, atol=1e-6 * float(jnp.abs(out).max()))
    one = partial(jnp.roll, shift=1, axis=1)
    assert difference(apply(one(x)), one(apply(x))) > 1e-3


def test_derivatives_are_those_of_finite_differences(float64):
    """Along parameters, field and style together, forward and reverse; three levels, rematerialised."""
    model = VNet(inputs=2, outputs=1, widths=(2, 3, 4), blocks=(1, 0, 1), style=2, remat=True)
    params, x, style, target = problem(model, (4, 4, 8), jnp.float64, batch=1)
    here = (params, x, style)
    along = jax.tree.map(lambda a: np.cos(np.arange(a.size)).reshape(a.shape), here)
    loss = jax.jit(lambda p, x, s: jnp.mean((model.apply(p, x, s) - target) ** 2))
    move = lambda h: jax.tree.map(lambda a, d: np.asarray(a) + h * d, here, along)  # noqa: E731
    numeric = (loss(*move(1e-5)) - loss(*move(-1e-5))) / 2e-5
    forward = jax.jit(lambda a, b: jax.jvp(loss, a, b)[1])(here, along)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(*here)
    reverse = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, along)), strict=True))
    np.testing.assert_allclose([forward, reverse], [numeric, numeric], rtol=1e-6)


def test_velocity_is_the_derivative_along_growth_on_a_mesh_too(float64):
    """`jvp` of the sharded network along the style, against differences of the unsharded one."""
    params, x, style, _ = problem(LEAN, dtype=jnp.float64)
    growth = jnp.zeros_like(style).at[:, 1].set(1.0)
    whole = jax.jit(lambda s: LEAN.apply(params, x, s))
    sharded = lambda s: LEAN.apply(params, x, s, build_mesh("data=2,x=2,y=2"))  # noqa: E731
    tangent = jax.jit(lambda s: jax.jvp(sharded, (s,), (growth,))[1])(style)
    numeric = (whole(style + 1e-5 * growth) - whole(style - 1e-5 * growth)) / 2e-5
    assert difference(tangent, numeric) <= 1e-8
    assert float(np.std(tangent)) > 1e-2


def test_bfloat16_computes_from_float32_weights_and_returns_float32_gradients():
    model, (params, x, style, target) = replace(LEAN, dtype="bfloat16"), problem(LEAN)
    gradient, out = value_and_gradients(model, None)(params, x, style, target)
    expected, exact = value_and_gradients(LEAN, None)(params, x, style, target)
    assert out.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert 1e-4 < difference(out, exact) < 0.03  # bfloat16 keeps 8 bits
    assert difference(gradient[0], expected[0]) < 0.06


def test_a_trunk_handed_in_runs_the_stacked_blocks():
    """What a pipeline does: the same blocks from parameters with a leading axis, here in a scan."""
    model = VNet(inputs=1, outputs=1, widths=(2, 4), blocks=(0, 3), style=2)
    params, x, style, _ = problem(model)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(params["trunk"])} == {3}

    def scan(block, params, carry):
        return jax.lax.scan(lambda carry, p: (block(p, carry), None), carry, params)[0]

    run = jax.jit(lambda trunk: model.apply_block(params, x, style, (), trunk), static_argnums=0)
    assert difference(run(scan), run(None)) <= 1e-6


def test_hyperparameters_rebuild_the_model():
    again = VNet(**json.loads(json.dumps(SMALL.hyperparameters())))
    assert again == SMALL and hash(again) == hash(SMALL)


def test_parameters_are_float32_and_the_blocks_of_a_trunk_differ():
    model = VNet(inputs=1, outputs=1, widths=(6,), blocks=(2,), style=0)
    params = jax.jit(model.init)(jax.random.key(5))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    kernels = params["trunk"]["conv0"]["kernel"]
    np.testing.assert_allclose(np.var(kernels, axis=(1, 2, 3, 4, 5)) * 27 * 6, 1.0, rtol=0.2)
    assert abs(np.corrcoef(*np.reshape(kernels, (2, -1)))[0, 1]) < 0.1


def apply_shape(model, shape, style=(2, 2), mesh=None):
    params = jax.eval_shape(model.init, jax.random.key(0))
    field, style = (None if s is None else jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, style))
    return jax.eval_shape(partial(model.apply, mesh=mesh), params, field, style)


def test_any_box_that_is_a_multiple_of_the_coarsest_level():
    model = VNet(widths=(2, 2, 2), blocks=(0, 0, 1))
    assert model.multiple == 4
    assert apply_shape(model, (2, 4, 12, 20, 3)).shape == (2, 4, 12, 20, 3)


def test_a_network_without_style_or_trunk_takes_none():
    model = VNet(widths=(2, 2), blocks=(1, 0), style=0)
    assert set(jax.eval_shape(model.init, jax.random.key(0))) == {"outer"}
    assert apply_shape(model, (2, 4, 4, 4, 3), None, build_mesh("data=2,x=2")).shape == (2, 4, 4, 4, 3)


def test_fields_that_do_not_fit_are_refused_with_the_numbers():
    model = VNet(widths=(2, 2, 2), blocks=(0, 0, 1))
    with pytest.raises(ConfigError, match="6 cells along y.*multiples of 4.*choose a multiple of 4"):
        apply_shape(model, (2, 4, 6, 4, 3))
    with pytest.raises(ConfigError, match="12 cells along x.*x=2.*choose a multiple of 8"):
        apply_shape(model, (2, 12, 8, 8, 3), mesh=build_mesh("x=2"))
    with pytest.raises(ConfigError, match="3 fields.*data=2"):
        apply_shape(model, (3, 8, 8, 8, 3), (3, 2), build_mesh("data=2"))
    with pytest.raises(DataError, match=r"shape \(2, 4, 4, 4, 1\) must be \(batch, nx, ny, nz, 3\)"):
        apply_shape(model, (2, 4, 4, 4, 1))
    with pytest.raises(DataError, match=r"style has shape \(2, 3\), not \(2, 2\)"):
        apply_shape(model, (2, 4, 4, 4, 3), (2, 3))
    with pytest.raises(DataError, match=r"style has shape None"):
        apply_shape(model, (2, 4, 4, 4, 3), None)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"widths": (4,)}, "equally many levels"),
        ({"widths": (), "blocks": ()}, "equally many levels"),
        ({"kernel": 2}, "kernel=2 must be 3 or 1"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"inputs": 0}, "at least 1"),
    ],
)
def test_hyperparameters_that_contradict_themselves_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        VNet(**options)


def test_work_counted_by_hand_is_what_the_compiler_counts():
    model = VNet(inputs=3, outputs=2, widths=(8, 12), blocks=(1, 1), style=2)
    params, x, style, _ = problem(model, (8, 8, 8), batch=1)
    counted = jax.jit(model.apply).lower(params, x, style).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(model.flops((8, 8, 8)), rel=0.05)  # the rest is activations


def test_a_pipeline_over_stages_gives_what_one_device_gives():
    """1F1B in the trunk, data parallel around it, halos everywhere."""
    model = replace(SMALL, widths=(2, 4), blocks=(0, 2))
    arguments = problem(model, (4, 4, 4), batch=4)
    expected, out = value_and_gradients(model, None)(*arguments)
    got, piped = value_and_gradients(model, build_mesh("stage=2,data=2,x=2"), 2)(*arguments)
    assert difference(piped, out) <= 1e-6
    for one, other in zip(got, expected, strict=True):
        assert difference(one, other) <= 1e-5


def test_a_pipeline_that_does_not_divide_is_refused_with_the_numbers():
    mesh = build_mesh("stage=2,data=2")
    with pytest.raises(ConfigError, match="trunk of 1 blocks and 2 microbatches.*stage=2"):
        apply_shape(SMALL, (4, 8, 8, 8, 3), (4, 2), mesh)
    with pytest.raises(ConfigError, match="batch of 6 fields.*2 microbatches over data=2.*multiple of 4"):
        apply_shape(replace(SMALL, blocks=(0, 2)), (6, 8, 8, 8, 3), (6, 2), mesh)
