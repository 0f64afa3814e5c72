"""`galaxyjax shelf`: the emulators at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from galaxyjax.cli import console


@dataclass(frozen=True)
class Shelf:
    """List the emulators at hand: inputs and their domain, outputs, truth and measured error."""

    json: bool = False
    """Print everything as JSON instead of a table."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        from galaxyjax.emulator.shelf import shelf

        entries = [entry.summary() for entry in shelf()]
        if self.json:
            console.print_json({"emulators": entries})
            return
        if not entries:
            console.say(
                "no emulators on the shelf; `galaxyjax train emulators/<name>` makes one from its recipe"
            )
        for entry in entries:
            _show(entry)


def _error(entry: dict, output: str) -> list[str]:
    """Percentiles of the measured error of one output in the core of the domain, as a row of a table."""
    from galaxyjax.report.card import per_cent

    core = entry["error"].get("spectra", {}).get(output, {}).get("core", {})
    return [output, *(per_cent(core[name]) if name in core else "-" for name in ("p95", "p99", "max"))]


def _show(entry: dict) -> None:
    if "problem" in entry:
        console.say(f"{entry['name']}: {entry['problem']}\n")
        return
    console.say(f"{entry['name']} {entry['version']}: {entry['description']}")
    console.say(f"  {entry['folder']} ({entry['size'] / 1e6:.2f} MB, {entry['licence']})")
    rows = [(name, f"{low:g}", f"{high:g}") for name, (low, high) in entry["domain"].items()]
    console.say()
    console.table(["input", "from", "to"], rows)
    for constraint in entry["constraints"]:
        console.say(f"  with {constraint}")
    console.say()
    if entry["spacing"] is not None:
        _show_fields(entry)
    else:
        console.table(
            ["output", "error: 95%", "99%", "largest"], [_error(entry, name) for name in entry["outputs"]]
        )
        console.say("  against truth it never saw, 0.4 <= sigma_8 <= 1.2; `galaxyjax card` says more\n")
    console.say(f"  use: galaxyjax.load({entry['name']!r}) or `galaxyjax predict {entry['name']}`\n")


def _show_fields(entry: dict) -> None:
    """Outputs and measured errors of an emulator of fields, beside simpler models."""
    from galaxyjax.report.field_table import headers, rows

    spacing, fields = entry["spacing"], entry["error"].get("fields")
    console.say(f"  gives {', '.join(entry['outputs'])} of whole boxes, particles {spacing:g} Mpc/h apart\n")
    if not fields:
        console.say("  error: not measured yet, `galaxyjax validate` does\n")
        return
    console.table(headers(fields), rows(fields, spacing), left=2)
    console.say(f"  against {fields['runs']} runs it never saw; `galaxyjax card {entry['name']}` says more\n")
