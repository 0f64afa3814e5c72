"""A suite of fields resumes after a kill, refuses foreign folders, and holds what makes its runs again."""

import json
from dataclasses import replace

import h5py
import jax
import numpy as np
import pytest

from galaxyjax.core.background import growth_factor
from galaxyjax.core.errors import ConfigError, DataError, FileError, UnknownName
from galaxyjax.fields.gravity import Force
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.simulate import fields
from galaxyjax.simulate.design import Range

RANGES = (
    Range("Omega_m", 0.2, 0.4), Range("Omega_b", 0.04, 0.06), Range("h", 0.6, 0.8),
    Range("n_s", 0.9, 1.0), Range("sigma_8", 0.7, 0.9),
)  # fmt: skip
SUITE = fields.FieldSuite(
    seed=5, runs=2, cells=8, box_size=64.0, ranges=RANGES, redshifts=(1.0, 0.0), steps=4,
    force=Force(refine=1, scheme="tsc"),
)  # fmt: skip
MESH = build_mesh("data=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    assert fields.simulate_fields(SUITE, folder, MESH) == 2
    return folder


def test_a_kill_loses_nothing_and_nothing_is_done_twice(folder, monkeypatch):
    kept = fields.run_path(folder, 0).stat().st_mtime_ns
    before = fields.read_run(fields.run_path(folder, 1))
    fields.run_path(folder, 1).unlink()

    def killed(file, name, value):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # In the middle of writing: attributes are there, arrays are not.
        patch.setattr(h5py.File, "__setitem__", killed)
        with pytest.raises(KeyboardInterrupt):
            fields.simulate_fields(SUITE, folder, MESH)
    assert not fields.run_path(folder, 1).exists()
    assert fields.simulate_fields(SUITE, folder, MESH) == 1
    assert fields.simulate_fields(SUITE, folder, MESH) == 0
    assert fields.run_path(folder, 0).stat().st_mtime_ns == kept
    again = fields.read_run(fields.run_path(folder, 1))
    np.testing.assert_array_equal(again.displacement, before.displacement)
    assert again.theta == before.theta
    assert [path.name for path in fields.run_paths(folder)] == ["field_00000.h5", "field_00001.h5"]


def test_another_suite_is_refused(folder):
    for other in (replace(SUITE, seed=6), replace(SUITE, force=Force(refine=2)), replace(SUITE, steps=5)):
        with pytest.raises(ConfigError, match="another suite"):
            fields.simulate_fields(other, folder, MESH)
    assert replace(SUITE, runs=50).identity() == SUITE.identity()


def test_the_file_alone_makes_the_run_again(folder):
    """White noise as its attribute says, the suite's settings, the numbers of theta: the same particles."""
    with h5py.File(fields.run_path(folder, 1)) as file:
        told, attributes = json.loads(file.attrs["suite"]), dict(file.attrs)
        theta = {name: np.float32(value) for name, value in file["theta"].attrs.items()}
        displacement, derivative = file["displacement"][()], file["derivative"][()]
    assert attributes["white_noise"] == "jax.random.normal(fold_in(key(seed), index), (cells,) * 3)"
    key = jax.random.fold_in(jax.random.key(int(attributes["seed"])), int(attributes["index"]))
    noise = jax.random.normal(key, (int(attributes["cells"]),) * 3)
    suite = replace(
        SUITE, redshifts=tuple(told["redshifts"]), steps=told["steps"], z_start=told["z_start"],
        force=Force(**told["force"]), box_size=told["box_size"],
    )  # fmt: skip
    snapshots = jax.jit(lambda theta, noise: fields.run_fields(theta, noise, suite, MESH))(theta, noise)
    for at, (x, v) in enumerate(snapshots):
        np.testing.assert_allclose(x, displacement[at], atol=1e-5)
        np.testing.assert_allclose(v, derivative[at], atol=1e-5)


def test_displacements_grow_as_the_growth_factor(folder):
    run = fields.read_run(fields.run_path(folder, 0))
    assert run.z.tolist() == [1.0, 0.0] and run.displacement.shape == (2, 8, 8, 8, 3)
    assert run.displacement.dtype == run.derivative.dtype == np.float32
    cosmology = fields.cosmology_of(run.theta)
    assert float(cosmology.omega_m) == pytest.approx(run.theta["Omega_m"] * run.theta["h"] ** 2, rel=1e-5)
    growth = growth_factor(cosmology, np.float32(1.0))
    early, late = run.displacement
    # A mesh of 8 Mpc/h cells pulls too weakly, so what was there at the start counts for more.
    assert np.vdot(early, late) / np.vdot(late, late) == pytest.approx(float(growth), rel=0.15)
    _, box_size, z = fields.read_header(fields.run_path(folder, 0))
    assert box_size == 64.0 and z.tolist() == [1.0, 0.0]


def test_a_file_cut_short_is_named(folder, tmp_path):
    whole, broken = fields.run_path(folder, 0).read_bytes(), tmp_path / "field_00000.h5"
    for share in (0.0, 0.1, 0.5, 0.99):
        broken.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FileError, match="field_00000.h5: not a whole run.*delete it"):
            fields.read_run(broken)
    with h5py.File(broken, "w") as file:
        file["z"] = [0.0]
    with pytest.raises(FileError, match="not a whole run"):
        fields.read_run(broken)
    with pytest.raises(FileError, match="no such run"):
        fields.read_run(tmp_path / "field_00009.h5")
    with pytest.raises(FileError, match="holds no N-body runs"):
        fields.run_paths(tmp_path / "nowhere")


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="ranges must be of Omega_m"):
        replace(SUITE, ranges=RANGES[:4])
    for redshifts in ((), (0.0, 1.0), (9.5, 0.0), (1.0, -0.5)):
        with pytest.raises(ConfigError, match="must fall, from below z_start"):
            replace(SUITE, redshifts=redshifts)
    with pytest.raises(ConfigError, match="h is missing"):
        fields.cosmology_of({"Omega_m": 0.3, "Omega_b": 0.05})
    with pytest.raises(UnknownName, match="sigma_8"):
        fields.cosmology_of({"sigma8": 0.8})
    strayed = [(np.full((8, 8, 8, 3), np.nan), np.zeros((8, 8, 8, 3)))] * 2
    with pytest.raises(DataError, match="field_00003.h5: particles strayed further than the halo"):
        fields.write_run(tmp_path / "field_00003.h5", SUITE, 3, {}, strayed)
    assert not list(tmp_path.iterdir())
