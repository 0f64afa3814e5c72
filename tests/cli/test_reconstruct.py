"""`galaxyjax reconstruct` and `massmap`: files in, maps out; a stopped run goes on; one-line errors."""

import json

import h5py
import numpy as np
import pytest

from galaxyjax.core.files import write_npz


def test_what_cannot_be_done_is_said_in_one_line(command, tmp_path):
    for words, said in (
        (("reconstruct", tmp_path / "none.h5", "--out", tmp_path / "a"), "no such file"),
        (("reconstruct", "mock", "--out", tmp_path / "a", "--bias", "b9"), "unknown bias 'b9'"),
        (("reconstruct", "mock", "--out", tmp_path / "a", "--fix", "h=x"), "NAME=VALUE"),
        (("massmap", tmp_path / "none.npz", "--out", tmp_path / "b", "--pixel", "1"), "no such file"),
    ):
        done = command(*words)
        assert done.code == 2 and said in done.err, done.err
        assert done.err.count("\n") == 1


@pytest.mark.slow
def test_a_mock_tracer_is_reconstructed_and_taken_up_again(command, tmp_path):
    what = ("--cells", 8, "--box-size", 80, "--evolution", "linear", "--bias", "b1", "--chains", 2, "--json")
    words = ("reconstruct", "mock", "--out", tmp_path, *what)
    first = command(*words, "--max-draws", 20)
    assert first.code == 0, first.err
    again = json.loads(command(*words, "--max-draws", 200).out)
    assert again["draws"] == 400 and again["gradients"] > json.loads(first.out)["gradients"]
    assert set(again["parameters"]) == {"Omega_m", "sigma_8", "b1"}
    assert len(again["coherence"]["posterior"]) == len(again["k"])
    with h5py.File(tmp_path / "posterior.h5") as file:
        assert file["mean"].shape == file["std"].shape == file["linear_reconstruction"].shape == (8, 8, 8)
        assert file["chains/parameters"].shape == (2, 200, 3)
        assert np.isfinite(file["mean"][()]).all() and (file["std"][()] > 0).all()
    assert (tmp_path / "reconstruction.png").stat().st_size > 10_000


@pytest.mark.slow
def test_shear_becomes_convergence(command, tmp_path):
    numbers = np.random.default_rng(0)
    std = np.where(numbers.random((16, 16)) > 0.2, 0.02, 0.0)
    shear = [0.02 * numbers.normal(size=std.shape) for _ in range(2)]
    arrays = dict(zip(("gamma1", "gamma2", "std1", "std2"), (*shear, std, std), strict=True))
    write_npz(tmp_path / "shear.npz", arrays)
    ell = np.geomspace(50, 40000, 30)
    np.savetxt(tmp_path / "power.txt", [ell, 2e-10 / (1 + (ell / 1000) ** 2)])
    np.save(tmp_path / "truth.npy", 0.01 * numbers.normal(size=std.shape))
    prior = ("--spectrum", tmp_path / "power.txt", "--prior", "lognormal", "--shift", 0.05, "--pixel", 0.5)
    judged = ("--truth", tmp_path / "truth.npy", "--chains", 2, "--max-draws", 100, "--json")
    done = command("massmap", tmp_path / "shear.npz", "--out", tmp_path / "out", *prior, *judged)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["prior"] == "log-normal" and 0.5 < found["noise_scale"] < 1.5
    assert {"kaiser_squires", "wiener", "mean", "coverage"} == set(found["against_truth"])
    with h5py.File(tmp_path / "out" / "mass_map.h5") as file:
        assert file["mean"].shape == (16, 16) and len(file["samples"]) > 10
    assert (tmp_path / "out" / "mass_map.png").stat().st_size > 10_000
