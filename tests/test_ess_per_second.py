"""Both peers of `benchmarks/ess_per_second.py` are asked about the same posterior, and charged rightly."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Prior, Uniform

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # where a script finds those beside it

import peer_cobaya  # noqa: E402

GROUPS = (("h",), ("S8",), ("A_IA",))


def test_an_evaluation_is_charged_for_the_slowest_thing_that_cobaya_has_not_kept():
    charged = peer_cobaya.Charged(lambda x: 0.0, ["h", "S8", "A_IA"], GROUPS)
    steps = [
        (0.7, 0.8, 1.0),  # slow
        (0.7, 0.8, 2.0),  # fast
        (0.7, 0.9, 1.0),  # middle
        (0.6, 0.9, 1.0),  # slow
        (0.7, 0.9, 3.0),  # fast: both are remembered
        (0.5, 0.9, 1.0), (0.4, 0.9, 1.0), (0.3, 0.9, 1.0),  # slow, and 0.7 is forgotten
        (0.7, 0.9, 1.0),  # slow
        (0.4, 0.9, 2.0),  # fast
    ]  # fmt: skip
    for step in steps:
        charged(**dict(zip(("h", "S8", "A_IA"), step, strict=True)))
    assert charged.counts == {"slow": 6, "middle": 1, "fast": 3}


def test_cobayas_coordinates_are_those_of_the_posterior():
    prior = Prior(
        {
            "S8": Uniform(0.1, 1.3),
            "h": Uniform(0.6, 0.8),
            "A_IA": Uniform(-6.0, 6.0),
            ("dz_1", "dz_2"): CorrelatedNormal((0.1, -0.2), ((0.04, 0.01), (0.01, 0.09))),
            "m_nu": 0.06,
        }
    )
    posterior = Posterior(
        prior, lambda v: v["S8"] * v["h"] + v["A_IA"] * v["dz_1"] + 10 * v["dz_2"] + v["m_nu"]
    )
    coordinates = peer_cobaya.Coordinates(posterior)
    assert coordinates.names == ["S8", "h", "A_IA", "u_dz_1", "u_dz_2"]
    assert coordinates.groups == (("h",), ("S8",), ("A_IA", "u_dz_1", "u_dz_2"))
    u = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    quantities = np.asarray(jax.vmap(posterior.quantities)(u))
    x = coordinates.of_chains(quantities, u).astype(np.float32)
    np.testing.assert_allclose(coordinates.stacked(x), quantities, rtol=1e-5, atol=1e-6)
    for one, here in zip(u, x, strict=True):
        expected = posterior.log_likelihood(prior.constrain(jnp.asarray(one)))
        assert float(coordinates.log_likelihood(here)) == pytest.approx(float(expected), rel=1e-5)


def test_blocks_are_cobayas_own():
    pytest.importorskip("cobaya")
    schemes = peer_cobaya.schemes(GROUPS, {"slow": 1.0, "middle": 0.1, "fast": 0.001})
    assert schemes["one block"] == [[1, ["h", "S8", "A_IA"]]]
    # (1 / 0.1)^0.4 = 2.5, (1 / 0.001)^0.4 = 15.8
    assert schemes["blocks"] == [[1, ["h"]], [2, ["S8"]], [15, ["A_IA"]]]
    assert schemes["dragging"] == [[1, ["h"]], [1, ["S8"]], [15, ["A_IA"]]]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vectorized", "parallel"])
def test_numpyros_chains_find_a_normal_distribution(method):
    pytest.importorskip("numpyro")
    import peer_shear

    prior = Prior(
        {"S8": Uniform(0.1, 1.3), ("dz_1", "dz_2"): CorrelatedNormal((0.0, 0.0), ((1.0, 0.6), (0.6, 1.0)))}
    )
    posterior = Posterior(prior, lambda v: -0.5 * ((v["S8"] - 0.76) / 0.02) ** 2)
    settings = {
        "chains": 4, "block": 25, "warmup": 200, "seed": 0, "min_draws": 100, "max_draws": 1000, "ess": 400.0,
        "r_hat": 1.01,
    }  # fmt: skip
    start = prior.unconstrain({"S8": 0.7, "dz_1": 0.0, "dz_2": 0.0})
    got = peer_shear.sample(posterior, start, method, settings)
    flat = got["values"].reshape(-1, 3)
    assert got["names"] == ("S8", "dz_1", "dz_2") and got["values"].shape[0] == 4
    # Within 5 standard errors of 400 effective draws.
    assert flat[:, 0].mean() == pytest.approx(0.76, abs=5 * 0.02 / 20)
    assert flat[:, 0].std() == pytest.approx(0.02, rel=5 / np.sqrt(800))
    assert np.corrcoef(flat.T)[1, 2] == pytest.approx(0.6, abs=5 * (1 - 0.36) / 20)
    assert got["gradients"] >= len(flat) and min(got[f"{part}_s"] for part in ("warmup", "sampling")) > 0.0


@pytest.mark.slow
def test_the_peers_spectrum_is_that_of_its_networks():
    pytest.importorskip("cosmopower_jax")
    import peer_shear

    from galaxyjax.emulator.foreign_spectrum import cosmopower_jax

    ours, peer = cosmopower_jax(), peer_shear.Spectrum()
    theta = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.67, "n_s": 0.965, "ln10A_s": 3.05}
    k, z = np.geomspace(1e-3, 10.0, 200, dtype=np.float32), np.array([0.1, 0.9, 2.5], np.float32)
    rows = jnp.broadcast_to(k, (3, 200))
    c_min = jnp.float32(2.5)
    found = jax.jit(
        lambda: peer.predict({**theta, "c_min": c_min}, k=rows, z=jnp.asarray(z), output="nonlinear")
    )()
    known = ours.predict({**theta, "c_min": 2.5, "eta_0": 0.68}, k=k, z=z, output="nonlinear")
    np.testing.assert_allclose(found, known, rtol=3e-3)
    sigma8 = jax.jit(lambda: peer.sigma8(theta, jnp.zeros(1)))()
    np.testing.assert_allclose(sigma8, ours.sigma8(theta), rtol=1e-3)


@pytest.mark.slow
def test_a_quick_run_compares_all_three(tmp_path):
    for package in ("numpyro", "cosmopower_jax", "cobaya", "camb"):
        pytest.importorskip(package)
    path = tmp_path / "found.json"
    words = [sys.executable, str(BENCHMARKS / "ess_per_second.py"), "--quick", "--json", str(path)]
    words += ["--ours", "nuts"]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(path.read_text())
    # CAMB at its default accuracy, through Cobaya, has the likelihood of the emulator.
    assert 0.0 < found["peers"]["cobaya"]["apart"] < 0.3
    seconds = found["peers"]["cobaya"]["seconds"]["1"]
    assert seconds["slow"] > seconds["middle"] > seconds["fast"]
    cobaya, cores = found["peers"]["cobaya"], found["peers"]["cobaya"]["cores"]
    for kind, rate in cobaya["rates"].items():
        each = [cores / int(threads) / one[kind] for threads, one in cobaya["seconds"].items()]
        assert rate == pytest.approx(max(each))
    for name, reading in cobaya["readings"].items():
        charged = sum(n / cobaya["rates"][kind] for kind, n in reading["counts"].items())
        assert reading["sampling_s"] == pytest.approx(charged)
        assert (reading["counts"]["fast"] > reading["counts"]["slow"]) == (name != "one block")
    ours, peer = found["ours"]["nuts"], found["peers"]["numpyro"]["parallel"]
    ratio = ours["ess"] / ours["whole_s"] / (peer["ess"] / peer["whole_s"])
    assert found["ratios"]["numpyro"]["ratios"]["nuts"]["whole"] == pytest.approx(ratio)
