"""A report names what was put into the data to be found, and nothing in data that are as they should be."""

import numpy as np
import pytest
from scipy.stats import qmc

from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.data.augment import Move, moved, symmetries
from galaxyjax.data.coverage import cover
from galaxyjax.data.describe import describe
from galaxyjax.data.field_statistics import examine, power_spectrum
from galaxyjax.data.parameters import ParameterTable
from tests.data.writers import GADGET, SWIFT


def table_of(values, names="abcdefg"):
    columns = tuple(names[: values.shape[1]])
    return ParameterTable("toy", tuple(f"s{i}" for i in range(len(values))), columns, values)


def design(n=256, d=4):
    return qmc.Sobol(d, seed=3).random(n)


def kinds(flags):
    return sorted({flag.kind for flag in flags})


def test_a_sobol_sequence_and_random_points_have_nothing_to_look_at():
    found = cover(table_of(design()))
    assert found.flags == [] and found.varied == tuple("abcd")
    own, mean, std = found.discrepancy
    assert own < 0.2 * mean
    random = cover(table_of(np.random.default_rng(5).random((500, 4))))
    assert random.flags == []
    assert abs(random.discrepancy[0] - random.discrepancy[1]) < 5 * random.discrepancy[2]


def test_a_logarithmic_parameter_is_seen_as_one_and_a_constant_as_one():
    values = design()
    values[:, 0] = 0.25 * 16 ** values[:, 0]
    values[:, 3] = 0.7
    found = cover(table_of(values))
    assert found.logarithmic == ("a",) and found.constant == {"d": 0.7} and found.flags == []


@pytest.mark.parametrize(
    ("spoil", "kind", "says"),
    [
        (lambda v: v.__setitem__((17, 2), 40.0), "outlier", "c: 1 value far from the others, up to 40"),
        (lambda v: v.__setitem__(9, v[100]), "duplicate", "2 simulations have the same parameters"),
        (lambda v: v.__setitem__((slice(None), 1), v[:, 0] + 0.1 * v[:, 1]), "bias", "a and b go together"),
        (
            lambda v: v.__setitem__((slice(None), 0), np.where(v[:, 0] < 0.5, 0.9 * v[:, 0], v[:, 0])),
            "gap",
            "a: nothing between",
        ),
    ],
)
def test_what_is_wrong_with_parameters_is_named(spoil, kind, says):
    values = design()
    spoil(values)
    flags = [flag for flag in cover(table_of(values)).flags if flag.kind == kind]
    assert any(says in flag.text for flag in flags), flags
    if kind in ("outlier", "duplicate"):
        assert flags[0].where == (("s17",) if kind == "outlier" else ("s9", "s100"))


def test_a_hole_in_a_plane_is_found_where_each_parameter_alone_is_even():
    rng = np.random.default_rng(0)
    values = rng.random((600, 3))
    values = values[np.hypot(values[:, 0] - 0.6, values[:, 1] - 0.4) > 0.2]
    found = cover(table_of(values))
    (gap,) = [flag for flag in found.flags if flag.kind == "gap"]
    assert gap.text.startswith("a, b: nothing around")
    centre, radius = found.holes["a", "b"]
    np.testing.assert_allclose(centre, [0.6, 0.4], atol=0.03)
    assert radius == pytest.approx(0.2, abs=0.03)


def test_published_tables_hold_what_is_known_of_them(data_root, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path))
    simba = describe(["camels:SIMBA/L25n256/LH"]).all_flags()
    assert kinds(simba) == ["outlier"] and simba[0].text.startswith("seed: 78 values")
    assert describe(["camels:IllustrisTNG/L25n256/LH"]).all_flags() == []
    one = describe(["camels:IllustrisTNG/L25n256/1P"])
    assert [len(flag.where) for flag in one.all_flags()] == [28]  # the fiducial run, once a parameter
    assert len(one.coverage.levels) == 28


def gaussian(seed, n=16, d=3, slope=-1.0):
    white = np.random.default_rng(seed).normal(size=(n,) * d)
    k = np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(n, 1 / n) ** 2] * d, indexing="ij")))
    k[(0,) * d] = 1.0
    return np.fft.ifftn(np.fft.fftn(white) * k**slope).real


def test_the_spectrum_of_white_noise_is_its_variance_times_the_cell_and_of_a_wave_one_peak():
    rng, n, box = np.random.default_rng(2), 32, 50.0
    k, p = power_spectrum(rng.normal(0, 3, (n, n, n)), box, contrast=False)
    np.testing.assert_allclose(p[4:].mean(), 9 * (box / n) ** 3, rtol=0.02)
    # The first shell has 6 modes at 1 and 12 at sqrt(2) fundamental wavenumbers.
    np.testing.assert_allclose(k[0], 2 * np.pi / box * (6 + 12 * 2**0.5) / 18, rtol=1e-12)
    wave = 5 + np.cos(2 * np.pi * 3 * np.arange(n) / n)[:, None] * np.ones((n, n))
    k, p = power_spectrum(wave, box, contrast=True)
    assert np.argmax(p) == 2 and p[2] > 1e20 * np.delete(p, 2).max()
    # A cosine of amplitude 1/5 has mean square 1/50, in the two modes of its shell of m.
    frequency = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n))))
    assert p[2] * (frequency == 3).sum() / box**2 == pytest.approx(1 / 50, rel=1e-12)


def examined(fields, **options):
    return examine("field", [f"f{i}" for i in range(len(fields))], lambda i: fields[i], **options)


def test_fields_of_one_kind_have_nothing_to_look_at():
    found = examined([np.exp(gaussian(i)) for i in range(20)])
    assert found.flags == [] and found.contrast and found.score.max() < 8
    density = found.counts * (found.edges[1] - found.edges[0])
    np.testing.assert_allclose(density.sum(axis=1), 1, atol=0.01)
    np.testing.assert_allclose(found.moments["mean"][3], np.exp(gaussian(3)).mean(), rtol=1e-12)


def test_what_is_wrong_with_fields_is_named():
    fields = [np.exp(gaussian(i)) for i in range(24)]
    turn = Move(symmetries(3)[29], (3, 5, 1), 16)
    fields[5] = moved(lambda a, b: fields[2][tuple(map(slice, a, b))][..., None], (16,) * 3, "scalar", turn)[
        ..., 0
    ]
    fields[9] = 40 * fields[9]
    fields[11][0, 0, 0] = np.nan
    fields[13] = np.exp(gaussian(13, slope=1.0))
    fields[15] = fields[14] * (1 + 0.01 * gaussian(99))
    flags = {flag.where: flag for flag in examined(fields).flags}
    assert flags["f2", "f5"].kind == "duplicate" and "the same (up to" in flags["f2", "f5"].text
    assert flags["f9",].kind == "outlier" and flags["f9",].text.startswith(("mean", "spread"))
    assert flags["f11",].kind == "broken" and "1 values are not finite" in flags["f11",].text
    assert flags["f13",].kind == "outlier"
    assert flags["f14", "f15"].kind == "duplicate" and "one fold" in flags["f14", "f15"].text
    assert len(flags) == 5


def test_what_parameters_explain_is_no_outlier():
    x = np.linspace(-1, 1, 40)
    fields = [np.exp(3 * t) * np.exp(gaussian(i, d=2)) for i, t in enumerate(x)]
    fields[30] = fields[30] * 0.25
    plain = examined(fields)
    assert plain.flags == [] and plain.dimensions == 2
    (flag,) = examined(fields, parameters=x[:, None]).flags
    assert flag.where == ("f30",)


def test_grids_maps_and_tables_are_described_from_files(tmp_path):
    maps = np.exp(np.stack([gaussian(i, d=2) for i in range(30)])).astype(np.float32)
    np.save(tmp_path / "Maps_T_IllustrisTNG_LH_z=0.00.npy", maps)
    (tmp_path / "table.txt").write_text("#name h\nLH_0 0.6\nLH_1 0.7\n")
    report = describe([tmp_path / "Maps_T_IllustrisTNG_LH_z=0.00.npy"], table=tmp_path / "table.txt")
    (one,) = report.fields
    assert (one.kind, one.dimensions, one.cells, len(one.names)) == ("T", 2, 16, 30)
    np.testing.assert_allclose(one.k[0], 2 * np.pi / 25 * (1 + 2**0.5) / 2, rtol=1e-12)  # 25 Mpc/h
    few = describe([tmp_path / "Maps_T_IllustrisTNG_LH_z=0.00.npy"], budget=256 * 10).fields[0]
    assert len(few.names) == 10 and few.of == 30
    for i in range(3):
        np.save(tmp_path / f"grid_{i}.npy", gaussian(i))
    np.save(tmp_path / "vector.npy", np.stack([gaussian(i) for i in range(3)], -1))
    report = describe(sorted(tmp_path.glob("grid_*.npy")) + [tmp_path / "vector.npy"], box_size=100.0)
    assert [len(one.names) for one in report.fields] == [3, 1, 1, 1]
    assert any("3 fields of 16^3 cells" in line for line in report.text())
    np.save(tmp_path / "odd.npy", np.ones((4, 5, 6)))
    with pytest.raises(FileError, match=r"odd.npy: shape \(4, 5, 6\) is no grid"):
        describe([tmp_path / "odd.npy"])
    with pytest.raises(DataError, match="3 fields do not go with the 2 rows"):
        describe(sorted(tmp_path.glob("grid_*.npy")), table=tmp_path / "table.txt")
    with pytest.raises(ConfigError, match="camels: which simulations"):
        describe(["camels:"])


def test_a_box_is_the_same_with_and_without_h():
    """GADGET stores 25,000 kpc/h, SWIFT 37.25 Mpc: 25 Mpc/h to the digits that either has."""
    flags = describe([GADGET, SWIFT]).all_flags()
    assert not [flag for flag in flags if "boxes of different sizes" in flag.text], flags


def test_snapshots_of_pairs_are_seen_to_share_their_initial_conditions(data_root):
    names = [f"pair_0{i}_{run}_z0.hdf5" for i in range(2) for run in ("dmo", "sfr")]
    report = describe([data_root / "pairs" / name for name in names])
    found = {one.kind: one for one in report.fields}
    assert set(found) == {"dark_matter mass", "gas mass", "stars mass"}
    matter = found["dark_matter mass"]
    assert matter.cells == 32 and len(matter.names) == 4
    # Mass in the box: Omega_m rho_crit V, of which gas has taken its part in the second run of a pair.
    total = matter.moments["mean"] * 32**3
    np.testing.assert_allclose(total[0], 0.3 * 27.75366272 * 25**3, rtol=1e-3)
    np.testing.assert_allclose(total[1] / total[0], 1 - 0.049 / 0.3, rtol=1e-3)
    (flag,) = report.all_flags()
    assert flag.text.startswith("dark_matter mass: 2 pairs") and len(flag.where) == 4
