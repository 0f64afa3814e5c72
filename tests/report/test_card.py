"""A card says what its contract says, number by number."""

import re
from dataclasses import replace

from galaxyjax.report import card


def rows(text: str) -> dict[str, list[str]]:
    """First cell -> other cells of every table row of a Markdown text."""
    found = {}
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line:
            first, *rest = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            found[first.strip("`* ").replace("` *", "")] = rest
    return found


def test_domain_and_defaults_are_the_contracts(contract):
    found = rows(card.card(contract))
    for entry in contract.inputs:
        unit, low, high, default, description = found[entry.name]
        assert (float(low), float(high)) == (entry.low, entry.high)
        assert default == ("required" if entry.default is None else f"{entry.default:g}")
    assert [float(value) for value in found["k"][1:3]] == list(contract.k_range)
    assert [float(value) for value in found["z"][1:3]] == list(contract.z_range)


def test_errors_are_the_contracts(contract):
    found = rows(card.card(contract))
    for name, value in contract.error["nonlinear"].items():
        assert abs(float(found[f"nonlinear.{name}"][0]) / value - 1.0) < 1e-3


def test_an_emulator_without_measured_error_says_so(contract):
    assert "Not measured yet" in card.card(replace(contract, error={}))


def test_extrapolated_truth_is_marked(contract):
    text = card.card(contract)
    assert "**`z` 2 to 3: extrapolated truth.** HMcode was calibrated at z <= 2." in text
    assert "**`logT_AGN` 7.4 to 7.6 and 8 to 8.3: extrapolated truth.**" in text
    assert "| `z` * |" in text and "| `logT_AGN` * |" in text and "| `w0` |" in text


def test_a_fully_calibrated_domain_has_no_marks(contract):
    text = card.card(replace(contract, calibrated=()))
    assert "extrapolated" not in text and "`z` *" not in text


def test_refusals_limits_citations_and_licence(contract):
    text = card.card(contract)
    assert "- **nonlinear_cb** is refused: HMcode gives total matter only." in text
    assert "- No primordial features." in text
    assert "Lewis, Challinor & Lasenby 2000" in text and "Mead" in text
    assert "Fang" not in text  # the truth did not use PPF
    assert text.endswith("## Licence\n\nApache-2.0\n")
    assert "w0 + wa <= -0.3" in text


def test_a_bar_in_a_description_does_not_break_the_table(contract):
    assert rows(card.card(contract))["logT_AGN"][-1] == r"feedback \| strength"


def test_the_card_is_written_beside_the_contract(contract, tmp_path):
    path = card.write_card(tmp_path, contract)
    assert path == tmp_path / "card.md" and path.read_text(encoding="utf-8") == card.card(contract)


def test_measured_errors_are_tables_of_per_cents(contract):
    part = {"cosmologies": 9, "p50": 1e-4, "p95": 1e-3, "p99": 2e-3, "max": 1e-2, "worst_p95": 4e-3}
    spectra = {"nonlinear": {"core": part, "whole": {"cosmologies": 0, "values": 0}}}
    error = {
        "spectra": spectra,
        "gradients": {"cosmologies": 2, "largest": {"nonlinear": 0.007}},
        "other": 0.5,
    }
    text = card.card(replace(contract, error=error))
    assert "| `nonlinear` | core | 9 | 0.01% | 0.1% | 0.2% | 1% | 0.4% |" in text
    assert "whole" not in text
    assert "at 2 cosmologies" in text and "| `nonlinear` | 0.7% |" in text
    assert "| other | 0.5 |" in text


def test_settings_are_printed_to_the_digits_that_matter(contract):
    found = rows(card.card(replace(contract, truth={"T_cmb": 2.7255, "z": [0.5, 1.0], "exact": True})))
    assert found["T_cmb"] == ["2.7255"] and found["z"] == ["0.5, 1"] and found["exact"] == ["True"]
