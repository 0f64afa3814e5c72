"""`galaxyjax predict` and `shelf`: the numbers are the emulator's own."""

import csv
import json

import numpy as np
import pytest

from galaxyjax.cli.predict import FIDUCIAL
from galaxyjax.core.files import read_npz


@pytest.fixture
def emulator(emulator_folder):
    import galaxyjax

    return galaxyjax.load(emulator_folder)


def test_json_is_what_the_emulator_says(command, emulator_folder, emulator):
    outcome = command(
        "predict", emulator_folder, "--set", "h=0.7", "w0=-0.9", "--set", "omega_cdm=0.13", "--z", 0, 1.5,
        "--k", 0.01, 0.1, 1, "--output", "linear", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    theta = {**FIDUCIAL, "h": 0.7, "w0": -0.9, "omega_cdm": 0.13}
    expected = emulator.predict(theta, k=np.array([0.01, 0.1, 1.0]), z=np.array([0.0, 1.5]), output="linear")
    np.testing.assert_allclose(found["power"], expected, rtol=1e-5)
    assert found["theta"]["w0"] == -0.9 and found["theta"]["m_nu"] == 0.06 and found["theta"]["n_s"] == 0.9649
    assert found["unit"] == "(Mpc/h)^3"
    np.testing.assert_allclose(found["derived"]["sigma_8"], emulator.derived(theta)["sigma_8"], rtol=1e-5)


def test_the_table_and_the_files_agree(command, emulator_folder, tmp_path):
    outcome = command("predict", emulator_folder, "--z", 0, 1, "--out", tmp_path / "p.npz")
    assert outcome.code == 0 and f"wrote {tmp_path / 'p.npz'}" in outcome.out
    arrays = read_npz(tmp_path / "p.npz")
    assert arrays["power"].shape == (2, 200)
    rows = [line.split() for line in outcome.out.splitlines()]
    last = next(row for row in reversed(rows) if row and row[0] == "10")
    np.testing.assert_allclose([float(v) for v in last[1:]], arrays["power"][:, -1], rtol=1e-4)

    assert command("predict", emulator_folder, "--z", 0, 1, "--out", tmp_path / "p.csv").code == 0
    with open(tmp_path / "p.csv", encoding="utf-8") as handle:
        about = json.loads(handle.readline().lstrip("# "))
        table = [[float(v) for v in row.values()] for row in csv.DictReader(handle)]
    assert about["output"] == "nonlinear" and about["unit"] == "(Mpc/h)^3" and about["k_unit"] == "h/Mpc"
    table = np.asarray(table)
    np.testing.assert_allclose(table[:, 2].reshape(2, 200), arrays["power"], rtol=1e-6)
    np.testing.assert_allclose(table[:200, 1], arrays["k"], rtol=1e-6)


def test_a_plot_is_drawn(command, emulator_folder, tmp_path):
    outcome = command("predict", emulator_folder, "--plot", tmp_path / "p.png")
    assert outcome.code == 0 and (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_derived_outputs_have_no_unit_in_the_table(command, emulator_folder):
    outcome = command("predict", emulator_folder, "--output", "baryon_suppression", "--k", 1)
    assert "baryon_suppression\n" in outcome.out and "Mpc)^3" not in outcome.out


@pytest.mark.parametrize(
    "words, said",
    [
        (("--set", "omega_cmd=0.12"), ("unknown parameter 'omega_cmd'", "did you mean omega_cdm")),
        (("--set", "omega_cdm=0.3"), ("omega_cdm", "0.3", "0.255")),
        (("--set", "h"), ("--set h: give NAME=VALUE",)),
        (("--set", "h=high"), ("--set h=high: give NAME=VALUE with a number",)),
        (("--set", "h=0.7", "h=0.8"), ("h is set twice",)),
        (("--set", "h=nan"), ("h",)),
        (("--set", "w0=-0.5", "wa=0.4"), ("w0 + wa <= -0.3",)),
        (("--z", "4"), ("z", "4", "3")),
        (("--k", "100"), ("k", "100", "10")),
        (("--output", "nonliner"), ("unknown output 'nonliner'", "did you mean nonlinear")),
        (("--out", "p.txt"), ("--out p.txt: no table format",)),
        (("--plot", "p.gif"), ("--plot p.gif: no figure format",)),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_line(
    command, failed, emulator_folder, words, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    failed(command("predict", emulator_folder, *words), *said)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_command_leaves_no_file(command, failed, emulator_folder, tmp_path):
    failed(command("predict", emulator_folder, "--out", tmp_path / "p.npz", "--set", "h=2"), "h", "2")
    assert not (tmp_path / "p.npz").exists()


def test_an_emulator_that_is_not_there(command, failed, tmp_path):
    failed(command("predict", "matter_pwr"), "unknown emulator 'matter_pwr'")
    failed(command("predict", tmp_path), "contract.json")


def test_compiled_code_is_kept_where_the_variable_says(command, emulator_folder, cache):
    assert command("predict", emulator_folder, "--k", 0.1).code == 0
    assert any((cache / "compiled").iterdir())


def test_the_shelf_lists_what_is_there_and_what_is_broken(command, emulator_folder, monkeypatch, tmp_path):
    from galaxyjax.emulator import shelf

    (tmp_path / "shelf" / "broken").mkdir(parents=True)
    (tmp_path / "shelf" / "broken" / "contract.json").write_text("{")
    monkeypatch.setattr(shelf, "places", lambda: (emulator_folder.parent, tmp_path / "shelf"))
    outcome = command("shelf")
    assert outcome.code == 0
    assert "small_power 0.0.1" in outcome.out and "0.255" in outcome.out and "w0 + wa <= -0.3" in outcome.out
    assert "broken:" in outcome.out and "contract.json" in outcome.out
    names = {entry["name"]: entry for entry in json.loads(command("shelf", "--json").out)["emulators"]}
    assert names["small_power"]["domain"]["omega_cdm"] == [0.051, 0.255]
    assert "problem" in names["broken"]
