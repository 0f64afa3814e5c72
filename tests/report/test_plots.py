"""Figures carry units, the right numbers, and nothing of the caller's matplotlib settings."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.report import plots, shear, style

K = np.geomspace(1e-3, 10.0, 40)
Z = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
POWER = 1e4 * K / (1.0 + (K / 0.02) ** 2.5) / (1.0 + Z[:, None]) ** 2


def labels(figure: Figure) -> str:
    """Every text of a figure, joined."""
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def lines(axes) -> dict:
    return {line.get_label(): line for line in axes.get_lines()}


def test_spectra_show_the_power_and_its_residual_in_per_cent():
    reference = POWER / (1.0 + 1e-3 * Z[:, None])
    figure = plots.spectra(K, Z, POWER, reference)
    top, bottom = figure.axes
    assert top.get_ylabel() == r"$P(k)\ [(h^{-1}{\rm Mpc})^3]$"
    assert bottom.get_xlabel() == r"$k\ [h\,{\rm Mpc}^{-1}]$"
    assert "[%]" in bottom.get_ylabel()
    np.testing.assert_array_equal(lines(top)["$z=2$"].get_ydata(), POWER[3])
    residuals = [line.get_ydata() for line in bottom.get_lines() if len(line.get_ydata()) == len(K)]
    np.testing.assert_allclose([r.mean() for r in residuals], 0.1 * Z, atol=1e-10)


def test_a_ratio_is_drawn_on_a_linear_axis_without_a_unit():
    figure = plots.spectra(K, Z, np.ones((5, 40)), output="baryon_suppression")
    (axes,) = figure.axes
    assert axes.get_yscale() == "linear"
    assert "Mpc" not in axes.get_ylabel()


def test_percentiles_are_those_of_the_errors():
    rng = np.random.default_rng(1)
    ratio = 1.0 + 1e-3 * rng.standard_normal((300, 5, 40))
    figure = plots.error_percentiles(K, Z, ratio, asked={95.0: 1e-3})
    for row, axes in enumerate(figure.axes[:5]):
        drawn = lines(axes)
        expected = 100.0 * np.percentile(np.abs(ratio[:, row] - 1.0), 95.0, axis=0)
        np.testing.assert_allclose(drawn["95%"].get_ydata(), expected)
        np.testing.assert_allclose(drawn["max"].get_ydata(), 100.0 * np.abs(ratio[:, row] - 1.0).max(0))
    # The 95th percentile of |N(0, 1)| is 1.96: an independent number for the whole chain.
    assert np.mean(lines(figure.axes[0])["95%"].get_ydata()) == pytest.approx(0.196, rel=0.05)
    assert "300 cosmologies" in labels(figure) and "asked" in labels(figure)


def test_a_perfect_emulator_can_be_drawn(tmp_path):
    figure = plots.error_percentiles(K, Z, np.ones((3, 5, 40)))
    assert style.save(figure, tmp_path / "a.png").stat().st_size > 1000


def test_pooled_errors_count_the_points_beyond():
    ratio = 1.0 + np.linspace(0.0, 1e-2, 10001)
    figure = plots.pooled_errors({"linear": ratio})
    (curve,) = figure.axes[0].get_lines()
    error, share = curve.get_data()
    # Errors are uniform up to 1%, so the share of points beyond e is 1 - e / 1%.
    np.testing.assert_allclose(share, 100.0 * (1.0 - error), atol=0.02)


def test_gradients_name_their_parameters_and_the_difference():
    truth = np.stack([np.cos(K), 3.0 * np.sin(K)])
    figure = plots.gradients(K, ["h", "m_nu"], truth + 0.01, truth)
    text = labels(figure)
    assert r"$\Sigma m_\nu\ [{\rm eV}]$" in text and "$h$" in text and "% max" in text
    difference = figure.axes[3].get_lines()[0].get_ydata()
    np.testing.assert_allclose(difference, 100.0 * 0.01 / np.abs(truth[1]).max())


def test_training_curves_skip_what_was_not_measured():
    steps = np.arange(5.0)
    validation = np.array([1.0, np.nan, 0.5, np.nan, 0.3])
    figure = plots.training_curves(steps, {"validation": validation}, best=4)
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["validation"].get_xdata(), [0, 2, 4])
    assert "best, step 4" in drawn


def test_band_powers_have_a_panel_for_every_pair():
    pairs = [(i, j) for i in range(1, 4) for j in range(i, 4)]
    ell = np.geomspace(120, 1200, 8)
    data = np.arange(48.0).reshape(6, 8) * 1e-6
    figure = shear.band_powers(ell, data, 0.1 * data + 1e-7, pairs, {"best fit": 2.0 * data})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 6
    panel = {axes.texts[0].get_text(): axes for axes in shown}
    assert set(panel) == {"1–1", "1–2", "1–3", "2–2", "2–3", "3–3"}
    np.testing.assert_allclose(lines(panel["2–3"])["best fit"].get_ydata(), 2.0 * data[4] / ell / 1e-7)
    assert "10^{-7}" in labels(figure) and r"\ell" in labels(figure)


def test_band_powers_of_a_wrong_shape_are_refused():
    with pytest.raises(DataError, match=r"\(3, 8\).*2 pairs, 8 bands"):
        shear.band_powers(np.arange(8.0), np.ones((3, 8)), np.ones((3, 8)), [(1, 1), (1, 2)])


def test_redshift_distributions_have_unit_area():
    z = np.linspace(0.0, 3.0, 301)
    figure = shear.redshift_distributions(z, [np.exp(-((z - 1.0) ** 2) / 0.02), 7.0 * np.exp(-z)])
    for line in figure.axes[0].get_lines():
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(1.0)


def test_wrong_axes_are_named():
    with pytest.raises(DataError, match=r"power: shape \(40,\) has 1 axes, expected 2"):
        plots.spectra(K, Z, POWER[0])


def test_the_callers_settings_are_left_alone_and_not_used(tmp_path):
    with matplotlib.rc_context({"font.size": 31.0, "font.family": ["sans-serif"]}):
        before = dict(matplotlib.rcParams)
        figure = plots.spectra(K, Z, POWER)
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].xaxis.label.get_fontsize() == style.RC["axes.labelsize"]
    assert "serif" in figure.axes[0].xaxis.label.get_fontfamily()


def test_a_figure_is_written_whole_or_not_at_all(tmp_path):
    figure = plots.spectra(K, Z, POWER)
    with pytest.raises(ConfigError, match=r"no figure format '.txt'"):
        style.save(figure, tmp_path / "figure.txt")
    assert list(tmp_path.iterdir()) == []
    assert style.save(figure, tmp_path / "figure.pdf").read_bytes()[:5] == b"%PDF-"


def test_colours_are_told_apart_by_colour_blind_readers():
    """Simulated deuteranopia (Machado et al. 2009, severity 1): the line colours in use stay well apart."""
    matrix = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    rgb = np.array([matplotlib.colors.to_rgb(c) for c in style.COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.4)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
    assert distance.min() > 0.15


@pytest.mark.parametrize(
    "name, text", [("S8", "$S_8$"), ("dz_3", r"$\delta z_{3}$"), ("something_else", "something else")]
)
def test_labels(name, text):
    assert style.label(name) == text
