"""Exact tests of draws, and tables of temperatures: each against numbers made to be told apart, or not."""

import numpy as np
import pytest
from scipy.stats import kstest

from galaxyjax.mesh.topology import build_mesh
from galaxyjax.validate import hydro, hydro_samples


def boxes(count, rng, power=1.0):
    """Log-normal boxes of baryons with one share of stars."""
    made = []
    for _ in range(count):
        gas = np.exp(rng.normal(0.0, power, (8, 8, 8)))
        made.append({"gas": gas, "stars": 0.1 * gas, "temperature": 1e4 * gas, "pressure": 10.0 * gas**2})
    return made


def test_one_more_draw_is_told_from_no_other():
    """p is uniform when the truth is a draw, to the steps of a rank among 20; of a wider one it is least."""
    rng, mesh = np.random.default_rng(5), build_mesh("x=1")
    same = [hydro_samples.tests(t, boxes(19, rng), 25.0, mesh) for t in boxes(12, rng)]
    for kind in ("pdf", "power"):
        p = np.array([part[kind]["gas"] for part in same])
        assert kstest(p - rng.uniform(0, 0.05, len(p)), "uniform").pvalue > 0.01
        assert 0.0 < hydro_samples.together(same)[kind]["gas"] <= 1.0
    other = hydro_samples.tests(boxes(1, rng, 1.3)[0], boxes(19, rng), 25.0, mesh)
    assert other["pdf"]["gas"] == other["power"]["gas"] == 0.05  # one of twenty


def test_fisher_puts_p_values_together():
    np.testing.assert_allclose(hydro_samples.fisher([0.03]), 0.03)
    np.testing.assert_allclose(hydro_samples.fisher([0.1, 0.1]), 0.01 * (1 - np.log(0.01)), rtol=1e-12)


def test_the_mean_of_draws_agrees_with_itself():
    """Draws scatter by 0.3 about the mean head, or about 0.2 beside it."""
    rng = np.random.default_rng(2)
    mean = boxes(1, rng)[0]
    for shift in (0.0, 0.2):
        scale = lambda shift=shift: np.exp(shift + 0.3 * rng.normal(size=(8, 8, 8)))  # noqa: E731
        draws = [{name: values * scale() for name, values in mean.items()} for _ in range(30)]
        for one in draws:  # of gas the mean itself counts, of T that of its logarithm
            one["gas"] = one["gas"] * np.exp(-0.5 * 0.3**2)
        found = hydro_samples.agreement(mean, draws)
        np.testing.assert_allclose(found["temperature_shift"], shift, atol=0.01)
        np.testing.assert_allclose(found["gas_shift"], shift, atol=0.01)
        np.testing.assert_allclose(found["gas_spread"], 0.3, rtol=0.05)
        np.testing.assert_allclose(found["gas_off"], shift / 0.3, atol=0.15)


def test_decades_of_density_hold_their_cells():
    gas = np.array([0.05, 0.5, 0.5, 0.5, 5.0, 5.0, 50.0, 500.0])
    heat = np.array([1e3, 1e4, 1e4, 1e4, 1e5, 1e6, 1e7, 1e8])
    rows = hydro.decades(gas, heat)
    np.testing.assert_array_equal(rows[:, 0], (3, 2, 1))
    np.testing.assert_allclose(rows[0], (3, 4.0, 0.0))
    np.testing.assert_allclose(rows[1], (2, 5.5, 0.34))
    assert np.isnan(rows[2, 1:]).all()


@pytest.fixture(scope="module")
def result():
    """Two simulations at two moments: an emulator 2% and 6% off in power, and 0.05 and 0.15 dex in heat."""
    z, k = np.array([2.0, 0.0, 2.0, 0.0]), np.array([0.5, 1.0, 3.0])
    off = np.array([0.02, -0.06, 0.04, 0.02])[:, None] * np.ones(3)
    ratio = {name: {m: 1.0 + off for m in hydro.MODELS} for name in hydro.FIELDS}
    coherence = {name: {m: np.full((4, 3), 0.98) for m in hydro.MODELS} for name in hydro.FIELDS}
    own = np.array([[1000, 4.0, 0.5], [300, 5.0, 0.4], [100, 6.0, 0.3]])
    decades = []
    for shift in (0.05, 0.15, 0.05, -0.05):
        found = own + np.array([0.0, shift, 0.1])
        found[2, 1] = 99.0  # of a decade that holds too few cells
        decades.append({"truth": own, **{m: found for m in hydro.MODELS}})
    return {"k": k, "z": z, "ratio": ratio, "coherence": coherence, "decades": decades}


def test_the_summary_takes_means_over_runs_and_leaves_thin_decades_out(result):
    found = hydro.summary(result, 2.0)["emulator"]
    np.testing.assert_allclose(found["gas_power"], 0.03)
    np.testing.assert_allclose(found["gas_power_each"], 0.06)
    np.testing.assert_allclose(found["temperature_median"], 0.05)
    np.testing.assert_allclose(found["temperature_median_each"], 0.15)
    np.testing.assert_allclose(found["temperature_scatter"], 0.25)  # 0.1 of 0.4
    assert found["gas_coherence"] == 0.98
