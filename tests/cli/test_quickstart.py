"""`quickstart` takes real data where it can, and otherwise a mock, saying so."""

import json
import os
import shutil
from pathlib import Path

import pytest

from galaxyjax.cli import sampling
from galaxyjax.data import fetch


@pytest.fixture
def sampled(monkeypatch):
    """Stand in for the sampler: remembers what was to be sampled, and returns a small summary."""
    calls = []

    def sample_survey(analysis, survey, out, sampler, emulator, devices=None):
        calls.append((survey, out, sampler, emulator, devices))
        numbers = {"mean": 0.75, "std": 0.02, "q16": 0.73, "q84": 0.77}
        summary = {
            "data": survey.name, "data_points": 120, "parameters": {"S8": numbers}, "best_fit_chi2": 130.0,
            "max_rhat": 1.004, "min_ess": 500.0, "divergences": 3, "outside_domain": 2, "gradients": 9,
            "wall_s": 10.0, "converged": True, "at_prior_edge": {},
        }  # fmt: skip
        return summary, {"summary": out / "summary.json"}

    monkeypatch.setattr(sampling, "sample_survey", sample_survey)
    return calls


@pytest.fixture
def no_network(monkeypatch):
    """No data on this machine, and every address out of reach."""

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.delenv("GALAXYJAX_DATA", raising=False)
    monkeypatch.setattr(fetch, "_persist", unreachable)


def test_without_data_and_network_the_mock_stands_in_and_says_so(command, sampled, no_network, tmp_path):
    outcome = command("quickstart", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    ((survey, out, _, emulator, _),) = sampled
    assert survey.name == "mock" and out == tmp_path / "out" and emulator == "matter_power"
    assert "MOCK SURVEY, not real data" in outcome.out and "could not be downloaded" in outcome.out
    # The truth of the mock stands beside the result.
    (row,) = [line.split() for line in outcome.out.splitlines() if line.startswith("S8 ")]
    assert row[1] == "0.750" and row[-1] == "0.7736"
    assert "galaxyjax audit" in outcome.out


def test_json_alone_is_on_stdout(command, sampled, no_network, tmp_path):
    outcome = command("quickstart", "--out", tmp_path / "out", "--json")
    assert outcome.code == 0
    summary = json.loads(outcome.out)
    assert summary["data"] == "mock" and summary["files"]["summary"] == str(tmp_path / "out" / "summary.json")


def test_the_mock_can_be_asked_for(command, sampled, tmp_path):
    outcome = command("quickstart", "--mock", "--seed", 3)
    assert outcome.code == 0 and "Asked for with --mock" in outcome.out
    assert sampled[0][0].name == "mock" and sampled[0][2].seed == 3


def test_with_the_data_at_hand_they_are_used(command, sampled, data_root, tmp_path):
    outcome = command("quickstart", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert sampled[0][0].name == "KiDS-1000"
    assert f"(real data), from {data_root / 'kids1000'}" in outcome.out and "MOCK" not in outcome.out
    assert "cite: Asgari et al. 2021" in outcome.out


def test_altered_data_are_refused_not_replaced(command, failed, sampled, data_root, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "kids1000"
    folder.mkdir(parents=True)
    for name in os.listdir(data_root / "kids1000"):
        shutil.copyfile(data_root / "kids1000" / name, folder / name)
    target = folder / "kids1000_bp.fits"
    target.write_bytes(target.read_bytes()[:-100])
    monkeypatch.setenv("GALAXYJAX_DATA", str(tmp_path / "data"))
    failed(command("quickstart", "--out", tmp_path / "out"), "kids1000_bp.fits", "sha256")
    assert sampled == [] and not (tmp_path / "out").exists()


def test_a_chain_that_has_not_converged_says_so(capsys):
    summary = {
        "data": "other", "data_points": 5, "parameters": {}, "best_fit_chi2": 1.0, "max_rhat": 1.2,
        "min_ess": 9.0, "divergences": 0, "outside_domain": 0, "gradients": 1, "wall_s": 1.0,
        "converged": False, "at_prior_edge": {"h": 0.2},
    }  # fmt: skip
    sampling.show(summary, {"summary": Path("x/summary.json")})
    said = capsys.readouterr().out
    assert "NOT CONVERGED" in said and "h: 20% of the draws are at the edge of its prior" in said


def test_a_mesh_carries_the_four_chains(command, sampled, no_network, tmp_path):
    words = ("quickstart", "--mock", "--out", tmp_path)
    assert command(*words).code == command(*words, "--mesh", "data=2").code == 0
    assert sampled[0][4] is None and len(sampled[1][4]) == 2
