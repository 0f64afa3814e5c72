"""`galaxyjax infer` on the mock survey: everything it promises to write, from a few draws."""

import json

import numpy as np
import pytest

import galaxyjax
from galaxyjax.cli import main
from galaxyjax.core.errors import GalaxyjaxError

FILES = {
    "chains.nc", "chain_1.txt", "chain_2.txt", "chain.paramnames", "chain.ranges", "summary.json",
    "config.json", "survey.npz", "state.npz", "corner.png", "band_powers.png", "traces.png", "ranks.png",
}  # fmt: skip
CONFIG = """
from galaxyjax.infer.sample import Sampler
from galaxyjax.infer.surveys.kids1000 import KiDS1000

ANALYSIS = KiDS1000(n_s=0.966)
SURVEY = "mock"
SAMPLER = Sampler(chains=4, block=10, warmup=(1, 2), min_draws=10, max_draws=5000, seed=1)
"""
SHORT = ("--chains", 2, "--max-draws", 40, "--mesh", "data=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run, its exit code and its folder."""
    try:
        galaxyjax.load("matter_power")
    except GalaxyjaxError as missing:
        pytest.skip(f"needs the emulator matter_power on the shelf: {missing}")
    folder = tmp_path_factory.mktemp("infer")
    (folder / "mine.py").write_text(CONFIG)
    words = ("infer", folder / "mine.py", "--out", folder / "run", *SHORT)
    return main([str(word) for word in words]), folder / "run"


@pytest.fixture(scope="module")
def summary(run):
    return json.loads((run[1] / "summary.json").read_text(encoding="utf-8"))


def test_everything_is_written_and_nothing_else(run):
    code, folder = run
    assert code == 0
    assert {path.name for path in folder.iterdir()} == FILES


def test_the_summary_has_what_programs_read(summary):
    for name in ("parameters", "S8", "max_rhat", "min_ess", "gradients", "divergences", "wall_s", "data"):
        assert name in summary
    assert summary["data"] == "mock" and summary["best_fit_chi2"] > 50.0
    assert set(summary["S8"]) >= {"mean", "std", "q16", "q84"}
    assert summary["converged"] is False and summary["draws"] == 40 and summary["chains"] == 2
    assert summary["fixed"]["n_s"] == 0.966


def test_derived_columns_are_what_their_names_say(run):
    """S8 = sigma_8 sqrt(Omega_m / 0.3), H0 = 100 h, omega_m from its parts, draw by draw."""
    from galaxyjax.infer.chains import read_columns

    columns = read_columns(run[1])
    np.testing.assert_allclose(
        columns["S8"], columns["sigma_8"] * np.sqrt(columns["Omega_m"] / 0.3), rtol=1e-4
    )
    np.testing.assert_allclose(columns["H0"], 100.0 * columns["h"], rtol=1e-5)
    matter = columns["omega_b"] + columns["omega_cdm"] + 0.06 / 93.1
    np.testing.assert_allclose(columns["omega_m"], matter, rtol=1e-4)
    np.testing.assert_allclose(columns["Omega_m"], matter / columns["h"] ** 2, rtol=1e-4)


def test_the_mocks_truth_is_recovered(summary):
    from galaxyjax.simulate.mock import load_truth

    truth, found = load_truth()["derived"]["S8"], summary["S8"]
    # A handful of draws fixes the mean to a fraction of sigma; the noise of the mock may be 3.
    assert abs(found["mean"] - truth) < 3.5 * found["std"]
    assert 0.01 < found["std"] < 0.06


def test_getdist_reads_the_chains(run, summary):
    getdist = pytest.importorskip("getdist")
    samples = getdist.loadMCSamples(str(run[1] / "chain"), settings={"ignore_rows": 0})
    assert samples.mean("S8") == pytest.approx(summary["S8"]["mean"], rel=1e-5)


def test_the_same_command_again_takes_the_run_up(command, run, summary):
    outcome = command("infer", run[1].parent / "mine.py", "--out", run[1], *SHORT, "--json")
    assert outcome.code == 0, outcome.err
    again = json.loads(outcome.out)
    assert again["S8"]["mean"] == summary["S8"]["mean"] and again["gradients"] == summary["gradients"]
    assert again["files"]["summary"] == str(run[1] / "summary.json")


def test_another_analysis_does_not_overwrite_it(command, failed, run, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        "from galaxyjax.infer.surveys.kids1000 import KiDS1000\n"
        "ANALYSIS = KiDS1000(logT_AGN=7.8)\nSURVEY = 'mock'\n"
    )
    failed(command("infer", config, "--out", run[1]), str(run[1]), "another configuration")


@pytest.mark.parametrize(
    "words, said",
    [
        (("kids100",), "unknown analysis (or a .py file) 'kids100': did you mean kids1000?"),
        (("none.py",), "none.py: no such file"),
        (("kids1000", "--survey", "moc"), "unknown survey (or an .npz file) 'moc': did you mean mock?"),
        (("kids1000", "--survey", "none.npz"), "none.npz: no such file"),
        (("kids1000", "--survey", "mock", "--emulator", "nothing"), "unknown emulator 'nothing'"),
        (("kids1000", "--chains", "1"), "Sampler.chains is 1"),
        (("kids1000", "--chains", "few"), "--chains"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_leaves_nothing(command, failed, words, said, tmp_path):
    failed(command("infer", *words, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


def test_a_missing_out_is_named(command, failed):
    failed(command("infer", "kids1000"), "missing: --out DIR")


@pytest.mark.parametrize(
    "text, said",
    [
        ("ANALYSIS = 3\n", "ANALYSIS is a int; give a KiDS1000"),
        ("x = 1\n", "ANALYSIS is missing"),
        ("ANALYSIS = (\n", "does not run: SyntaxError"),
        ("import nothing_of_the_kind\n", "does not run: ModuleNotFoundError"),
    ],
)
def test_a_configuration_that_is_none_is_named(command, failed, text, said, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(text)
    failed(command("infer", config, "--out", tmp_path / "out"), "mine.py", said)


def test_audit_needs_a_finished_run(command, failed, tmp_path):
    failed(command("audit", tmp_path), "config.json: no such file")
    failed(command("audit", tmp_path, "--workers", 0), "--workers 0: give 1 or more")


def test_audit_over_a_mesh_says_what_it_says_on_one_device(run):
    """With the emulator's own spectra for truth chi2 differs by a spline alone; 5 draws on 4 devices."""
    from concurrent.futures import ThreadPoolExecutor

    from galaxyjax.infer.audit import audit
    from galaxyjax.mesh.topology import build_mesh

    emulator = galaxyjax.load("matter_power")

    def truth(theta, z, k, outputs):
        return {output: emulator.predict(theta, z=z, k=k, output=output) for output in outputs}

    with ThreadPoolExecutor(1) as pool:
        one, four = (
            audit(run[1], 5, emulator, pool, truth, mesh) for mesh in (None, build_mesh("data=4,x=2"))
        )
    (run[1] / "audit.json").unlink()
    assert one["delta_chi2"]["max_abs"] < 0.05 and one["samples"] == 5
    assert len(set(one["chi2_emulator"])) == 5
    for name in ("chi2_emulator", "chi2_truth"):
        np.testing.assert_allclose(four[name], one[name], rtol=1e-5)


@pytest.mark.slow
def test_audit_holds_the_chain_against_camb(command, run):
    pytest.importorskip("camb")
    outcome = command("audit", run[1], "--samples", 4, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["samples"] == 4 and report["of"] == 80
    # The emulator is trained to 0.1%: chi2 of this survey must not see it.
    assert report["delta_chi2"]["max_abs"] < 0.5
    assert json.loads((run[1] / "audit.json").read_text(encoding="utf-8")) == report
    (run[1] / "audit.json").unlink()
