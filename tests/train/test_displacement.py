"""Examples from suites of fields, turned and drawn by (seed, step); the loss on any mesh."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError
from galaxyjax.fields.gravity import Force, density
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import FieldSuite, simulate_fields
from galaxyjax.train.displacement import DisplacementLoss, DisplacementSuite, turned
from galaxyjax.train.field import LAYOUT, FieldBatch

RANGES = tuple(
    Range(name, 0.9 * value, 1.1 * value)
    for name, value in dict(Omega_m=0.3, Omega_b=0.05, h=0.7, n_s=0.96, sigma_8=0.8).items()
)
SUITE = FieldSuite(
    seed=5,
    runs=3,
    cells=8,
    box_size=32.0,
    ranges=RANGES,
    redshifts=(1.0, 0.0),
    steps=3,
    force=Force(refine=1),
)
MODEL = Displacement(spacing=4.0, widths=(4,), blocks=(1,), steps=2, refine=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    simulate_fields(SUITE, folder, build_mesh("x=1"))
    return DisplacementSuite(MODEL, SUITE, held_out_runs=1, snapshots=2, folder=folder)


@pytest.mark.slow
def test_a_turned_box_has_the_same_matter_turned():
    """A symmetry of the cube about site 0: the painted density is the same numbers in other places."""
    rng, mesh = np.random.default_rng(3), build_mesh("x=1")
    field = rng.normal(size=(8, 8, 8, 12)).astype(np.float32)
    target = rng.normal(size=(8, 8, 8, 6)).astype(np.float32)
    before = np.sort(np.asarray(density(jnp.asarray(field[..., :3]), 8.0, mesh)).ravel())
    for seed in range(6):
        made, _, _ = turned((field, None, target), np.random.default_rng(seed))
        after = np.sort(np.asarray(density(jnp.asarray(made[..., :3]), 8.0, mesh)).ravel())
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_batches_are_a_function_of_seed_and_step(source):
    mesh = build_mesh("data=2,x=2,y=2")
    one, again, other = (source.batch(mesh, 2, 1, step) for step in (7, 7, 8))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.field, other.field)
    alone = source.batch(build_mesh("x=1"), 2, 1, 7)
    np.testing.assert_array_equal(one.field, alone.field)


def test_features_and_target_add_up_to_the_run(source):
    """Coarse displacement plus target is the simulation's, in cells."""
    from galaxyjax.simulate.fields import read_run, run_paths

    run = read_run(run_paths(source._folder)[2])
    held_out = source.held_out(build_mesh("x=1"), 1)[0]  # the last run, at z = 0
    whole = held_out.field[0, ..., :3] + held_out.target[0, ..., :3]
    np.testing.assert_allclose(np.asarray(whole) * MODEL.spacing, run.displacement[-1], atol=1e-4)


def test_the_loss_is_zero_for_the_truth_and_equal_on_eight_devices(source):
    found = []
    # A halo no wider than a block of 4 cells; boxes of 8 move less than 3.
    loss = DisplacementLoss(halo=4, floor=0.05)
    for shape in ("x=1", "x=2,y=2"):
        mesh = build_mesh(shape)
        batch = source.batch(mesh, 1, 0, 0)

        def value(prediction, batch, mesh=mesh, loss=loss):
            inside = lambda p, b: jax.lax.pmean(loss(p, b, ("x", "y")), mesh.axis_names)  # noqa: E731
            return jax.shard_map(inside, mesh=mesh, in_specs=(LAYOUT.field, LAYOUT), out_specs=P())(
                prediction, batch
            )

        assert float(jax.jit(value)(batch.target, batch)) < 1e-8
        start = jnp.zeros_like(batch.target)
        found.append(jax.jit(jax.value_and_grad(value))(start, FieldBatch(*batch)))
    (one, slope), (several, slopes) = found
    absolute = float(jax.jit(partial(value, loss=replace(loss, floor=None)))(start, batch))
    assert one == pytest.approx(absolute / (absolute + 0.05), rel=1e-4)
    np.testing.assert_allclose(several, one, rtol=1e-4)
    np.testing.assert_allclose(slopes, slope, atol=1e-4 * float(jnp.abs(slope).max()))


def test_a_suite_without_folds_or_folder_is_refused(source):
    with pytest.raises(ConfigError, match="both folds need one"):
        DisplacementSuite(MODEL, replace(SUITE, runs=1), held_out_runs=1)
    with pytest.raises(ConfigError, match="1 held-out runs are 2 examples, less than a batch of 4"):
        source.held_out(build_mesh("x=1"), 4)
    with pytest.raises(ConfigError, match="no folder of runs"):
        DisplacementSuite(MODEL, SUITE, held_out_runs=1).batch(build_mesh("x=1"), 1, 0, 0)
