"""The contract says everything once, reads back exactly, and refuses what says more, less or nonsense."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_emulator import toy_contract

from galaxyjax.core.errors import ConfigError, FileError, UnknownName
from galaxyjax.emulator.contract import Constraint, Contract, Input, Output, read_contract, write_contract


def test_a_contract_reads_back_equal_from_its_file(tmp_path):
    contract = toy_contract()
    write_contract(tmp_path, contract)
    again = read_contract(tmp_path)
    assert again == contract and hash(again) == hash(contract)
    assert again.inputs == contract.inputs and again.constraints == contract.constraints
    assert json.loads((tmp_path / "contract.json").read_text())["contract_version"] == 2


def test_one_changed_bound_makes_another_contract():
    contract = toy_contract()
    moved = dataclasses.replace(contract, z_range=(0.0, 3.5))
    assert moved != contract and moved.digest != contract.digest


def test_whole_numbers_and_floats_are_the_same_contract(tmp_path):
    contract = dataclasses.replace(toy_contract(), z_range=(0, 3))
    write_contract(tmp_path, contract)
    assert read_contract(tmp_path) == contract


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.pop("truth"), "missing field truth"),
        (lambda c: c.update(extra=1), "unknown field extra"),
        (lambda c: c["inputs"][2].pop("unit"), "missing field inputs[2].unit"),
        (lambda c: c["inputs"][0].update(colour="red"), "unknown field inputs[0].colour"),
        (lambda c: c["inputs"][0].update(low="small"), "inputs[0].low"),
        (lambda c: c["inputs"][0].update(low=True), "inputs[0].low"),
        (lambda c: c.update(k_range=[1e-4]), "k_range"),
        (lambda c: c.update(k_range=3.0), "k_range"),
        (lambda c: c.update(inputs={}), "inputs"),
        (lambda c: c.update(name=None), "name"),
        (lambda c: c.update(contract_version=3), "contract_version is 3, this galaxyjax reads 1 to 2"),
        (lambda c: c.update(contract_version=True), "contract_version"),
        (lambda c: c.pop("contract_version"), "contract_version"),
        (lambda c: c["constraints"][0].update(coefficients={"w0": "x"}), "constraints[0].coefficients.w0"),
        (lambda c: c["inputs"][0].update(low=1.0), "omega_b"),
        (lambda c: c["outputs"][0].update(inputs=["sigma_9"]), "sigma_9"),
    ],
)
def test_a_strict_reading_names_the_file_and_the_field(change, named):
    content = toy_contract().to_json()
    change(content)
    with pytest.raises(FileError) as error:
        Contract.from_json(content, "somewhere/contract.json")
    assert "somewhere/contract.json" in str(error.value) and named in str(error.value)


@pytest.mark.parametrize("content", [[], "text", None, {}])
def test_what_is_not_a_contract_is_refused(content):
    with pytest.raises(FileError):
        Contract.from_json(content)


def test_a_contract_that_contradicts_itself_cannot_be_made():
    with pytest.raises(ConfigError, match="default"):
        Input("h", "", 0.6, 0.8, 0.9, "")
    with pytest.raises(ConfigError, match="reduce"):
        Constraint({"w0": 1.0}, 0.0, "wa", "")
    with pytest.raises(ConfigError, match="twice"):
        toy_contract(outputs=(Output("linear", "", (), ""), Output("linear", "", (), "")))
    # Clipping wa to below its own low end would not be inside the domain.
    with pytest.raises(ConfigError, match="leaves its own bounds"):
        toy_contract(constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -2.5, "wa", ""),))


def test_a_refused_output_says_why_and_an_unknown_one_what_is_close():
    with pytest.raises(UnknownName, match="total matter only"):
        toy_contract().output("nonlinear_cb")
    with pytest.raises(UnknownName, match="did you mean nonlinear"):
        toy_contract().output("nonlinaer")


def test_the_centre_is_inside_every_bound():
    contract = toy_contract(constraints=(Constraint({"w0": 1.0, "wa": 1.0}, -1.2, "wa", ""),))
    centre = contract.centre
    assert all(entry.low <= centre[entry.name] <= entry.high for entry in contract.inputs)
    assert centre["w0"] + centre["wa"] == pytest.approx(-1.2)
    assert toy_contract().centre["wa"] == 0.0


@settings(max_examples=50, deadline=None)
@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    place=st.floats(0.0, 1.0),
    text=st.text(max_size=20),
)
def test_any_input_survives_json(low, width, place, text):
    entry = Input("x", text, low, low + width, min(low + place * width, low + width), text)
    contract = toy_contract(
        inputs=(entry,),
        constraints=(),
        outputs=(Output("linear", text, ("x",), text),),
        derived=(),
        calibrated=(),
    )
    assert Contract.from_json(json.loads(json.dumps(contract.to_json()))).inputs == (entry,)
