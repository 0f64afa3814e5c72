"""Training of fields in one process: it learns, stops when told, goes on to the bit, refuses the foreign."""

import os
import signal
import struct
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.cli.recipe import load_recipe
from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.train import field
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.identity import fingerprint
from tests.train.jobs import RECIPES
from tests.train.toy_field import TRAINING, Pointwise, Product

MESH = "data=2,x=2,y=2"


@dataclass(frozen=True)
class Interrupted(Product):
    """SIGTERM, or Ctrl-C, arrives while the batch of one step is made; it hashes as what it interrupts."""

    signal_at: int = -1
    number: int = signal.SIGTERM

    def batch(self, mesh, size, seed, step):
        if step == self.signal_at:
            os.kill(os.getpid(), self.number)
        return super().batch(mesh, size, seed, step)


def identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(folder):
    return field.train(TRAINING, build_mesh(MESH), folder, profile=True)


def test_it_learns_and_keeps_the_best_average(undisturbed):
    assert undisturbed.step == 60 and not undisturbed.told_to_stop
    steps, _, held_out, best = np.transpose(undisturbed.history)
    np.testing.assert_array_equal(steps, np.arange(10, 61, 10))
    assert best[-1] == held_out.min() < 0.3 * held_out[0]
    parts = TRAINING.source.held_out(build_mesh("data=1"), 8)
    outputs = [
        TRAINING.model.apply_block(jax.device_get(undisturbed.weights), p.field, p.style, ()) for p in parts
    ]
    error = np.mean([jnp.mean((o - p.target) ** 2) for o, p in zip(outputs, parts, strict=True)])
    np.testing.assert_allclose(error, best[-1], rtol=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_saves_at_that_step_and_goes_on_bit_for_bit(
    undisturbed, tmp_path, monkeypatch, number
):
    identity = TRAINING.identity()
    monkeypatch.setattr(field.FieldTraining, "identity", lambda self: identity)
    mesh = build_mesh(MESH)
    before = signal.getsignal(number)
    told = field.train(replace(TRAINING, source=Interrupted(signal_at=33, number=number)), mesh, tmp_path)
    assert signal.getsignal(number) is before
    assert told.told_to_stop and told.step == 34
    assert (tmp_path / "checkpoints" / "34").is_dir()
    rest = field.train(TRAINING, mesh, tmp_path)
    assert [step for step, _ in rest.losses] == list(range(35, 61))
    assert rest.history == undisturbed.history
    identical(rest.weights, undisturbed.weights)


def test_a_run_goes_on_on_another_mesh(undisturbed, tmp_path, monkeypatch):
    """With compressed sums, too: their residuals stay behind on the old mesh."""
    compressed = replace(TRAINING, fit=replace(TRAINING.fit, compress=True))
    identity = compressed.identity()
    monkeypatch.setattr(field.FieldTraining, "identity", lambda self: identity)
    told = field.train(replace(compressed, source=Interrupted(signal_at=19)), build_mesh(MESH), tmp_path)
    assert told.step == 20
    rest = field.train(compressed, build_mesh("data=4"), tmp_path)
    assert rest.step == 60 and rest.losses[0][0] == 21
    expected = dict(undisturbed.losses)
    np.testing.assert_allclose([v for _, v in rest.losses], [expected[s] for s, _ in rest.losses], rtol=0.1)


def test_sharded_parameters_train_as_whole_ones_and_move_to_another_mesh(tmp_path, monkeypatch):
    """FSDP of tensors above 64 KiB: state in shards, checkpoints of shards, then shards of another size."""
    fit = replace(TRAINING.fit, steps=6, evaluate_every=3, warmup=2, save_every=3)
    wide = replace(TRAINING, model=Pointwise(width=16_384), fit=fit)
    whole = field.train(wide, build_mesh(MESH), tmp_path / "whole")
    sharded = replace(wide, fit=replace(fit, fsdp=True))
    identity = sharded.identity()
    monkeypatch.setattr(field.FieldTraining, "identity", lambda self: identity)
    stop = replace(sharded, source=Interrupted(signal_at=3))
    first = field.train(stop, build_mesh(MESH), tmp_path / "sharded")
    rest = field.train(sharded, build_mesh("data=4,x=2"), tmp_path / "sharded")
    np.testing.assert_allclose(
        [v for _, v in first.losses + rest.losses], [v for _, v in whole.losses], rtol=1e-5
    )
    for trained, parts in ((first, 2), (rest, 4)):
        kernel = trained.weights["last"]
        assert kernel.addressable_shards[0].data.shape == (16_384 // parts, 1)


def test_a_finished_run_is_not_repeated(undisturbed, folder):
    again = field.train(TRAINING, build_mesh(MESH), folder)
    assert again.losses == [] and again.history == undisturbed.history
    identical(again.weights, undisturbed.weights)


@pytest.mark.parametrize(
    "other, named",
    [
        (replace(TRAINING, fit=replace(TRAINING.fit, learning_rate=1e-3)), "recipe"),
        (replace(TRAINING, source=Product(scale=2.0)), "normalisation, recipe"),
    ],
    ids=["recipe", "normalisation"],
)
def test_another_recipe_is_refused(undisturbed, folder, other, named):
    with pytest.raises(ConfigError, match=f"another run .{named} differ"):
        field.train(other, build_mesh(MESH), folder)


def test_it_stops_when_validation_no_longer_improves(tmp_path):
    frozen = replace(TRAINING.fit, learning_rate=1e-12, patience=2)
    trained = field.train(replace(TRAINING, fit=frozen), build_mesh("data=2"), tmp_path)
    assert trained.step < 60 and not trained.told_to_stop
    assert len({row[3] for row in trained.history[-3:]}) == 1


def test_nan_ends_with_a_message_and_is_not_saved(tmp_path):
    broken = replace(TRAINING, source=Product(broken_from=25))
    with pytest.raises(DataError, match="loss nan, gradient norm nan at step 26"):
        field.train(broken, build_mesh("data=2"), tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()) == ["20"]


def test_bfloat16_computes_and_float32_keeps_the_weights(undisturbed, tmp_path):
    fit = replace(TRAINING.fit, compute="bfloat16", remat=True, accumulate=2)
    trained = field.train(replace(TRAINING, fit=fit), build_mesh(MESH), tmp_path)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(trained.weights))
    np.testing.assert_allclose(trained.history[-1][3], undisturbed.history[-1][3], rtol=0.2)
    # The same run in other words, but not to the last bit: it did round.
    assert trained.losses[0][1] != undisturbed.losses[0][1]
    np.testing.assert_allclose(trained.losses[0][1], undisturbed.losses[0][1], rtol=2e-2)


@pytest.mark.slow
def test_compressed_sums_reach_the_same_loss(tmp_path):
    """The V-Net on second-order displacements, 500 steps: held-out loss within 1% of uncompressed."""
    training = load_recipe(RECIPES / "second_order")[1].TRAINING
    fit = replace(training.fit, steps=500, batch=4, evaluate_every=100, save_every=500)
    training = replace(training, model=replace(training.model, widths=(4, 8)))
    losses = {}
    for compress in (False, True):
        run = replace(training, fit=replace(fit, compress=compress))
        losses[compress] = field.train(run, build_mesh(MESH), tmp_path / str(compress)).history
    print(losses)
    assert losses[False][-1][2] < 0.5 * losses[False][0][2]
    np.testing.assert_allclose(losses[True][-1][2], losses[False][-1][2], rtol=0.01)


def test_tensorboard_gets_every_step(undisturbed, folder):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    scalars: dict[str, dict[int, float]] = {}
    for path in (folder / "events").iterdir():
        content, at = path.read_bytes(), 0
        while at < len(content):  # length, its checksum, an Event, its checksum
            (length,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    losses = dict(undisturbed.losses)
    assert scalars["loss/training"].keys() == losses.keys()
    np.testing.assert_allclose(
        [scalars["loss/training"][s] for s in losses], list(losses.values()), rtol=1e-6
    )
    assert list(scalars["loss/held_out"]) == [row[0] for row in undisturbed.history]
    times, rates = scalars["speed/step_s"], scalars["speed/fields_per_s"]
    np.testing.assert_allclose([times[s] * rates[s] for s in times], 8.0, rtol=1e-5)
    assert "speed/model_flop_utilisation" not in scalars and undisturbed.utilisation is None  # a CPU


def test_profile_writes_a_trace(undisturbed, folder):
    traces = list((folder / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 10_000


def test_what_cannot_be_hashed_is_refused():
    with pytest.raises(ConfigError, match="has no hash"):
        fingerprint({"loss": lambda x: x})
    assert fingerprint(TRAINING) != fingerprint(replace(TRAINING, source=Interrupted()))


def test_a_mesh_that_does_not_fit_is_refused_with_the_numbers(tmp_path):
    with pytest.raises(ConfigError, match="8 fields do not divide over data=3"):
        field.train(TRAINING, build_mesh("data=3"), tmp_path)
    with pytest.raises(ConfigError, match="stage=2 of the mesh"):
        field.train(TRAINING, build_mesh("stage=2,data=4"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad",
    [
        {"accumulate": 0},
        {"warmup": 60, "steps": 60},
        {"clip": -1.0},
        {"compute": "float8"},
        {"save_every": 0},
    ],
)
def test_a_senseless_configuration_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        FieldFitConfig(**bad)
