"""Figures of forecasts, calibration and reconstructions show what they were given."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from galaxyjax.infer.fisher import Fisher
from galaxyjax.infer.profile import LEVELS, Profile
from galaxyjax.infer.ranks import judge
from galaxyjax.report import style
from galaxyjax.report.calibration import calibration_figure, coverage_figure
from galaxyjax.report.field_level import COHERENCE, mass, reconstruction
from galaxyjax.report.forecast import RADII, ellipses, profiles


def visible(figure):
    return [axes for axes in figure.get_axes() if axes.get_visible()]


def test_ellipses_are_level_lines_of_the_fisher_matrix():
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    found = Fisher(("Omega_m", "S8"), np.array([0.3, 0.8]), np.linalg.inv(covariance))
    figure = ellipses({"survey": found}, title="forecast")
    panel = next(a for a in visible(figure) if len(a.lines) == 2)
    for line, radius in zip(panel.lines, RADII, strict=True):
        away = line.get_xydata() - found.values
        np.testing.assert_allclose(np.einsum("ni,ij,nj->n", away, found.matrix, away), radius**2, rtol=1e-9)
    low, high = panel.get_xlim()
    assert low < 0.3 - 0.2 and high > 0.3 + 0.2


def test_profiles_have_their_levels_and_ends():
    grid = np.linspace(-2, 2, 9)
    one = Profile("S8", grid, 7.0 + grid**2, ("S8",), grid[:, None])
    figure = profiles([one, one], title="profiles")
    for axes in visible(figure):
        np.testing.assert_allclose(axes.lines[0].get_ydata(), grid**2, atol=1e-12)
        heights = [line.get_ydata()[0] for line in axes.lines[1 : 1 + len(LEVELS)]]
        np.testing.assert_allclose(heights, list(LEVELS.values()))
        ends = [line.get_xdata()[0] for line in axes.lines[1 + len(LEVELS) :]]
        np.testing.assert_allclose(ends, [-1, 1], atol=0.02)


def test_a_failing_quantity_is_drawn_in_red(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.setdefault(str(path), figure))
    rng = np.random.default_rng(0)
    ranks = np.stack([rng.random(300), rng.random(300) ** 2], axis=1)
    verdicts = judge(["S8", "Omega_m"], ranks)
    assert [v.fails for v in verdicts] == [False, True]
    tarp = judge(["TARP"], ranks[:, :1])[0]
    calibration_figure(tmp_path / "ranks.png", verdicts, ranks, tarp, ranks[:, 0])
    panels = visible(drawn[str(tmp_path / "ranks.png")])
    colours = [to_rgb(panel.lines[-1].get_color()) for panel in panels]
    assert colours == [to_rgb(c) for c in (style.BLUE, style.VERMILION, style.BLUE)]
    coverage_figure(tmp_path / "tarp.png", {"right": ranks[:, 0], "wrong": ranks[:, 1]})
    axes = visible(drawn[str(tmp_path / "tarp.png")])[0]
    right, wrong = axes.lines[1:3]
    assert np.abs(right.get_ydata() - right.get_xdata()).max() < 0.1
    assert np.abs(wrong.get_ydata() - wrong.get_xdata()).max() > 0.2


def test_calibration_figures_are_files_that_can_be_read(tmp_path):
    ranks = np.random.default_rng(1).random((50, 6))
    verdicts = judge([f"b{i}" for i in range(6)], ranks)
    calibration_figure(tmp_path / "ranks.png", verdicts, ranks, verdicts[0], ranks[:, 0])
    coverage_figure(tmp_path / "tarp.png", {"all": ranks[:, 0]})
    for name in ("ranks.png", "tarp.png"):
        assert np.std(matplotlib.image.imread(tmp_path / name)[..., :3]) > 0.01


def test_a_reconstruction_shows_slabs_and_coherence():
    rng = np.random.default_rng(0)
    maps = {name: rng.normal(size=(8, 8, 8)) for name in ("truth", "posterior mean")}
    maps["std"] = np.full((8, 8, 8), 0.5)
    k = np.array([0.05, 0.1, 0.2])
    coherence = {name: np.array([0.9, 0.8, 0.5]) for name in COHERENCE}
    figure = reconstruction(maps, 160.0, k, coherence, depth=40.0)
    panels = {axes.get_title(): axes for axes in visible(figure) if axes.images and axes.get_title()}
    assert set(panels) == set(maps)
    np.testing.assert_allclose(
        panels["truth"].images[0].get_array(), maps["truth"][:, :, :2].mean(axis=2).T, rtol=1e-6
    )
    np.testing.assert_allclose(panels["std"].images[0].get_array(), 0.5)
    lines = next(axes for axes in visible(figure) if len(axes.lines) >= len(COHERENCE)).lines
    assert {line.get_label() for line in lines} >= {words for words, _, _ in COHERENCE.values()}


@pytest.mark.parametrize("count", [2, 5])
def test_mass_maps_are_dimmed_where_nothing_was_seen(count):
    rng = np.random.default_rng(0)
    seen = np.ones((6, 8), bool)
    seen[:2] = False
    names = ["truth", "Wiener", "mean", "draw", "std"][:count]
    figure = mass({name: rng.normal(size=(6, 8)) ** 2 for name in names}, 0.5, seen)
    panels = [axes for axes in visible(figure) if len(axes.images) == 2]
    assert [axes.get_title() for axes in panels] == names
    veil = np.asarray(panels[0].images[1].get_array())
    assert (veil[:2, :, 3] > 0.3).all() and (veil[2:, :, 3] == 0).all()
    assert tuple(panels[0].images[0].get_extent()) == (0.0, 4.0, 0.0, 3.0)


def test_a_notebook_shows_the_pictures_without_pyplot():
    formatters = pytest.importorskip("IPython.core.formatters")
    shown = formatters.PNGFormatter()(style.new_figure(2.0, 1.0))
    assert shown.startswith(b"\x89PNG")
    assert formatters.PNGFormatter()(style.grid(1, 2, 1.0, 1.0)[0]).startswith(b"\x89PNG")
