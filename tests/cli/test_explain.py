"""`galaxyjax explain`: figures, numbers, and one line for what has no meaning."""

import json

import numpy as np

from galaxyjax.core.files import read_npz


def test_a_spectrum_explained(command, failed, emulator_folder, tmp_path):
    out = tmp_path / "why"
    words = ("explain", emulator_folder, "--output", "linear", "--set", "omega_cdm=0.13", "--out", out)
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "shares add up" in outcome.out
    for name in ("responses.png", "shares.png", "explained.npz"):
        assert (out / name).stat().st_size > 0
    arrays = read_npz(out / "explained.npz")
    result = json.loads(command(*words, "--json").out)
    assert result["completeness"] < 1e-8 and result["theta"]["omega_cdm"] == 0.13
    shares = sum(arrays[f"attribution.{name}"] for name in result["theta"])
    np.testing.assert_allclose(shares, arrays["change"], atol=1e-8)
    for more, said in (
        (("--cells", 16), "--cells has no meaning"),
        (("--seed", 1), "--seed has no meaning"),
        (("--set", "h=2"), "h = 2 is above 0.85"),
        (("--output", "cb"), "unknown output 'cb'"),
        (("--z", 9), "z = 9 is above 3"),
    ):
        failed(command("explain", emulator_folder, "--out", tmp_path / "no", *more), said)
    assert not (tmp_path / "no").exists()
    failed(command("explain", "nbody_field", "--truth"), "--truth has no meaning")
    failed(command("explain", "nbody_field", "--cells", 4), "give 8 or more")


def test_a_response_to_baryons_explained(command, failed, tmp_path):
    words = ("explain", "baryon_response", "--set", "sigma_gas=-4", "jet=0.5", "--out", tmp_path / "why")
    result = json.loads(command(*words, "--json").out)
    arrays = read_npz(tmp_path / "why" / "explained.npz")
    assert result["output"] == "response" and result["completeness"] < 1e-6
    # Stars were not changed; gas and jets make the whole of it, and less power where gas has left.
    assert np.abs(arrays["attribution.sigma_star"]).max() == 0.0
    assert arrays["change"][np.argmin(np.abs(arrays["k"] - 5.0))] < -0.02
    failed(command("explain", "baryon_response", "--truth"), "--truth has no meaning")
