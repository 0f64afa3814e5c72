"""`galaxyjax shelf`: the emulators at hand, and one of them as a file to publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from galaxyjax.cli import console
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Shelf:
    """List the emulators at hand, pack one into a file to publish, or unpack such a file.

    `galaxyjax shelf` shows inputs and domain, outputs, measured error, truth, size and licence.

    `galaxyjax shelf pack NAME FILE.zip` writes one file, the same bytes everywhere, and prints its SHA-256.

    `galaxyjax shelf unpack FILE.zip` checks it, loads it and puts it on your own shelf (GALAXYJAX_SHELF).
    """

    action: Annotated[Literal["list", "pack", "unpack"], tyro.conf.Positional] = "list"
    """What to do."""
    words: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="NAME|FILE", help_behavior_hint="(for pack and unpack)"),
    ] = ()
    """For pack: an emulator (or its folder) and the file to write; for unpack: the file."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: NAME on your own shelf)")
    ] = None
    """For unpack: the emulator's new folder."""
    json: bool = False
    """Print everything as JSON instead of a table."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        count = {"list": 0, "pack": 2, "unpack": 1}[self.action]
        if len(self.words) != count:
            needs = {"list": "no more words", "pack": "NAME FILE", "unpack": "FILE"}[self.action]
            raise ConfigError(f"galaxyjax shelf {self.action}: takes {needs}, not {' '.join(self.words)!r}")
        if self.out is not None and self.action != "unpack":
            raise ConfigError(f"--out {self.out}: for unpack only")
        {"list": self._list, "pack": self._pack, "unpack": self._unpack}[self.action]()

    def _pack(self) -> None:
        console.start_jax()
        from galaxyjax.emulator.pack import pack

        name, file = self.words
        digest = pack(name, file)
        result = {"file": file, "sha256": digest, "size": Path(file).stat().st_size}
        if self.json:
            console.print_json(result)
            return
        console.say(f"wrote {file} ({result['size'] / 1e6:.2f} MB)\nsha256 {digest}")

    def _unpack(self) -> None:
        console.start_jax()
        from galaxyjax.emulator.contract import read_contract
        from galaxyjax.emulator.pack import unpack

        folder = unpack(self.words[0], self.out)
        contract = read_contract(folder)
        if self.json:
            console.print_json({"folder": folder, "name": contract.name, "version": contract.version})
            return
        name = contract.name if self.out is None else folder
        console.say(f"{contract.name} {contract.version} is whole; wrote {folder}")
        console.say(f'use: galaxyjax.load("{name}"), `galaxyjax card {name}`')

    def _list(self) -> None:
        from galaxyjax.emulator.shelf import shelf

        entries = shelf()
        if self.json:
            console.print_json({"emulators": [entry.summary() for entry in entries]})
            return
        if not entries:
            console.say(
                "no emulators on the shelf; `galaxyjax train emulators/<name>` makes one from its recipe"
            )
        for entry in entries:
            _show(entry.summary(), entry.contract)


def _show(entry: dict, contract) -> None:
    if contract is None:
        console.say(f"{entry['name']}: {entry['problem']}\n")
        return
    console.say(f"{entry['name']} {entry['version']}: {entry['description']}")
    console.say(f"  {entry['folder']} ({entry['size'] / 1e6:.2f} MB, {entry['licence']})")
    console.say(f"  truth: {_truth(entry['truth'])}\n")
    rows = [
        (name, f"{low:g}", f"{high:g}", _default(entry, name), entry["units"][name])
        for name, (low, high) in entry["domain"].items()
    ]
    console.table(["input", "from", "to", "default", "unit"], rows)
    for constraint in entry["constraints"]:
        console.say(f"  with {constraint}")
    console.say(f"\n  gives {', '.join(entry['outputs'])}")
    if entry["spacing"] is not None:
        console.say(f"  of whole boxes, particles {entry['spacing']:g} Mpc/h apart")
    _show_error(contract)
    console.say(f"  use: galaxyjax.load({entry['name']!r}) or `galaxyjax predict {entry['name']}`\n")


def _default(entry: dict, name: str) -> str:
    value = entry["defaults"].get(name)
    return "" if value is None else f"{value:g}"


def _truth(truth: dict) -> str:
    """Code and version first, then what else is a word rather than a number."""
    named = [str(truth[key]) for key in ("code", "version") if key in truth]
    others = [f"{key} {value}" for key, value in truth.items() if isinstance(value, str)]
    others = [text for text in others if text.split()[0] not in ("code", "version")]
    return " ".join(named) + (f" ({', '.join(others)})" if others else "")


def _show_error(contract) -> None:
    """The measured error, as on the card."""
    from galaxyjax.report.card import error_tables

    tables = error_tables(contract)
    if not tables:
        console.say("  error: not measured yet, `galaxyjax validate` does\n")
        return
    console.say("  measured against truth it never saw:\n")
    for headers, *rows in tables:
        console.table(headers, rows, left=2)
        console.say()
    console.say(f"  `galaxyjax card {contract.name}` says what the columns mean")
