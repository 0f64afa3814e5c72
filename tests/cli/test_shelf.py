"""`shelf pack`, `shelf unpack` and `card --browser` from the command line."""

import json
import webbrowser


def test_an_emulator_goes_out_and_comes_back(command, failed, emulator_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_SHELF", str(tmp_path / "own"))
    file = tmp_path / "small.zip"
    packed = json.loads(command("shelf", "pack", emulator_folder, file, "--json").out)
    assert packed["size"] == file.stat().st_size
    outcome = command("shelf", "unpack", file)
    assert outcome.code == 0 and "small_power 0.0.1 is whole" in outcome.out, outcome.err
    listed = command("shelf").out
    assert "small_power 0.0.1" in listed and "truth: CAMB" in listed and "not measured yet" in listed
    assert command("card", "small_power").out.startswith("# small_power 0.0.1")
    failed(command("shelf", "unpack", file), "the shelf has small_power already")
    failed(command("shelf", "unpack"), "takes FILE")
    failed(command("shelf", "pack", "small_power"), "takes NAME FILE")
    failed(command("shelf", "list", "small_power"), "takes no more words")
    failed(command("shelf", "pack", "small_power", file, "--out", "x"), "for unpack only")
    failed(command("shelf", "unpack", tmp_path / "none.zip"), "no such file")
    file.write_bytes(b"PK\x03\x04" + bytes(40))
    failed(command("shelf", "unpack", file, "--out", tmp_path / "x"), "not a whole archive")


def test_the_shelf_says_truth_units_and_measured_error(command):
    out = command("shelf").out
    assert "truth: CAMB 2.0.5" in out and "nonlinear_baryons" in out
    contract = json.loads(command("card", "matter_power", "--json").out)
    shown = f"{100 * contract['error']['spectra']['linear']['core']['p95']:.2g}%"
    assert shown in out


def test_the_card_opens_in_a_browser(command, emulator_folder, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    outcome = command("card", emulator_folder, "--browser")
    assert outcome.code == 0, outcome.err
    (address,) = opened
    page = outcome.out.split("wrote ")[1].strip()
    assert address.endswith("small_power.html")
    text = open(page, encoding="utf-8").read()
    assert "<table>" in text and "default-src 'none'" in text and "<script" not in text
