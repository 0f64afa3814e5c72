"""Figures and tables of baryons say the numbers that they were given."""

import numpy as np
import pytest

from galaxyjax.report import hydro_table, style
from galaxyjax.report.hydro import box, diagrams
from galaxyjax.report.hydro_validation import hydro_figures, write_hydro_validation

K = np.geomspace(0.3, 4.0, 8)
FIELDS = ("gas", "pressure", "stars")


def field(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    gas = np.exp(rng.normal(size=(8, 8, 8)))
    return {"matter": gas, "gas": gas, "temperature": 1e4 * gas, "pressure": 10 * gas**2, "stars": 0.1 * gas}


@pytest.fixture(scope="module")
def error():
    numbers = {key: 0.99 if larger else 0.01 for key, _, _, _, larger in hydro_table._ROWS}
    models = {model: dict(numbers) for model in hydro_table.MODELS}
    models["emulator"]["pressure_power"] = 0.31
    tests = {"pdf": {"gas": 0.4, "temperature": 0.003}, "power": {"gas": 0.2}}
    agreement = {"gas_shift": 0.01, "gas_spread": 0.2, "gas_off": 0.1}
    return {
        "runs": 2,
        "fields": 4,
        "z": [0.0, 2.0],
        "draws": 9,
        **models,
        "tests": tests,
        "agreement": agreement,
    }


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(3)
    models = tuple(hydro_table.MODELS)
    near = lambda: {m: 1.0 + 0.03 * rng.normal(size=(4, 8)) for m in models}  # noqa: E731
    rows = np.array([[5000, 4.0, 0.2], [900, 5.0, 0.3], [300, 6.0, 0.3]])
    decades = [{m: rows for m in ("truth", *models)} for _ in range(4)]
    theta = [{"Omega_m": 0.3, "sigma_8": 0.8}] * 4
    found = {"ratio": {n: near() for n in FIELDS}, "coherence": {n: near() for n in FIELDS}}
    mass = {m: np.ones(4) for m in models}
    z = np.array([2.0, 0.0, 2.0, 0.0])
    return {"k": K, "z": z, "theta": theta, "decades": decades, "stellar_mass": mass, **found}


def test_lines_say_what_is_asked_and_whether_it_is_met(error):
    found = {line.words: line for line in hydro_table.lines(error, 0.78125)}
    assert found["P of gas to k = 2, mean of runs"].values[0] == "1%"
    assert found["P of gas to k = 2, mean of runs"].good
    assert found["P of pressure to k = 2, mean of runs"].good is False
    assert found["r of gas to k = 2, smallest of any run"].asked == "0.97"
    cold = found["PDF of temperature: p of truth and samples alike"]
    assert cold.good is False and cold.values == ("", "0.003", "", "")
    assert len(hydro_table.headers(error)) == len(hydro_table.rows(error, 0.78125)[0])
    assert found["mean of draws over the mean head, ln of gas"].values[1] == "+0.01"
    loud = {**error, "samples": {**error["samples"], "pressure_power": 2.54}}
    found = {line.words: line for line in hydro_table.lines(loud, 0.78125)}
    assert found["P of pressure to k = 2, mean of runs"].values[1] == "254%"
    fine = [line.words for line in hydro_table.lines(error, 0.390625)]
    assert "P of gas to k = 4, mean of runs" in fine


def test_the_page_has_every_figure_and_number(error, result, tmp_path):
    from galaxyjax.cli.recipe import load_recipe

    contract = load_recipe("emulators/hydro_field")[1].contract()
    shown = [{"fields": {"simulation": field(1), "emulator": field(2)}, "z": z, "theta": result["theta"][0]}
             | {"box_size": 25.0} for z in (2.0, 0.0)]  # fmt: skip
    page = write_hydro_validation(tmp_path, contract, error, result, shown).read_text()
    assert "31%" in page and "No AGN and no winds" in page and page.count("<img") == 5
    assert set(hydro_figures(result, shown)) == {
        "slices_z2",
        "slices_z0",
        "phases_z2",
        "phases_z0",
        "spectra",
    }
    assert np.load(tmp_path / "baryons.npz")["ratio.gas.emulator"].shape == (4, 8)


def test_a_box_and_a_diagram_draw(tmp_path):
    maps = {"compton_y": np.exp(field(1)["gas"][0]) * 1e-7, "xray": np.exp(field(2)["gas"][0]) * 1e-10}
    for name, figure in (
        ("box", box(field(1), maps, 25.0)),
        ("diagram", diagrams({"truth": (field(1)["gas"], field(1)["temperature"])})),
    ):
        assert style.save(figure, tmp_path / f"{name}.png", dpi=60).stat().st_size > 1000
