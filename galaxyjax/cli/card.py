"""`galaxyjax card`: what an emulator is and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console


@dataclass(frozen=True)
class Card:
    """Print an emulator's card, made from its contract: domain, truth, measured error, limits, citations."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EMULATOR")] = "matter_power"
    """An emulator on the shelf, or its folder."""
    write: bool = False
    """Write card.md into the emulator's folder instead."""
    browser: bool = False
    """Open it in a browser instead, with the figures of its validation."""
    json: bool = False
    """Print the contract as JSON instead."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        from galaxyjax.emulator.contract import read_contract
        from galaxyjax.emulator.shelf import find

        folder = find(self.name)
        contract = read_contract(folder)
        if self.json:
            console.print_json(contract.to_json())
            return
        if self.browser:
            self._open(folder, contract)
            return
        from galaxyjax.report.card import card, write_card

        if self.write:
            console.say(f"wrote {write_card(folder, contract)}")
        else:
            console.say(card(contract))

    def _open(self, folder, contract) -> None:
        import webbrowser

        from galaxyjax.data.fetch import cache_folder
        from galaxyjax.report.card_page import write_card_page

        page = write_card_page(cache_folder() / "cards" / f"{folder.resolve().name}.html", folder, contract)
        if not webbrowser.open(page.resolve().as_uri()):
            console.note("no browser was found; open the file yourself")
        console.say(f"wrote {page}")
