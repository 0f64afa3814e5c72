"""One step on a mesh is the step on one device, sends its gradient once, and judges by the average."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import aot, budget
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.train import step as steps
from tests.train import toy_step as toy

MESH = "data=2,x=2,y=2"


@pytest.fixture(scope="module")
def reference():
    """Loss, gradient, and the parameters after one step of plain gradient descent, without any mesh."""
    params = toy.init(jax.random.key(0))
    loss, gradient = jax.jit(jax.value_and_grad(toy.whole_loss))(params, toy.batch(0))
    return loss, gradient, jax.tree.map(lambda p, g: p - g, params, gradient)


@pytest.mark.parametrize(
    "specs, options",
    [(toy.PLAIN, {}), (toy.SHARDED, {}), (toy.SHARDED, {"accumulate": 4}), (toy.PLAIN, {"accumulate": 2})],
    ids=["plain", "fsdp", "fsdp, 4 parts", "plain, 2 parts"],
)
def test_a_step_is_the_gradient_of_the_whole_batch(reference, specs, options):
    loss, gradient, expected = reference
    step, state, residual, place = toy.start(build_mesh(MESH), specs, optax.sgd(1.0), **options)
    state, _, values = step(state, residual, place(toy.batch(0)))
    np.testing.assert_allclose(values.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(values.gradient_norm, optax.tree.norm(gradient), rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, expected)
    # FSDP: between steps a device keeps its shard of weights, moments and averages, and nothing else.
    for tree in (state.params, state.average, state.best):
        jax.tree.map(lambda a, s: _assert_layout(a, s), tree, specs)


def _assert_layout(array, spec):
    parts = 2 if "data" in tuple(spec) else 1
    assert array.addressable_shards[0].data.size == array.size // parts


@pytest.mark.parametrize("parts", [1, 4])
def test_one_all_reduce_a_step_however_much_is_accumulated(parts):
    step, state, residual, place = toy.start(build_mesh(MESH), accumulate=parts)
    found = budget.collectives(step.lower(state, residual, place(toy.batch(0))).compile())
    weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert budget.count(found, "all-reduce") == 1
    assert budget.total(found, "all-reduce") == 4 * (weights + 1)  # the loss travels along
    assert {c.kind for c in found} == {"all-reduce", "collective-permute"}


def test_fsdp_gathers_weights_once_and_scatters_gradients_once():
    step, state, residual, place = toy.start(build_mesh(MESH), toy.SHARDED, accumulate=4)
    found = budget.collectives(step.lower(state, residual, place(toy.batch(0))).compile())
    sharded = 64 * 6 + 64 * 2
    assert budget.total(found, "all-gather") == 4 * sharded
    assert budget.count(found, "reduce-scatter") == 1
    assert budget.total(found, "reduce-scatter") == 4 * sharded // 2


def test_clipping_scales_the_whole_gradient(reference):
    _, gradient, _ = reference
    norm = float(optax.tree.norm(gradient))
    params = toy.init(jax.random.key(0))
    for specs in (toy.PLAIN, toy.SHARDED):
        step, state, residual, place = toy.start(build_mesh(MESH), specs, optax.sgd(1.0), clip=norm / 3)
        state, _, values = step(state, residual, place(toy.batch(0)))
        moved = optax.tree.norm(jax.tree.map(lambda a, b: jax.device_get(a) - b, state.params, params))
        np.testing.assert_allclose(moved, norm / 3, rtol=1e-5)
        np.testing.assert_allclose(values.gradient_norm, norm, rtol=1e-5)


def test_a_loss_already_summed_over_the_mesh_has_the_same_gradient(reference):
    loss, _, expected = reference
    summed = lambda p, b: jax.lax.pmean(toy.block_loss(p, b), ("x", "y"))  # noqa: E731
    mesh = build_mesh(MESH)
    _, state, _, place = toy.start(mesh, toy.PLAIN, optax.sgd(1.0))
    config = steps.FieldFitConfig(clip=0.0)
    step = steps.make_step(summed, optax.sgd(1.0), mesh, toy.PLAIN, toy.FIELD, config)
    state, _, values = step(state, None, place(toy.batch(0)))
    np.testing.assert_allclose(values.loss, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, expected)


def test_accumulation_that_does_not_divide_is_refused():
    step, state, residual, place = toy.start(build_mesh(MESH), accumulate=3)
    with pytest.raises(ConfigError, match="accumulate = 3 does not divide the 4 fields"):
        step(state, residual, place(toy.batch(0)))


def test_judging_keeps_the_best_average():
    mesh = build_mesh(MESH)
    measure, judge = steps.make_evaluate(toy.block_loss, mesh, toy.PLAIN, toy.FIELD)
    step, state, residual, place = toy.start(mesh)
    held_out = toy.batch(99)
    value = measure(state.average, place(held_out))
    np.testing.assert_allclose(value, toy.whole_loss(jax.device_get(state.average), held_out), rtol=1e-6)
    state = judge(state, value)
    first = jax.device_get(state.average)
    state, residual, _ = step(state, residual, place(toy.batch(0)))
    state = judge(state, value + 1.0)
    assert (int(state.stale), int(state.best_step), float(state.best_loss)) == (1, 0, float(value))
    jax.tree.map(np.testing.assert_array_equal, state.best, first)
    state = judge(state, value - 1.0)
    assert (int(state.stale), int(state.best_step)) == (0, 1)
    jax.tree.map(np.testing.assert_array_equal, state.best, jax.device_get(state.average))


def test_residuals_belong_to_the_devices_of_a_mesh():
    mesh = build_mesh("data=2,x=2,y=1")
    template = steps.state_template(toy.init, optax.adam(1e-3), mesh, toy.SHARDED)
    residual = steps.no_residual(steps.residual_template(template.params, mesh, toy.SHARDED))
    assert residual.reduced.shape == (2, 2, 1, 64) and residual.scattered.shape == (2, 2, 1, 2, 256)
    assert residual.reduced.sharding.spec == P("data", "x", "y")
    assert {s.data.shape for s in residual.reduced.addressable_shards} == {(1, 1, 1, 64)}
    # Without FSDP there is nothing to scatter, and an empty array is nothing that a checkpoint takes.
    assert steps.residual_template(template.params, mesh, toy.PLAIN).scattered is None


# The CPU's compiler widens a sum of bfloat16 to float32; the TPU's sends what it is told to.
TPU = """
import json
import jax, jax.numpy as jnp, optax
from galaxyjax.mesh import aot, budget
from galaxyjax.train import step as steps
from tests.train import toy_step as toy

mesh = aot.topology_mesh("v5p:2x2x2", "data=2,x=2,y=2")
found = {}
for compress in (False, True):
    for name, specs in (("plain", toy.PLAIN), ("fsdp", toy.SHARDED)):
        config = steps.FieldFitConfig(clip=0.0, compress=compress)
        step = steps.make_step(toy.block_loss, optax.adam(1e-3), mesh, specs, toy.FIELD, config)
        state = steps.state_template(toy.init, optax.adam(1e-3), mesh, specs)
        residual = steps.residual_template(state.params, mesh, specs) if compress else None
        field = jax.ShapeDtypeStruct((8, 8, 8, 2), jnp.float32)
        compiled = step.lower(state, residual, aot.placed((field, field), mesh, toy.FIELD)).compile()
        sums = [c for c in budget.collectives(compiled) if c.kind in ("all-reduce", "reduce-scatter")]
        found[f"{name} {compress}"] = [(c.kind, c.dtype, c.bytes, c.count) for c in sums]
print("RESULT", json.dumps(found))
"""


def test_compressed_sums_send_half_the_bytes_on_a_tpu():
    pytest.importorskip("libtpu", reason="compiling for TPU needs libtpu, which dev installs")
    environment = os.environ | aot.ENVIRONMENT | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", TPU], env=environment, capture_output=True, text=True, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert done.returncode == 0 and lines, done.stderr[-3000:]
    found = json.loads(lines[0].removeprefix("RESULT"))
    print(found)
    sent = {name: sum(bytes * count for _, _, bytes, count in sums) for name, sums in found.items()}
    # Beside the gradient go scalars in float32: the loss, and under FSDP the norm of the shards.
    assert sent["plain True"] - 4 == (sent["plain False"] - 4) / 2
    assert sent["fsdp True"] - 8 == (sent["fsdp False"] - 8) / 2
    large = [(kind, dtype) for kind, dtype, size, _ in found["plain True"] if size > 4]
    assert large == [("all-reduce", "bf16")]
