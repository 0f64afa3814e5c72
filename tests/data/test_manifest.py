"""Manifests say everything that is needed, a wrong entry is named, and no name leads out of its folder."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.cli.recipe import run_python
from galaxyjax.core.errors import ConfigError, FileError, UnknownName
from galaxyjax.core.files import sha256
from galaxyjax.data.manifest import load_manifest, manifests, read_manifest
from galaxyjax.data.paths import below, check_name
from galaxyjax.data.template import Template

GOOD = """
name = "toy"
title = "a toy"
licence = "none"
citation = ["Somebody 2021"]
[[files]]
name = "a.txt"
size = 5
sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
url = ["https://example.org/a.txt"]
"""
SUITE = """
name = "toy"
title = "a suite"
licence = "none"
citation = ["Somebody 2021"]
files = [
  { name = "LH.txt", size = 5, sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" },
  { name = "1P.txt", sha256 = "unpublished" },
]
[access]
base = ["https://example.org/data/"]
files = ["https://example.org/tables"]
[products.snapshot]
path = "Sims/{set}/{simulation}/snapshot_{number}.hdf5"
axes = { number = ["{000..002}", "090"] }
[products.maps]
path = "Maps_{set}.npy"
one_file = true
items = 15
[layouts.six]
columns = ["Omega_m", "sigma_8"]
[tables]
LH = { file = "LH.txt", layout = "six", rows = 3 }
[sets]
"TNG/LH" = { simulations = "LH_{0..2}", table = "LH" }
CV = { simulations = ["CV_{0..1}", "CV_9"], products = ["snapshot"] }
"""


def written(tmp_path, text):
    path = tmp_path / "toy.toml"
    path.write_text(text)
    return path


def test_every_manifest_at_hand_reads_and_is_named_like_its_file():
    known = {"kids1000", "camels", "cmd", "quijote", "tng", "abacus_summit", "pairs", "matter_power_truth"}
    assert known <= set(manifests())
    for name in manifests():
        manifest = load_manifest(name)
        assert manifest.name == name and manifest.citation and manifest.licence and manifest.title
        assert manifest.files or manifest.products
        for product in manifest.products:
            chosen = next(s for s, c in manifest.sets.items() if not c.products or product in c.products)
            axes = {axis: values[0] for axis, values in manifest.products[product].axes.items()}
            if manifest.set(chosen).simulations != ("table",):
                one = manifest.sources(chosen, product, manifest.simulations(chosen)[:1], **axes)[0]
                assert check_name(one.name) and manifest.matching(one.name)["product"]
        with open(manifest.path, "rb") as file:
            content = tomllib.load(file)
        assert content["name"] == name
        if any(source.url for source in manifest.files) or manifest.access.base:
            # Nobody has seen an address work from here: the manifest must say so.
            assert manifest.access.tried == "" and "tried" in manifest.path.read_text()


@pytest.mark.parametrize("name", ["kids1000", "camels", "quijote", "abacus_summit", "pairs", "twin_codes"])
def test_files_are_those_that_the_project_was_built_with(data_root, name):
    manifest = load_manifest(name)
    folders = [data_root / folder for folder in (manifest.name, *manifest.local)]
    for source in manifest.files:
        path = next(f / source.name for f in folders if (f / source.name).is_file())
        assert path.stat().st_size == source.size and sha256(path) == source.sha256


def test_a_file_is_found_by_name(tmp_path):
    manifest = read_manifest(written(tmp_path, GOOD))
    assert manifest.file("a.txt").size == 5
    with pytest.raises(UnknownName, match="file of toy 'b.txt': .*a.txt"):
        manifest.file("b.txt")


def test_a_few_lines_name_a_whole_suite(tmp_path):
    manifest = read_manifest(written(tmp_path, SUITE))
    assert manifest.simulations("TNG/LH") == ("LH_0", "LH_1", "LH_2")
    assert manifest.simulations("CV") == ("CV_0", "CV_1", "CV_9")
    sources = manifest.sources("TNG/LH", "snapshot", number="090")
    assert [s.name for s in sources] == [f"Sims/TNG/LH/LH_{i}/snapshot_090.hdf5" for i in range(3)]
    assert sources[1].url == ("https://example.org/data/Sims/TNG/LH/LH_1/snapshot_090.hdf5",)
    assert sources[0].sha256 is None and sources[0].size is None
    assert manifest.sources("CV", "snapshot", ("CV_9",), number="001")[0].name.startswith("Sims/CV/CV_9/")
    assert [s.name for s in manifest.sources("TNG/LH", "maps")] == ["Maps_TNG/LH.npy"]
    assert manifest.file("LH.txt").url == ("https://example.org/tables/LH.txt",)
    assert manifest.file("1P.txt").sha256 is None


def test_a_files_name_says_which_simulation_it_is_of(tmp_path):
    manifest = read_manifest(written(tmp_path, SUITE))
    found = manifest.matching("Sims/TNG/LH/LH_1/snapshot_090.hdf5")
    assert found == {"product": "snapshot", "set": "TNG/LH", "simulation": "LH_1", "number": "090"}
    for wrong in ("LH_3/snapshot_090", "LH_1/snapshot_091", "LH_1/../LH_1/snapshot_090"):
        assert manifest.matching(f"Sims/TNG/LH/{wrong}.hdf5") is None
    assert manifest.matching("Sims/other/LH_1/snapshot_090.hdf5") is None


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (dict(set_name="TNG", product="snapshot"), "set of toy 'TNG'"),
        (dict(set_name="CV", product="maps"), "product of toy CV 'maps'"),
        (dict(set_name="CV", product="snapshot"), "no number given; choose one of 000, 001"),
        (dict(set_name="CV", product="snapshot", number="091"), "number of toy snapshot '091'"),
        (dict(set_name="CV", product="snapshot", z="0"), "axis of toy snapshot 'z'"),
        (
            dict(set_name="CV", product="snapshot", simulations=("CV_3",), number="090"),
            "simulation .* 'CV_3'",
        ),
    ],
)
def test_what_a_suite_does_not_have_is_named(tmp_path, ask, says):
    with pytest.raises((UnknownName, ConfigError), match=says):
        read_manifest(written(tmp_path, SUITE)).sources(**ask)


def test_an_unknown_dataset_gets_the_close_names():
    with pytest.raises(UnknownName, match="dataset 'kids100': did you mean kids1000"):
        load_manifest("kids100")
    with pytest.raises(UnknownName, match="dataset '../data_manifests/kids1000'"):
        load_manifest("../data_manifests/kids1000")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('licence = "none"', "", "entry 'licence' of toy is missing"),
        ("size = 5", "sise = 5", "'sise'.*did you mean size"),
        ("size = 5", "size = -5", "size must be a number of bytes, not -5"),
        ("2cf24dba", "2cf2", "sha256 must be 64"),
        ("https://example.org", "ftp://example.org", "not http"),
        ("https://example.org/a.txt", "file:///etc/passwd", "not http"),
        ("https://example.org", "https://user:word@example.org", "not http"),
        ('"a.txt"', '"../a.txt"', "may hold only"),
        ('"a.txt"', '"/etc/passwd"', "may hold only"),
        ('"a.txt"', '"b/../../a.txt"', "may hold only"),
        ('name = "toy"', 'name = "../toy"', "the name '../toy' may hold only"),
        ("[[files]]", "[[file]]", r"no \[\[files\]\]"),
        ('name = "toy"', "name = toy", "not a TOML file"),
        ('citation = ["Somebody 2021"]', "citation = 5", "an entry is of the wrong kind"),
        ('licence = "none"', 'licence = "none"\nlocal = ["../x"]', "local: the file name '../x'"),
    ],
)
def test_wrong_entries_are_named(tmp_path, old, new, says):
    with pytest.raises(FileError, match=f"toy.toml.*{says}"):
        read_manifest(written(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"Sims/{set}', '"../{set}', "products: snapshot: the file name"),
        ('"Sims/{set}', '"/{set}', "products: snapshot: the file name"),
        ('"Sims/{set}', '"{box}', "unknown field 'box'"),
        ('"TNG/LH" =', '"../LH" =', "sets: the file name '../LH'"),
        ('table = "LH"', 'table = "SB"', "sets: TNG/LH: unknown table 'SB'"),
        ('layout = "six"', 'layout = "seven"', "tables: LH: unknown layout 'seven'"),
        ('file = "LH.txt"', 'file = "CV.txt"', "file of toy 'CV.txt'"),
        ('products = ["snapshot"]', 'products = ["groups"]', "sets: CV: unknown product 'groups'"),
        ("rows = 3", "rows = 3, colour = 1", "unknown entry 'colour'"),
        ('layout = "six", ', "", "the entry 'layout' of LH is missing"),
        ('simulations = "LH_{0..2}"', 'simulations = "table", table = ""', "not a TOML file|has none"),
        ('base = ["https:', 'key_header = "k"\nbase = ["http:', "a key may only go to https"),
        ('name = "1P.txt"', 'name = "lh.TXT"', "would be one file on some systems"),
        ('name = "1P.txt"', 'name = "LH.txt/x"', "LH.txt is a file and the folder of another"),
    ],
)
def test_wrong_entries_of_a_suite_are_named(tmp_path, old, new, says):
    assert old in SUITE
    with pytest.raises((FileError, UnknownName), match=says):
        read_manifest(written(tmp_path, SUITE.replace(old, new, 1)))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(FileError, match="none.toml: no such file"):
        load_manifest(tmp_path / "none.toml")


HOSTILE = [
    *("..", ".", "", "/etc/passwd", "a/../b", "../a", "a/..", "a//b", "a/", "/a", "~/.ssh/id_rsa", "a/./b"),
    *(
        "-rf",
        "C:/x",
        "C:x",
        "a\\b",
        "..\\a",
        "a\x00b",
        "a\nb",
        "a b",
        "\u202ea",
        "..%2fa",
        "$HOME",
        "a/.git/x",
    ),
    *(
        "nul",
        "CON.txt",
        "a/lpt1",
        "x.",
        "\uff0e\uff0e/a",
        "\u0430",
        "x" * 201,
        "/".join("a" * 17),
        "a:b",
        "a*",
    ),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_could_lead_out_are_refused(name, tmp_path):
    with pytest.raises(FileError, match="may hold only"):
        below(tmp_path, name)


@given(st.text(st.sampled_from("ab.-_/\\: ~$\x00\u2215"), max_size=12) | st.text(max_size=20))
def test_a_name_is_refused_or_stays_below_its_folder(name):
    root = Path("/some/cache/toy")
    try:
        path = below(root, name)
    except FileError:
        return
    parts = path.relative_to(root).parts
    assert parts and not set(parts) & {"..", "."} and str(path) == f"{root}/{name}"
    assert Path(re.sub("/+", "/", str(path))).resolve(strict=False) == path
    assert name.isascii() and not any(part.startswith((".", "-")) for part in parts)


PLAIN = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_=+-]{0,8}(\.[a-z0-9]{1,4})?", fullmatch=True)
WORD = st.from_regex(r"[A-Za-z0-9_]{1,6}", fullmatch=True)


@given(st.lists(PLAIN, min_size=1, max_size=5))
def test_plain_names_are_taken(parts):
    reserved = {"con", "prn", "aux", "nul"} | {f"{s}{n}" for s in ("com", "lpt") for n in range(1, 10)}
    if not any(part.split(".")[0].lower() in reserved for part in parts):
        assert check_name("/".join(parts)) == "/".join(parts)


@given(st.fixed_dictionaries({"set": WORD, "simulation": WORD, "number": WORD}))
def test_filling_a_template_and_matching_it_are_inverse(values):
    template = Template("Sims/{set}/{simulation}/{set}_{number}.hdf5")
    assert template.match(template.fill(values), {}) == values


def test_templates_count_and_refuse_to_count_too_far():
    assert list(Template("a{08..11}b{0..1}").expand())[:3] == ["a08b0", "a08b1", "a09b0"]
    assert list(Template("plain").expand()) == ["plain"]
    for text in ("{5..4}", "{0..9999999}"):
        with pytest.raises(ConfigError, match="must run upwards"):
            list(Template(text).expand())
    with pytest.raises(UnknownName, match="field 'b'"):
        Template("{b}").fill({"a": "1"})


def test_the_truth_that_is_listed_is_the_truth_that_the_recipe_makes():
    recipe = run_python(Path(__file__).parents[2] / "emulators" / "matter_power" / "recipe.py", "recipe")
    manifest = load_manifest("matter_power_truth")
    assert len(manifest.simulations("truth")) == recipe.TRUTH.runs
    assert len(manifest.simulations("test")) == recipe.TEST.runs
    assert f"{recipe.TRUTH.runs} runs to learn from, {recipe.TEST.runs} to judge" in manifest.title
