"""`galaxyjax data`: what people and machines are told of datasets, and what is written."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

CONTENT = b"hello"


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A manifest of two files, a mirror that has them, an empty cache and no data folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("inside/a.txt")
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    contents = {"a.txt": CONTENT, "b.tar.gz": packed.getvalue()}
    folder = tmp_path / "mirror" / "toy"
    folder.mkdir(parents=True)
    lines = ['name = "toy"', 'title = "a toy"', 'licence = "none"', 'citation = ["Somebody 2021"]']
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines += [
            "[[files]]",
            f'name = "{name}"',
            f"size = {len(content)}",
            f'sha256 = "{digest}"',
            "url = []",
        ]
    (tmp_path / "toy.toml").write_text("\n".join(lines))
    monkeypatch.delenv("GALAXYJAX_DATA", raising=False)
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_list_has_every_manifest(command):
    outcome = command("data", "list")
    assert outcome.code == 0 and outcome.err == ""
    listed = json.loads(command("data", "list", "--json").out)["datasets"]
    for entry in listed:
        assert entry["name"] in outcome.out and entry["title"] in outcome.out
    camels = next(entry for entry in listed if entry["name"] == "camels")
    assert "IllustrisTNG/L25n256/LH" in camels["sets"] and camels["comes_by"] == "https, Globus"


def test_info_says_how_to_cite_and_that_no_address_was_tried(command):
    outcome = command("data", "info", "kids1000")
    assert outcome.code == 0 and "Asgari et al. 2021" in outcome.out and "368,640" in outcome.out
    assert "addresses: never tried from this project" in outcome.out
    content = json.loads(command("data", "info", "cmd", "--json").out)
    assert content["address_last_tried"] is None and content["units"]["T"] == "K"
    assert content["products"]["map"]["path"].startswith("2D_maps/")


def test_info_of_a_set_has_its_parameters(command, data_root):
    outcome = command("data", "info", "camels", "--set", "SIMBA/L25n256/1P")
    assert outcome.code == 0 and "140 simulations, raw parameters" in outcome.out
    content = json.loads(command("data", "info", "quijote", "--set", "latin_hypercube", "--json").out)
    assert content["set"]["simulations"] == 2000
    assert content["set"]["parameters"]["Omega_m"] == [pytest.approx(0.1001), pytest.approx(0.4999), ""]


def test_fetch_brings_checks_unpacks_and_says_whom_to_cite(command, dataset):
    words = ("data", "fetch", dataset / "toy.toml", "--mirror", dataset / "mirror", "--unpack")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "2 files of toy, every one checked" in outcome.out and "Somebody 2021" in outcome.out
    cached = dataset / "cache" / "toy"
    assert (cached / "a.txt").read_bytes() == CONTENT
    assert (cached / "b" / "inside" / "a.txt").read_bytes() == CONTENT
    again = json.loads(command(*words, "--json").out)
    assert again["files"]["a.txt"] == str(cached / "a.txt") and again["unpacked"] == [str(cached / "b")]


def test_verify_finds_the_altered_file(command, failed, dataset):
    command("data", "fetch", dataset / "toy.toml", "--mirror", dataset / "mirror")
    outcome = command("data", "verify", dataset / "toy.toml")
    assert outcome.code == 0 and outcome.out == "toy: 2 whole\n"
    (dataset / "cache" / "toy" / "a.txt").write_bytes(b"hellO")
    outcome = command("data", "verify", dataset / "toy.toml")
    digests = [hashlib.sha256(content).hexdigest() for content in (b"hellO", CONTENT)]
    failed(outcome, "1 files are not what they should be", "a.txt", *digests)
    assert "altered: a.txt" in outcome.out
    found = json.loads(command("data", "verify", dataset / "toy.toml", "--json").out)["files"]
    assert [entry["state"] for entry in found] == ["altered", "whole"]


def test_what_cannot_be_fetched_says_why(command, failed, dataset):
    failed(command("data", "fetch", dataset / "toy.toml"), "a.txt is not in", "there is no address")
    (dataset / "mirror" / "toy" / "a.txt").write_bytes(b"hello!")
    outcome = command("data", "fetch", dataset / "toy.toml", "--mirror", dataset / "mirror")
    failed(outcome, "the file there has 6 bytes, the manifest's 5")


def test_globus_is_explained(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--set", "SIMBA/L25n256/LH", "--product", "groups", "--axis", "snapshot=090")
    outcome = command("data", "fetch", "camels", *words, "--simulations", "LH_{7..8}", "--globus")
    assert outcome.code == 0 and "globus transfer 58bdcd24-6590-11ec-9b60-f9dfb1abb183:/ " in outcome.out
    lines = (tmp_path / "globus_camels.txt").read_text().splitlines()
    assert lines == [
        f"{name} {name}" for name in (f"FOF_Subfind/SIMBA/L25n256/LH/LH_{i}/groups_090.hdf5" for i in (7, 8))
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fetch",), "give one dataset"),
        (("info", "kids100"), "did you mean kids1000"),
        (("fetch", "cmd"), "which simulations? give --set, one of IllustrisTNG_LH"),
        (("fetch", "cmd", "--set", "IllustrisTNG_LH"), "which files? give --product, one of map, grid"),
        (("fetch", "cmd", "--set", "SIMBA_LH", "--product", "map"), "no field given"),
        (
            ("fetch", "cmd", "--set", "SIMBA_LH", "--product", "map", "--axis", "field"),
            "--axis field: give NAME",
        ),
        (("fetch", "kids1000", "--jobs", "0"), "--jobs 0: give 1 or more"),
        (("fetch", "pairs", "--globus"), "names no Globus collection"),
        (("describe",), "give files, or dataset:set"),
        (("describe", "none.npy"), "none.npy"),
        (("describe", "none.hdf5"), "none.hdf5"),
    ],
)
def test_what_cannot_be_done_is_one_line(command, failed, words, says):
    failed(command("data", *words), says)


def test_describe_writes_figures_and_a_report(command, tmp_path):
    rng = np.random.default_rng(0)
    grids = rng.lognormal(size=(12, 8, 8, 8))
    grids[4] *= 100
    np.save(tmp_path / "Grids_Mtot_SIMBA_LH_8_z=0.00.npy", grids)
    rows = [f"s{i} {a} {b}" for i, (a, b) in enumerate(rng.random((12, 2)))]
    (tmp_path / "table.txt").write_text("\n".join(["#name x y", *rows]))
    out = tmp_path / "out"
    words = (tmp_path / "Grids_Mtot_SIMBA_LH_8_z=0.00.npy", "--table", tmp_path / "table.txt", "--out", out)
    outcome = command("data", "describe", *words)
    assert outcome.code == 0, outcome.err
    assert "Mtot: 12 fields of 8^3 cells" in outcome.out and "1 things to look at" in outcome.out
    assert {path.name for path in out.iterdir()} == {"parameters.png", "fields_Mtot.png", "report.json"}
    for name in ("parameters.png", "fields_Mtot.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    report = json.loads((out / "report.json").read_text())
    assert [flag["where"] for flag in report["flags"]] == [["Grids_Mtot_SIMBA_LH_8_z=0.00[4]"]]
    assert report["parameters"]["simulations"] == 12
