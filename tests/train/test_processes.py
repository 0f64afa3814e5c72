"""Two processes of four devices do what one of eight does, also when told to stop, and when killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from galaxyjax.cli.recipe import load_recipe
from galaxyjax.core.files import read_npz
from galaxyjax.mesh.checkpoint import Checkpoints
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.train import field
from tests.train.jobs import Job, run, write_recipe


def weights(job: Job) -> dict[str, bytes]:
    """Every tensor to the last bit."""
    return {name: w.tobytes() for name, w in read_npz(job.folder / "out" / "weights" / "weights.npz").items()}


def read_all(job: Job, recipe) -> None:
    """Every checkpoint that is there can be read whole."""
    training = load_recipe(recipe)[1].TRAINING
    mesh = build_mesh("data=1", jax.devices()[:1])
    template = field.template(training, mesh)
    with Checkpoints(job.folder / "checkpoints", training.identity(), mesh) as checkpoints:
        for step in job.saved:
            found = checkpoints.restore(template, step=step)
            assert int(found.state.step) == step
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.state.params))


def test_two_processes_of_four_devices_train_as_one_of_eight(two_by_four, recipe, tmp_path):
    one = run(recipe, tmp_path, 1, 8)
    (steps, losses), (same, expected) = (
        np.transpose(two_by_four.result()["losses"]),
        np.transpose(one.result()["losses"]),
    )
    np.testing.assert_array_equal(steps, np.arange(1, 21))
    np.testing.assert_array_equal(same, steps)
    assert losses[-5:].mean() < 0.9 * losses[:5].mean()  # it learns
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_a_checkpoint_of_two_processes_goes_on_on_8_4_2_and_1_devices(two_by_four, recipe, tmp_path):
    training, kept = load_recipe(recipe)[1].TRAINING, min(two_by_four.saved)
    expected = {step: loss for step, loss in two_by_four.result()["losses"] if step > kept}
    assert 0 < len(expected) < 20
    first = None
    for sizes in ("data=2,x=2,y=2", "x=2,y=2", "data=2", "data=1"):
        mesh, folder = build_mesh(sizes), tmp_path / sizes
        shutil.copytree(two_by_four.folder / "checkpoints" / str(kept), folder / "checkpoints" / str(kept))
        with Checkpoints(folder / "checkpoints", training.identity(), mesh) as checkpoints:
            found = checkpoints.restore(field.template(training, mesh)).state
        assert found.step.sharding.device_set == set(mesh.devices.flat)
        first = first or jax.device_get(found)
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(first.opt_state))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), first)
        rest = dict(field.train(training, mesh, folder).losses)
        assert rest.keys() == expected.keys()
        np.testing.assert_allclose(list(rest.values()), list(expected.values()), rtol=1e-5)


@pytest.mark.slow
def test_told_to_stop_at_one_rank_then_killed_thrice_the_weights_are_the_same(two_by_four, recipe, tmp_path):
    job = Job(recipe, tmp_path, 2, 4)
    job.until(lambda: job.saved)
    os.kill(job.ranks()[1], signal.SIGTERM)
    assert job.end() == 143, job.text()
    # Both ranks wrote their part of this checkpoint, so both stopped at its step.
    assert job.saved[-1] < 20 and job.text().count("[1] ") > 0

    random = np.random.default_rng(5)
    for _ in range(3):
        job, before = Job(recipe, tmp_path, 2, 4), job.saved[-1]
        job.until(lambda job=job, before=before: job.saved[-1] > before, or_ended=True)
        time.sleep(random.uniform(0.0, 0.3))
        job.kill()
    read_all(job, recipe)
    last = run(recipe, tmp_path, 2, 4)
    assert weights(last) == weights(two_by_four)


@pytest.mark.slow
def test_killed_twenty_times_at_random_moments(tmp_path):
    """While it starts, compiles, restores, computes or saves. A run that gets through starts anew."""
    recipe = write_recipe(tmp_path / "recipe" / "longer", steps=60, save=4)
    whole = run(recipe, tmp_path / "whole", 1, 8)
    random, kills, ended, seen = np.random.default_rng(6), 0, 0, set()
    while kills < 20:
        folder = tmp_path / f"killed_{ended}"
        job = Job(recipe, folder, 1, 8)
        # So many new checkpoints first; with none the kill may fall on the start.
        new, before = random.integers(0, 4), job.saved[-1:]
        if new:
            goal = sum(before) + 4 * new
            job.until(lambda job=job, goal=goal: sum(job.saved[-1:]) >= goal, or_ended=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert job.process.wait(random.uniform(0.0, 1.0 if new else 15.0)) == 0, job.text()
            assert weights(job) == weights(whole)
            ended += 1
            continue
        job.kill()
        kills += 1
        read_all(job, recipe)
        seen |= {tuple(job.saved)}
        print(f"kill {kills}, run {ended}: checkpoints {before} -> {job.saved}", flush=True)
    assert len(seen) > 5  # the kills did hit runs that were under way
    assert weights(run(recipe, folder, 1, 8)) == weights(whole)


FAILING = """
import jax
from dataclasses import dataclass


@dataclass(frozen=True)
class Failing(real.SecondOrder):
    def batch(self, mesh, size, seed, step):
        if step == 5 and jax.process_index() == 1:
            raise OSError(5, "Input/output error", "/data/block_1.hdf5")
        return super().batch(mesh, size, seed, step)


TRAINING = replace(TRAINING, source=Failing())
"""


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_job_with_its_message(tmp_path):
    recipe = write_recipe(tmp_path / "recipe" / "failing", more=FAILING)
    job = Job(recipe, tmp_path / "run", 2, 4)
    job.until(lambda: job.saved)
    began = time.monotonic()
    assert job.end() == 2
    assert time.monotonic() - began < 60  # and not JAX's five minutes of waiting for the others
    assert "[1] galaxyjax: /data/block_1.hdf5: Input/output error" in job.text()
    assert "rank 1 ended with code" in job.text()
    read_all(job, recipe)


@pytest.mark.slow
def test_the_watchdog_ends_a_job_with_a_rank_that_hangs(recipe, tmp_path):
    job = Job(recipe, tmp_path, 2, 4, "--hang-after", "60")
    job.until(lambda: job.saved)
    os.kill(job.ranks()[1], signal.SIGSTOP)
    assert job.end() == 124, job.text()
    assert "has not ended after" in job.text() and "a rank hangs" in job.text()
    assert not job.ranks_left()
    read_all(job, recipe)
