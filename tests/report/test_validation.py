"""The validation page and its figures say the numbers of the comparison."""

import re

import numpy as np
import pytest

from galaxyjax.report import validation
from galaxyjax.validate.gradients import GradientCheck
from galaxyjax.validate.spectra import Block, Comparison


def block(seed: int, size: float, count: int = 12) -> Block:
    rng = np.random.default_rng(seed)
    k = np.geomspace(1.1e-4, 9.9, 50 + seed)
    z = np.linspace(0.0, 3.0, 7)
    return Block(
        {"h": rng.uniform(0.6, 0.8, count)},
        np.linspace(0.3, 1.4, count),
        z,
        k,
        (size * rng.standard_normal((count, 7, len(k)))).astype(np.float32),
    )


@pytest.fixture(scope="module")
def comparisons():
    return {
        "linear": Comparison("linear", (block(0, 1e-4), block(1, 1e-4))),
        "nonlinear": Comparison("nonlinear", (block(2, 1e-3), block(3, 1e-3))),
    }


@pytest.fixture(scope="module")
def checks():
    k, z = np.geomspace(1e-3, 10, 30), np.array([0.0, 1.0])
    truth = {"h": np.cos(k) * np.ones((2, 1)), "n_s": np.log(k) * np.ones((2, 1))}
    emulated = {name: slope + 0.02 * np.abs(slope).max() for name, slope in truth.items()}
    return [{"linear": GradientCheck("linear", {"h": 0.7}, z, k, emulated, truth)}]


@pytest.fixture(scope="module")
def page(comparisons, checks, contract, tmp_path_factory):
    return validation.write_validation(tmp_path_factory.mktemp("page"), contract, comparisons, checks)


def test_the_page_states_every_number_and_every_verdict(page, comparisons):
    text = page.read_text(encoding="utf-8")
    summary = comparisons["linear"].summary()["core"]
    row = re.search(r"<tr><td>linear</td><td>core</td>(.*?)</tr>", text).group(1)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    assert int(cells[0]) == summary["cosmologies"]
    for cell, name in zip(cells[1:], (*validation.COLUMNS, *validation.WORST), strict=True):
        assert float(cell.rstrip("% ✓✕")) == pytest.approx(100 * summary[name], rel=0.06)
    assert "✓" in row and "✕" not in row
    nonlinear = re.search(r"<tr><td>nonlinear</td><td>core</td>(.*?)</tr>", text).group(1)
    assert "✕" in nonlinear  # 95% of a 0.1% scatter is 0.2%
    assert '<td class="bad">2% ✕</td>' in text  # the gradients, off by 2% of the largest slope
    assert f"against {comparisons['linear'].sigma_8.size} cosmologies of CAMB" in text


def test_every_figure_is_beside_the_page(page):
    assert {path.name for path in page.parent.iterdir()} == {
        "index.html", "errors_pooled.png", "errors_linear.png", "errors_nonlinear.png", "worst.png",
        "gradients_linear.png",
    }  # fmt: skip


def test_the_common_grid_lies_inside_every_cosmologys_own(comparisons):
    k = validation.common_k(comparisons["linear"], (1e-4, 10.0), 20)
    assert k[0] == pytest.approx(1.1e-4) and k[-1] == pytest.approx(9.9)


def test_the_extrapolated_truth_is_on_the_page(page):
    assert "z outside 0 to 2: the truth is extrapolated" in page.read_text(encoding="utf-8")


def test_gradient_rows_take_the_worst_cosmology(checks):
    assert validation.gradient_rows(checks * 2) == [
        ("linear", "h", pytest.approx(0.02), pytest.approx(0.02)),
        ("linear", "n_s", pytest.approx(0.02), pytest.approx(0.02)),
    ]
