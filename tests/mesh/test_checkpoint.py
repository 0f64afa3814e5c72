"""Checkpoints: the same numbers on any mesh, nothing by halves, no other run's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh.checkpoint import Checkpoints
from galaxyjax.mesh.topology import build_mesh

IDENTITY = {"recipe": "a", "data": "b", "normalisation": "c"}
LAYOUT = {"kernel": P(None, "data"), "bias": P(), "step": P()}


def put(tree, mesh):
    return jax.tree.map(lambda a, s: jax.device_put(a, NamedSharding(mesh, s)), tree, LAYOUT)


def template(tree):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), tree)


@pytest.fixture
def state():
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(6, 8)), random.normal(size=8)
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(jnp.bfloat16), "step": np.int32(7)}


def test_the_same_bits_on_any_mesh(state, tmp_path):
    """Saved from shards over two of "data" on eight devices, read on 8, 4, 2 and 1."""
    mesh = build_mesh("data=2,x=2,y=2")
    about = {"history": [[1, 0.1], [2, 1e-17]]}
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        assert checkpoints.restore(template(put(state, mesh))) is None
        checkpoints.save(7, put(state, mesh), about=about)
    for sizes in ("data=8", "data=4", "x=2", "data=1"):
        other = build_mesh(sizes)
        wanted = put(jax.tree.map(np.zeros_like, state), other)
        with Checkpoints(tmp_path, IDENTITY, other) as checkpoints:
            found = checkpoints.restore(template(wanted))
        assert found.about == about and found.local is None
        for name, leaf in found.state.items():
            np.testing.assert_array_equal(leaf, state[name])
            assert leaf.sharding == wanted[name].sharding and leaf.dtype == state[name].dtype


def test_what_belongs_to_the_devices_is_not_given_to_others(state, tmp_path):
    mesh, other = build_mesh("data=2,x=2"), build_mesh("data=4")
    row = np.arange(4.0, dtype=np.float32)
    local = {"row": jax.device_put(row, NamedSharding(mesh, P(("data", "x"))))}
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        checkpoints.save(1, put(state, mesh), local)
        checkpoints.wait()
        found = checkpoints.restore(template(put(state, mesh)), template(local))
        np.testing.assert_array_equal(found.local["row"], row)
    with Checkpoints(tmp_path, IDENTITY, other) as checkpoints:
        moved = {"row": jax.device_put(row, NamedSharding(other, P("data")))}
        assert checkpoints.restore(template(put(state, other)), template(moved)).local is None


def test_another_run_is_refused_by_what_differs(state, tmp_path):
    mesh = build_mesh("data=1")
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        checkpoints.save(1, put(state, mesh))
    with Checkpoints(tmp_path, IDENTITY | {"data": "x"}, mesh) as checkpoints:
        with pytest.raises(ConfigError, match=r"another run \(data differs\)"):
            checkpoints.restore(template(put(state, mesh)))
    with Checkpoints(tmp_path, {"recipe": "z"}, mesh) as checkpoints:
        with pytest.raises(ConfigError, match=r"\(data, normalisation, recipe differ\)"):
            checkpoints.restore(template(put(state, mesh)))


# Orbax leaves the reads it had begun to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_state_of_another_shape_is_refused(state, tmp_path):
    mesh = build_mesh("data=1")
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        checkpoints.save(1, put(state, mesh))
    wider = put(state | {"kernel": np.zeros((6, 10), np.float32)}, mesh)
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        with pytest.raises(ConfigError, match="does not hold this run's state"):
            checkpoints.restore(template(wider))


def test_the_newest_are_kept_and_one_step_is_saved_once(state, tmp_path):
    mesh = build_mesh("data=1")
    with Checkpoints(tmp_path, IDENTITY, mesh, keep=2) as checkpoints:
        for step in (1, 2, 3, 3):
            checkpoints.save(step, put(state | {"step": np.int32(step)}, mesh))
        checkpoints.wait()
        assert checkpoints.latest == 3
        assert int(checkpoints.restore(template(put(state, mesh)), step=2).state["step"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["2", "3"]


def test_what_a_killed_run_left_half_written_is_not_taken_for_a_checkpoint(state, tmp_path):
    mesh = build_mesh("data=1")
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        checkpoints.save(1, put(state, mesh))
    half = tmp_path / "2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "state").write_bytes(b"cut sh")
    with Checkpoints(tmp_path, IDENTITY, mesh) as checkpoints:
        assert checkpoints.latest == 1
        np.testing.assert_array_equal(
            checkpoints.restore(template(put(state, mesh))).state["kernel"], state["kernel"]
        )
    assert not half.exists()


def test_a_step_that_gives_up_its_buffers_may_follow_at_once(tmp_path):
    """`save` returns while files are being written; the next step overwrites the arrays in place."""
    sharding = NamedSharding(build_mesh("data=2"), P("data"))
    template = jax.ShapeDtypeStruct((4_000_000,), jnp.float32, sharding=sharding)
    double = jax.jit(lambda a: 2.0 * a, donate_argnums=0)
    value = jax.device_put(jnp.ones(template.shape), sharding)
    with Checkpoints(tmp_path, IDENTITY, build_mesh("data=2"), keep=5) as checkpoints:
        for step in range(4):
            checkpoints.save(step, {"a": value})
            value = double(double(value))
        checkpoints.wait()
        for step in range(4):
            found = checkpoints.restore({"a": template}, step=step).state["a"]
            np.testing.assert_array_equal(found, 4.0**step)
