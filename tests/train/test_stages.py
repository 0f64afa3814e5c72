"""Training through the pipeline: the plain step's gradient, its sums, checkpoints that leave the pipeline."""

import os
import signal
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import budget
from galaxyjax.mesh.specs import Rules, specs
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.vnet import VNet
from galaxyjax.train import field
from galaxyjax.train import step as steps
from galaxyjax.train.identity import fingerprint
from tests.train.toy_field import TRAINING, Product

MODEL = VNet(inputs=2, outputs=1, widths=(4,), blocks=(2,), style=1)
FIT = replace(TRAINING.fit, steps=12, batch=8, evaluate_every=4, save_every=4, warmup=2, clip=0.0)
STAGED = field.FieldTraining(model=MODEL, source=Product(), cells=4, fit=FIT)
MESH = "stage=2,data=2,x=2"


def one_step(recipe, shape, layout=None):
    """State and values after a step of plain gradient descent, the gradient it took, and its executable."""
    mesh, optimizer = build_mesh(shape), optax.sgd(1.0)
    layout = layout(mesh) if layout else field.parameter_specs(recipe, mesh)
    field.check_stages(recipe, mesh)
    loss = field.block_loss(recipe, dict(mesh.shape).get("stage", 1))
    step = steps.make_step(loss, optimizer, mesh, layout, field.batch_specs(mesh), recipe.fit)
    state = steps.state_template(MODEL.init, optimizer, mesh, layout)
    residual = None
    if recipe.fit.compress:
        residual = steps.no_residual(steps.residual_template(state.params, mesh, layout))
    state = steps.born(MODEL.init, jax.random.key(0), optimizer, state)
    before = jax.device_get(state.params)
    arguments = state, residual, recipe.source.batch(mesh, recipe.fit.batch, 0, 0)
    step = step.lower(*arguments).compile()
    state, _, values = step(*arguments)
    return state, values, jax.tree.map(lambda a, b: a - b, before, jax.device_get(state.params)), step


@pytest.fixture(scope="module")
def plain():
    return one_step(STAGED, "data=1")


@pytest.fixture(scope="module")
def staged():
    return one_step(replace(STAGED, fit=replace(FIT, microbatches=4)), MESH)


def relative(found, like):
    return optax.tree.norm(jax.tree.map(jnp.subtract, found, like)) / optax.tree.norm(like)


def sharded(mesh):
    """FSDP of everything over a few hundred bytes, within each stage."""
    rules = Rules(paths=(("^trunk/", ("layers",)),), fsdp=True, small=256)
    return specs(jax.eval_shape(MODEL.init, jax.random.key(0)), rules, mesh)


def equal(found, plain):
    state, values, gradient, _ = found
    assert relative(gradient, plain[2]) <= 1e-5
    np.testing.assert_allclose(values, plain[1], rtol=1e-5)
    for leaf in jax.tree.leaves(state.params["trunk"]):  # each stage has its own layer, and no other
        assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {1}


def test_the_gradient_through_the_pipeline_is_the_plain_one(staged, plain):
    equal(staged, plain)


def test_accumulated_and_over_shards_of_every_tensor_it_is_the_same(plain):
    recipe = replace(STAGED, fit=replace(FIT, accumulate=2))
    equal(one_step(recipe, "stage=2,data=2,y=2", sharded), plain)


def test_a_step_sums_each_stages_layers_over_the_others_and_nothing_twice(staged):
    sent = budget.collectives(staged[3])
    assert {c.kind for c in sent} <= {"all-reduce", "collective-permute"}
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in shapes.items()}
    sums = {len(c.groups[0]): c.bytes * c.count for c in sent if c.kind == "all-reduce" and c.bytes > 4}
    # The outer layers, with the loss, over all eight; half the trunk over the four devices of its stage.
    assert sums == {8: 4 * (count["outer"] + 1), 4: 4 * count["trunk"] // 2}


def test_compressed_sums_leave_their_errors_with_their_stage(plain):
    recipe = replace(STAGED, fit=replace(FIT, compress=True))
    _, _, gradient, _ = one_step(recipe, MESH)
    assert 1e-5 < relative(gradient, plain[2]) < 1e-2
    assert 1e-5 < relative(gradient["trunk"], plain[2]["trunk"]) < 1e-2


@dataclass(frozen=True)
class Interrupted(Product):
    signal_at: int = -1

    def batch(self, mesh, size, seed, step):
        if step == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(mesh, size, seed, step)


@pytest.mark.slow
def test_a_training_leaves_the_pipeline_and_comes_back(tmp_path, monkeypatch):
    """Four steps with stages, four without, four with stages and other microbatches: one device's losses."""
    identity = STAGED.identity()
    monkeypatch.setattr(field.FieldTraining, "identity", lambda self: identity)
    whole = field.train(STAGED, build_mesh("data=1"), tmp_path / "whole")
    losses = []
    for shape, stop, microbatches in ((MESH, 4, 0), ("data=4,y=2", 8, 0), ("stage=2,x=2,y=2", 99, 4)):
        source = Interrupted(signal_at=stop - 1)
        recipe = replace(STAGED, source=source, fit=replace(FIT, microbatches=microbatches))
        last = field.train(recipe, build_mesh(shape), tmp_path / "moved")
        losses += last.losses
    assert [step for step, _ in losses] == list(range(1, 13))
    np.testing.assert_allclose(losses, whole.losses, rtol=1e-3)
    assert last.history[-1][2] < whole.history[0][2]
    np.testing.assert_allclose(last.history[-1][2], whole.history[-1][2], rtol=1e-3)


def test_microbatches_are_no_part_of_what_a_run_is():
    other = replace(FIT, microbatches=4)
    assert other != FIT and fingerprint(other) == fingerprint(FIT)
    assert fingerprint(replace(FIT, accumulate=2)) != fingerprint(FIT)


def test_pipelines_that_do_not_fit_are_named(tmp_path):
    run = lambda recipe, shape: field.train(recipe, build_mesh(shape), tmp_path)  # noqa: E731
    with pytest.raises(ConfigError, match="stage=2 of the mesh, but a Pointwise has no trunk"):
        run(TRAINING, "stage=2")
    with pytest.raises(ConfigError, match="trunk of 2 blocks and 4 microbatches.*stage=4"):
        run(STAGED, "stage=4")
    fit = replace(FIT, microbatches=8)
    with pytest.raises(ConfigError, match="batch of 8 fields.*8 microbatches over data=2.*multiple of 16"):
        run(replace(STAGED, fit=fit), MESH)
    with pytest.raises(ConfigError, match="batch of 4 fields.*2 microbatches over data=4"):
        run(replace(STAGED, fit=replace(FIT, accumulate=2)), "stage=2,data=4")
    with pytest.raises(ConfigError, match="microbatches = -1"):
        replace(FIT, microbatches=-1)
