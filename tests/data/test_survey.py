"""Surveys survive a round trip; what is broken in a file is named, with the file."""

import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from galaxyjax.core.errors import DataError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.data.survey import ShearSurvey, kids1000, load_survey, read_matrix, read_twopoint

EDGES = np.geomspace(100.0, 1500.0, 9)


def formula():
    """Two bins, two bands."""
    z = 0.025 + 0.05 * np.arange(40)
    root = np.random.default_rng(3).normal(size=(6, 6))
    return ShearSurvey(
        name="formula",
        z_low=z - 0.025,
        z_mid=z,
        z_high=z + 0.025,
        nz=np.stack([np.exp(-(((z - c) / 0.2) ** 2)) for c in (0.5, 1.0)]),
        pairs=np.array([[1, 1], [1, 2], [2, 2]]),
        ell_edges=np.array([100.0, 300.0, 900.0]),
        theta_range=(0.5, 300.0),
        apodisation=0.5,
        data=np.arange(6.0),
        covariance=root @ root.T + np.eye(6),
        shift_mean=np.zeros(2),
        shift_covariance=1e-4 * np.eye(2),
        citation=("Somebody 2021", "Åström 2022"),
    )


@pytest.fixture
def survey():
    return formula()


def test_it_comes_back_from_a_file_as_it_went(survey, tmp_path):
    survey.save(tmp_path / "s.npz")
    back = load_survey(tmp_path / "s.npz")
    for field in fields(survey):
        one, other = getattr(survey, field.name), getattr(back, field.name)
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


def test_derived_numbers(survey):
    np.testing.assert_allclose(survey.ell, [np.sqrt(3e4), np.sqrt(27e4)])
    np.testing.assert_allclose(survey.sigma**2, np.diag(survey.covariance))
    assert survey.labels[2] == "E 1-2 ell 173" and len(survey.labels) == 6
    mock = survey.with_data(survey.data + 1.0, "mock", "made up")
    assert mock.name == "mock" and mock.data[0] == 1.0 and survey.data[0] == 0.0


def spoiled(survey, name, change):
    value = np.array(getattr(survey, name), float)
    change(value)
    return {name: value}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("data", lambda a: a.__setitem__(3, np.nan), r"data is not finite in 1 of 6 entries, first \(3,\)"),
        ("covariance", lambda a: a.__setitem__((2, 1), np.inf), r"covariance is not finite.*\(2, 1\)"),
        ("covariance", lambda a: a.__setitem__((0, 1), a[0, 1] + 1.0), "covariance is not symmetric"),
        (
            "covariance",
            lambda a: a.__isub__(3.0 * np.eye(6)),
            "covariance (is not positive definite|has the)",
        ),
        ("shift_covariance", lambda a: a.fill(1e-4), "shift_covariance is not positive definite"),
        ("nz", lambda a: a.__setitem__((0, 3), -1.0), "nz: n\\(z\\) must not be negative"),
        ("nz", lambda a: a[1].fill(0.0), "no bin empty"),
        ("pairs", lambda a: a.__setitem__((0, 0), 3), "pairs name bins 1 to 3"),
        ("z_low", lambda a: a.__setitem__(5, 9.0), "z_low < z_mid"),
    ],
)
def test_bad_content_is_named(survey, tmp_path, name, change, says):
    bad = spoiled(survey, name, change)
    with pytest.raises(DataError, match=says):
        replace(survey, **bad)
    survey.save(tmp_path / "good.npz")
    write_npz(tmp_path / "bad.npz", {**read_npz(tmp_path / "good.npz"), **bad})
    with pytest.raises(DataError, match=f"bad.npz: .*{says}"):
        load_survey(tmp_path / "bad.npz")


def test_a_shape_that_does_not_fit_is_named(survey):
    with pytest.raises(DataError, match=r"data has shape \(5,\), expected \(6,\)"):
        replace(survey, data=np.zeros(5))


def test_files_that_are_not_surveys_are_refused(survey, tmp_path):
    write_npz(tmp_path / "other.npz", {"a": np.ones(3)})
    with pytest.raises(FileError, match=r"other.npz: not a survey file"):
        load_survey(tmp_path / "other.npz")
    survey.save(tmp_path / "s.npz")
    whole = (tmp_path / "s.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="short.npz"):
        load_survey(tmp_path / "short.npz")
    arrays = read_npz(tmp_path / "s.npz")
    arrays.pop("theta_range")
    write_npz(tmp_path / "part.npz", arrays)
    with pytest.raises(FileError, match="theta_range"):
        load_survey(tmp_path / "part.npz")


def test_a_matrix_file_must_be_whole(tmp_path):
    path = tmp_path / "m.asc"
    np.savetxt(path, np.eye(5))
    np.testing.assert_array_equal(read_matrix(path, 5), np.eye(5))
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    with pytest.raises(FileError, match=r"m.asc: a matrix \(3, 5\), expected \(5, 5\)"):
        read_matrix(path, 5)
    path.write_text("not numbers")
    with pytest.raises(FileError, match="m.asc: not a table"):
        read_matrix(path, 5)
    with pytest.raises(FileError, match="none.asc: no such file"):
        read_matrix(tmp_path / "none.asc", 5)


def read(path):
    return read_twopoint(path, np.zeros(5), 1e-4 * np.eye(5), EDGES, (0.5, 300.0), 0.5, "KiDS")


def test_kids1000_is_what_its_papers_say(data_root):
    survey = kids1000()
    assert survey.data.shape == (120,) and survey.covariance.shape == (120, 120)
    assert survey.pairs.tolist() == [[i, j] for i in range(1, 6) for j in range(i, 6)]
    means = survey.nz @ survey.z_mid / survey.nz.sum(axis=1)
    np.testing.assert_allclose(means, [0.26, 0.40, 0.56, 0.79, 0.98], atol=0.01)  # Hildebrandt et al. 2021
    np.testing.assert_allclose(
        np.sqrt(np.diag(survey.shift_covariance)), [0.0106, 0.0113, 0.0118, 0.0087, 0.0097], atol=6e-5
    )
    np.testing.assert_allclose(survey.shift_mean, [0.0, -0.002, -0.013, -0.011, 0.006])
    # Joachimi et al. 2021: the shear signal is detected at about 22 sigma (band powers, no model).
    assert 20.0 < np.sqrt(survey.data @ np.linalg.solve(survey.covariance, survey.data)) < 24.0
    assert any("Asgari" in line for line in survey.citation)


def test_the_covariance_is_the_block_of_its_statistic(data_root):
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(data_root / "kids1000" / "kids1000_bp.fits") as file:
        whole, rows = np.array(file["COVMAT"].data, float), file["PeeE"].data
        survey = kids1000()
        np.testing.assert_array_equal(survey.covariance, whole[80:, 80:])
        np.testing.assert_array_equal(survey.data, rows["VALUE"])


@pytest.fixture
def editable(data_root, tmp_path):
    """A copy of the KiDS-1000 file, and a way to write a changed one."""
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "survey.fits"
    shutil.copyfile(data_root / "kids1000" / "kids1000_bp.fits", path)
    path.chmod(0o644)

    def edit(change):
        with fits.open(path, mode="update", memmap=False) as file:
            change(file)
        return path

    return edit


def test_rows_in_another_order_make_the_same_survey(editable, data_root):
    def shuffle(file):
        order = np.random.default_rng(1).permutation(120)
        file["PeeE"].data = file["PeeE"].data[order]
        block = np.concatenate([np.arange(80), 80 + order])
        file["COVMAT"].data = file["COVMAT"].data[np.ix_(block, block)]

    survey, kids = read(editable(shuffle)), kids1000()
    np.testing.assert_array_equal(survey.data, kids.data)
    np.testing.assert_array_equal(survey.covariance, kids.covariance)


def test_what_is_broken_in_a_fits_file_is_named(editable):
    def nan(file):
        file["PeeE"].data["VALUE"][7] = np.nan

    with pytest.raises(DataError, match=r"survey.fits: data is not finite in 1 of 120 entries, first \(7,\)"):
        read(editable(nan))


def test_a_missing_extension_is_named(editable):
    with pytest.raises(FileError, match="survey.fits: extension NZ_SOURCE is missing; it has COVMAT"):
        read(editable(lambda file: file.__delitem__("NZ_SOURCE")))


def test_a_covariance_without_the_block_is_named(editable):
    def rename(file):
        file["COVMAT"].header["NAME_1"] = "other"

    with pytest.raises(DataError, match="survey.fits: COVMAT has no block for PeeE"):
        read(editable(rename))


def test_other_bands_than_the_files_are_refused(editable):
    path = editable(lambda file: None)
    with pytest.raises(DataError, match="centres"):
        read_twopoint(path, np.zeros(5), np.eye(5), np.geomspace(100, 1400, 9), (0.5, 300.0), 0.5, "KiDS")
    with pytest.raises(DataError, match="whole pairs of 7 bands"):
        read_twopoint(path, np.zeros(5), np.eye(5), np.geomspace(100, 1500, 8), (0.5, 300.0), 0.5, "KiDS")


@pytest.mark.parametrize("kept", [100, 5_000, 200_000, 350_000])
def test_a_fits_file_cut_short_is_refused(editable, kept):
    path = editable(lambda file: None)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileError, match="survey.fits"):
        read(path)


def test_a_file_that_is_not_fits_is_refused(tmp_path):
    pytest.importorskip("astropy")
    (tmp_path / "text.fits").write_text("hello")
    with pytest.raises(FileError, match="text.fits"):
        read(tmp_path / "text.fits")
    with pytest.raises(FileError, match="none.fits: no such file"):
        read(tmp_path / "none.fits")
