"""Figures and tables of fields say the numbers that they were given."""

from dataclasses import replace

import numpy as np
import pytest

from galaxyjax.core.errors import DataError
from galaxyjax.report import card, field_table, field_validation, fields, style

MODELS = tuple(field_table.MODELS)
K, Z = np.geomspace(0.08, 1.5, 12), np.array([1.0, 0.0])


def curves(size: float, runs: int = 3, shape=(2, 12)) -> dict:
    rng = np.random.default_rng(4)
    sizes = {model: size * (1 + 10 * i) for i, model in enumerate(MODELS)}
    return {model: 1.0 - s * rng.uniform(0.5, 1.0, (runs, *shape)) for model, s in sizes.items()}


@pytest.fixture(scope="module")
def error():
    numbers = {key: 0.01 for key, _, _ in field_table._ROWS}
    numbers |= {"velocity_coherence": 0.99, "momentum_coherence": 0.995, "missing_at_0.5": 0.002}
    models = {model: dict(numbers) for model in MODELS}
    models["lpt1"]["missing_at_0.5"] = 0.15
    return {"runs": 3, "z": 0.0, **models, "slope_error": 0.031}


@pytest.fixture(scope="module")
def result():
    names = ("ratio", "velocity_ratio", "momentum_ratio", "coherence")
    found = {name: curves(0.005) for name in (*names, "velocity_coherence", "momentum_coherence")}
    one = {"k": K[2:8], "emulator": np.linspace(-1, 1, 6), "simulator": np.linspace(-1, 1.02, 6)}
    one |= {"error": 0.02, "theta": {"Omega_m": 0.3, "sigma_8": 0.8}}
    return {"k": K, "z": Z, "theta": np.zeros((3, 5)), **found, "slope": [one, one]}


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(2)
    cubes = {name: rng.lognormal(size=(8, 8, 8)) - 1.0 for name in ("linear", "emulator", "simulation")}
    power = {model: 1e3 * K**-1.5 for model in (*MODELS, "simulation")}
    return {
        "densities": cubes, "k": K, "power": power, "theta": {"Omega_m": 0.3}, "z": 0.0, "box_size": 16.0,
    }  # fmt: skip


def test_a_slice_is_the_mean_of_its_slab_with_x_along_x():
    cube = np.zeros((8, 8, 8))
    cube[2, 5, 0], cube[7, 7, 6] = 7.0, 100.0  # the second lies outside the slab
    figure = fields.slices({"one": cube}, 16.0, depth=4.0)
    (image,) = figure.axes[0].images
    assert image.get_array()[5, 2] == pytest.approx(1.0 + 7.0 / 2.0)  # two layers of 2 Mpc/h
    assert image.get_array().max() == pytest.approx(4.5) and image.get_extent() == [0, 16, 0, 16]


def test_the_difference_vanishes_where_fields_agree(example):
    cubes = {"a": example["densities"]["emulator"], "b": example["densities"]["emulator"].copy()}
    cubes["a"][3, 3, :] = 3.0 * (1.0 + cubes["b"][3, 3, :]) - 1.0
    shift = fields.slices(cubes, 16.0, difference=("a", "b")).axes[2].images[0].get_array()
    rest = np.delete(shift.ravel(), 3 * 8 + 3)
    assert np.abs(rest).max() == 0.0 and shift[3, 3] == pytest.approx(np.log10(3.0))


def test_lines_are_means_of_runs_and_the_band_holds_them_all(result):
    figure = fields.ratios(K, Z, result["ratio"])
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    np.testing.assert_allclose(lines["emulator"].get_ydata(), result["ratio"]["emulator"][:, 1].mean(axis=0))
    lost = fields.missing(K, Z, result["coherence"]).axes[0].lines[-1].get_ydata()
    np.testing.assert_allclose(lost, (1.0 - result["coherence"]["lpt1"][:, 0] ** 2).mean(axis=0))


def test_what_cannot_be_drawn_is_named(example, result):
    with pytest.raises(DataError, match="no density"):
        fields.slices({}, 16.0)
    with pytest.raises(DataError, match=r"one has shape \(8, 8\)"):
        fields.slices({"one": np.zeros((8, 8))}, 16.0)
    with pytest.raises(DataError, match="difference"):
        fields.slices(example["densities"], 16.0, difference=("emulator", "truth"))
    with pytest.raises(DataError, match="'truth' is not among"):
        fields.spectra(K, example["power"], "truth")
    with pytest.raises(DataError, match=r"is not \(runs, 2, 11\)"):
        fields.ratios(K[1:], Z, result["ratio"])


def test_the_table_says_what_is_asked_and_whether_it_is_met(error):
    lines = {line.words: line for line in field_table.lines(error, 2.0)}
    assert lines["P(k) to k = 0.5, mean of runs"].good and lines["P(k) to k = 1, mean of runs"].good is None
    assert lines["1 - r² of density at k = 0.5"][1:3] == ("1LPT's / 10", ("2.0e-03",) * 4 + ("1.5e-01",))
    assert lines["1 - r² of density at k = 0.5"].good  # 0.002 is less than 0.15 / 10
    assert lines["r of velocity to k = 0.5, smallest"].good
    assert not lines["d ln P / d Omega_m"].good
    # On a lattice half as far apart, the same modes of the lattice.
    assert field_table.lines(error, 1.0)[0].words == "P(k) to k = 1, mean of runs"


def test_the_page_has_every_number_and_figure(error, result, example, contract, tmp_path):
    contract = replace(contract, family="displacement", hyperparameters={"spacing": 2.0})
    page = field_validation.write_field_validation(tmp_path, contract, error, result, example)
    text = page.read_text(encoding="utf-8")
    for words, asked, *values in field_table.rows(error, 2.0):
        assert (
            words in text and asked.replace("'", "&#x27;") in text and all(value in text for value in values)
        )
    assert '<td class="bad">3.1% ✕</td>' in text and "3 runs" in text
    pictures = {"slices", "spectra", "ratios", "missing", "flows", "slope"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures
    made = card.card(replace(contract, error={"fields": error}))
    assert "white_noise" in made and "| d ln P / d Omega_m | 3% | 3.1% |" in made and "wavenumber" not in made


def test_a_box_is_drawn_whole(example, tmp_path):
    power = {"linear field": K, "linear theory": K, "emulator": 2.0 * K}
    figure = fields.box(example["densities"], 16.0, K, power, "linear field")
    ratio = [line.get_ydata() for line in figure.axes[-1].lines if len(line.get_ydata()) == len(K)]
    np.testing.assert_allclose(ratio[-1], 2.0)
    assert style.save(figure, tmp_path / "box.png").stat().st_size > 10_000
