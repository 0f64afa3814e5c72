"""Manifests say everything that is needed, and a wrong entry is named."""

import tomllib

import pytest

from galaxyjax.core.errors import FileError, UnknownName
from galaxyjax.core.files import sha256
from galaxyjax.data.manifest import load_manifest, manifests, read_manifest

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


def written(tmp_path, text):
    path = tmp_path / "toy.toml"
    path.write_text(text)
    return path


def test_every_manifest_at_hand_reads_and_is_named_like_its_file():
    assert "kids1000" in manifests()
    for name in manifests():
        manifest = load_manifest(name)
        assert manifest.name == name and manifest.citation and manifest.licence
        with open(manifest.path, "rb") as file:
            assert tomllib.load(file)["name"] == name


def test_kids1000_names_the_files_that_the_project_was_built_with(data_root):
    manifest = load_manifest("kids1000")
    for source in manifest.files:
        path = data_root / "kids1000" / source.name
        assert path.stat().st_size == source.size and sha256(path) == source.sha256


def test_a_file_is_found_by_name(tmp_path):
    manifest = read_manifest(written(tmp_path, GOOD))
    assert manifest.file("a.txt").size == 5
    with pytest.raises(UnknownName, match="file of toy 'b.txt': .*a.txt"):
        manifest.file("b.txt")


def test_an_unknown_dataset_gets_the_close_names():
    with pytest.raises(UnknownName, match="dataset 'kids100': did you mean kids1000"):
        load_manifest("kids100")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('licence = "none"', "", "entry 'licence' of toy is missing"),
        ("size = 5", "sise = 5", "'sise'.*did you mean size"),
        ("2cf24dba", "2cf2", "sha256 must be 64"),
        ("https://example.org", "ftp://example.org", "not http"),
        ('"a.txt"', '"../a.txt"', "may hold only"),
        ("[[files]]", "[[file]]", r"no \[\[files\]\]"),
        ('name = "toy"', "name = toy", "not a TOML file"),
    ],
)
def test_wrong_entries_are_named(tmp_path, old, new, says):
    with pytest.raises(FileError, match=f"toy.toml.*{says}"):
        read_manifest(written(tmp_path, GOOD.replace(old, new, 1)))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(FileError, match="none.toml: no such file"):
        load_manifest(tmp_path / "none.toml")
