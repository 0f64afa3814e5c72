"""Parameters go with the simulations that they are of, in units and conventions that are known."""

import numpy as np
import pytest

from galaxyjax.core.errors import DataError, FileError, UnknownName
from galaxyjax.data.entries import Layout, Table
from galaxyjax.data.manifest import load_manifest
from galaxyjax.data.parameters import ParameterTable, free_table, join, pair, parameter_table, read_table

SIX = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
TEXT = """#Name Omega0 sigma8 WindEnergy seed
1P_0 0.3 0.8 3.6 67
1P_1 0.4 0.8 7.2 67
"""
LAYOUT = Layout(
    ("Omega0", "sigma8", "WindEnergy", "seed"),
    convention="raw",
    rename={"Omega0": "Omega_m", "sigma8": "sigma_8"},
    units={"WindEnergy": "1e51 erg"},
    normalise={"A_SN1": ("WindEnergy", 3.6)},
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tables(data_root):
    """The published tables, read by hand, without this package."""

    def rows(path):
        with open(data_root / "parameter_tables" / path) as file:
            return [line.split() for line in file if line.strip() and not line.lstrip().startswith("#")]

    return rows


def written(tmp_path, text):
    path = tmp_path / "table.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("set_name", "count", "columns", "convention"),
    [
        ("IllustrisTNG/L25n256/LH", 1000, 7, "normalised"),
        ("SIMBA/L25n256/LH", 1000, 7, "normalised"),
        ("Astrid/L25n256/LH", 1000, 7, "normalised"),
        ("Swift-EAGLE/L25n256/LH", 1000, 7, "normalised"),
        ("Magneticum/L25n256/LH", 50, 7, "normalised"),
        ("IllustrisTNG/L25n256/1P", 140, 29, "raw"),
        ("IllustrisTNG/L50n512/SB35", 2048, 36, "raw"),
        ("IllustrisTNG/L25n256/SB28", 2048, 29, "raw"),
        ("SIMBA/L25n256/1P", 140, 29, "raw"),
        ("Ramses/L25n256/SB5", 256, 7, "raw"),
        ("CROCODILE/L25n256/SB26", 1024, 27, "raw"),
        ("IllustrisTNG_DM/L25n256/LH", 1000, 7, "normalised"),
    ],
)
def test_camels(data_root, set_name, count, columns, convention):
    table = parameter_table("camels", set_name)
    assert (len(table), len(table.columns), table.convention) == (count, columns, convention)
    assert 0.1 <= table.column("Omega_m").min() and table.column("Omega_m").max() <= 0.5
    assert table.simulations == load_manifest("camels").simulations(set_name)


def test_every_set_of_camels_quijote_and_abacus_has_a_row_for_each_simulation(data_root):
    for name in ("camels", "cmd", "quijote", "abacus_summit", "pairs", "tng"):
        manifest, seen = load_manifest(name), set()
        for set_name, chosen in manifest.sets.items():
            if chosen.table in seen - {""}:
                continue  # the twins of a set have its table
            seen.add(chosen.table)
            if name == "cmd" and set_name.endswith("_1P"):  # older than the tables in CAMELS
                with pytest.raises(DataError, match="knows no parameters"):
                    parameter_table(manifest, set_name)
                assert "params_1P_" in chosen.note
                continue
            table = parameter_table(manifest, set_name)
            assert table.simulations == manifest.simulations(set_name)
            assert np.isfinite(table.values).all()


def test_numbers_are_those_of_the_files(tables):
    rows = tables("CAMELS/IllustrisTNG/CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt")
    table = parameter_table("camels", "IllustrisTNG/L25n256/LH")
    assert table.of("LH_345") == dict(zip((*SIX, "seed"), map(float, rows[345][1:]), strict=True))
    rows = tables("Quijote/latin_hypercube_nwLH/latin_hypercube_params.txt")
    table = parameter_table("quijote", "latin_hypercube_nwLH")
    assert table.of("1999")["w"] == float(rows[1999][6]) and table.units == {"M_nu": "eV"}
    rows = tables("CAMELS/Ramses/CosmoAstroSeed_Ramses_L25n256_SB5.txt")
    ramses = parameter_table("camels", "Ramses/L25n256/SB5")
    # Here A_SN2 stands before A_AGN1, and 0.5 is its fiducial value.
    assert ramses.normalised().of("SB5_7")["A_SN2"] == float(rows[7][4]) / 0.5
    assert ramses.normalised().of("SB5_7")["A_AGN1"] == float(rows[7][5]) / 4.0


@pytest.mark.parametrize(
    ("suite", "column", "fiducial"),
    [
        ("IllustrisTNG", "WindEnergyIn1e51erg", 3.6),
        ("SIMBA", "BH_QUENCH_JET", 7000.0),
        ("CROCODILE", "AGNFeedbackTemperature", 3.16e8),
    ],
)
def test_the_fiducial_of_a_raw_set_is_1_where_a_normalised_set_has_1(data_root, suite, column, fiducial):
    raw = parameter_table("camels", f"{suite}/L25n256/1P")
    hypercube = parameter_table("camels", f"{suite}/L25n256/CV")
    assert raw.of("1P_p1_0")[column] == fiducial
    normal = raw.normalised()
    assert [normal.of("1P_p1_0")[name] for name in SIX] == [0.3, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert [hypercube.of("CV_0")[name] for name in SIX] == [0.3, 0.8, 1.0, 1.0, 1.0, 1.0]
    values = normal.column("A_SN1")
    assert values.min() == pytest.approx(0.25) and values.max() == pytest.approx(4.0)


def test_tables_of_different_conventions_are_not_joined(data_root):
    tables = [parameter_table("camels", f"IllustrisTNG/L25n256/{name}") for name in ("LH", "1P")]
    with pytest.raises(DataError, match=r"LH is normalised, .*1P is raw.*\.normalised\(\)"):
        join(tables)
    both = join([table.normalised() for table in tables], SIX)
    assert len(both) == 1140 and both.columns == SIX
    assert both.simulations[1000] == "camels IllustrisTNG/L25n256/1P:1P_p1_n2"


def test_a_map_has_the_parameters_of_its_simulation(data_root):
    table = parameter_table("camels", "IllustrisTNG/L25n256/LH")
    pairs = pair("cmd", "IllustrisTNG_LH", "map", field="T")
    assert len(pairs) == 15_000
    for i in (0, 14, 15, 14_999):
        name, parameters = pairs[i]
        assert name.endswith("Maps_T_IllustrisTNG_LH_z=0.00.npy")
        assert parameters == table.of(f"LH_{i // 15}")
    grids = pair("cmd", "IllustrisTNG_LH", "grid", field="T", n="128", redshift="0.0")
    assert len(grids) == 1000 and grids[999][1] == table.of("LH_999")


def test_abacus_simulations_find_their_cosmology(data_root):
    table = parameter_table("abacus_summit", "base")
    assert table.of("AbacusSummit_base_c000_ph024")["omega_cdm"] == 0.12
    assert table.of("AbacusSummit_base_c019_ph000")["omega_ncdm"] == pytest.approx(2 * 0.0006442)
    assert table.of("AbacusSummit_base_c181_ph000")["A_s"] == pytest.approx(2.0e-9, rel=0.3)
    name, parameters = pair("abacus_summit", "base", "halo_info", redshift="0.500", part="000")[-1]
    assert "c181" in name and parameters == table.of("AbacusSummit_base_c181_ph000")


def test_fixed_parameters_are_those_of_every_simulation(data_root):
    table = parameter_table("quijote", "Om_p")
    assert len(table) == 500 and set(table.column("Omega_m")) == {0.3275}
    assert parameter_table("quijote", "latin_hypercube").of("0")["w"] == -1.0
    assert len(parameter_table("quijote", "MG")) == 2048  # the file repeats its first 843 rows
    assert parameter_table("pairs", "pair_02").of("pair_02")["sigma_8"] == 0.85


def test_a_set_without_parameters_says_so():
    with pytest.raises(DataError, match="matter_power_truth truth: its manifest knows no parameters"):
        parameter_table("matter_power_truth", "truth")


def test_a_table_has_its_names_units_and_convention(tmp_path):
    table = read_table(written(tmp_path, TEXT), Table("t", "l", 2), LAYOUT, "toy")
    assert table.columns == ("Omega_m", "sigma_8", "WindEnergy", "seed") and table.convention == "raw"
    assert table.of("1P_1") == {"Omega_m": 0.4, "sigma_8": 0.8, "WindEnergy": 7.2, "seed": 67.0}
    normal = table.normalised()
    assert normal.columns == ("Omega_m", "sigma_8", "A_SN1", "seed") and normal.normalised() is normal
    np.testing.assert_allclose(normal.column("A_SN1"), [1.0, 2.0])
    np.testing.assert_allclose(table.column("WindEnergy"), [3.6, 7.2])
    assert table.select(["sigma_8"]).values.shape == (2, 1)
    with pytest.raises(UnknownName, match="parameter of toy 'sigma8': did you mean sigma_8"):
        table.column("sigma8")
    with pytest.raises(UnknownName, match="simulation of toy '1P_2'"):
        table.of("1P_2")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("sigma8 WindEnergy", "WindEnergy sigma8", "not those of the manifest: another order"),
        ("WindEnergy", "A_SN1", "not those of the manifest: A_SN1, WindEnergy"),
        ("1P_1 0.4 0.8 7.2 67\n", "", "1 rows, the manifest says 2"),
        ("7.2 67", "7.2", "table.txt:3: 4 columns|:3: 3 columns, expected 5|columns, expected"),
        ("7.2", "seven", ":3: WindEnergy is 'seven', not a number"),
        ("7.2", "nan", ":3: WindEnergy is 'nan', not finite"),
        ("1P_1", "1P_0", ":3: a second row is named 1P_0, with other values"),
        (TEXT, "", "no header"),
    ],
)
def test_a_table_that_is_not_the_manifests_is_named(tmp_path, old, new, says):
    assert old in TEXT
    with pytest.raises(FileError, match=f"table.txt.*{says}"):
        read_table(written(tmp_path, TEXT.replace(old, new)), Table("t", "l", 2), LAYOUT, "toy")


def test_raw_without_fiducials_is_not_normalised_by_guess():
    table = ParameterTable("toy", ("a",), ("x",), np.ones((1, 1)), convention="raw")
    with pytest.raises(DataError, match="raw, and no manifest gives fiducial values"):
        table.normalised()
    with pytest.raises(DataError, match=r"values of shape \(1, 1\) for 2 simulations"):
        ParameterTable("toy", ("a", "b"), ("x",), np.ones((1, 1)))


def test_a_table_of_ones_own_is_read_by_its_header(tmp_path):
    own = free_table(written(tmp_path, "# name h,\n".replace(",", "") + "a 0.7\nb 0.6\n"))
    assert own.simulations == ("a", "b") and own.columns == ("h",)
    assert free_table(written(tmp_path, "x,y\n1,2\n3,4\n")).columns == ("x", "y")
    assert free_table(written(tmp_path, "1 2\n3 4\n5 6\n")).values.shape == (3, 2)
    for text in ("", "x\n", "a b\n1 2\n3\n", "a b\n1 2\nc d\n"):
        with pytest.raises(FileError, match="table.txt: not a table"):
            free_table(written(tmp_path, text))
