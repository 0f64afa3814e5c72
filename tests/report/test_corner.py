"""Corner, trace and rank plots of chains."""

import numpy as np
import pytest
from matplotlib.image import imread

from galaxyjax.core.errors import DataError, UnknownName
from galaxyjax.report import corner


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(3)
    S8, Omega_m = 0.76 + 0.02 * rng.standard_normal((2, 4, 500))
    return {"S8": S8, "Omega_m": Omega_m, "h": 0.64 + 0.18 * rng.random((4, 500))}


def test_a_corner_plot_is_a_picture_with_ink(samples, tmp_path):
    path = corner.corner(
        tmp_path / "corner.png",
        {"mock": samples},
        ["S8", "Omega_m", "h"],
        markers={"S8": 0.77},
        ranges={"h": (0.64, 0.82)},
    )
    picture = imread(path)
    assert min(picture.shape[:2]) > 500
    # Blue of the contours, and the black dashed marker in their column.
    blue = np.abs(picture[..., :3] - [0.0, 0x72 / 255, 0xB2 / 255]).max(-1) < 0.02
    assert blue.mean() > 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_column_is_named_and_leaves_nothing(samples, tmp_path):
    with pytest.raises(UnknownName, match="'s8': did you mean S8"):
        corner.corner(tmp_path / "corner.png", {"mock": samples}, ["s8"])
    assert list(tmp_path.iterdir()) == []


def test_flat_chains_are_refused(samples):
    with pytest.raises(DataError, match=r"shape \(2000,\), expected \(chain, draw\)"):
        corner.traces({"S8": samples["S8"].ravel()}, ["S8"])


def test_traces_show_every_draw_of_every_chain(samples):
    figure = corner.traces(samples, ["S8", "h"])
    top, bottom = figure.axes
    assert top.get_ylabel() == "$S_8$" and bottom.get_xlabel() == "draw"
    np.testing.assert_array_equal([line.get_ydata() for line in top.get_lines()], samples["S8"])


def test_ranks_are_flat_for_chains_that_agree_and_not_for_one_that_is_shifted(samples):
    shifted = samples["S8"] + np.array([0.0, 0.0, 0.0, 0.05])[:, None]
    figure = corner.ranks({"S8": samples["S8"], "h": shifted}, ["S8", "h"], bins=10)
    agree, differ = ([patch.get_data().values for patch in axes.patches] for axes in figure.axes)
    # 50 expected counts a bin: Poisson scatter is 14%.
    assert np.std(agree) < 0.2
    np.testing.assert_allclose(np.mean(agree, axis=1), 1.0)
    assert differ[3][-1] > 2.0 and differ[3][0] < 0.1
