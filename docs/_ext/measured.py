"""The page of measured accuracy and speed: from the cards, and from the stored runs of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path


def page(root: Path) -> str:
    """Every number with where it comes from and on which machine it was measured."""
    from gathered import section, shelf

    parts = [
        "# How good it is, measured\n\nNothing here is typed by hand. The errors stand in each emulator's "
        "contract, where `galaxyjax validate` wrote them; the speeds are the last stored run of "
        "`python benchmarks/run.py`. What the emulators cannot do is on [a page of its own](limits.md).",
        "## Accuracy",
    ]
    for folder in shelf(root):
        card = folder / "card.md"
        found = section(card.read_text("utf-8"), "Measured error") if card.is_file() else ""
        if found:
            version = json.loads((folder / "contract.json").read_text("utf-8"))["version"]
            parts.append(
                f"### {folder.name} {version}\n\n{found}\n\nAgain: `galaxyjax validate emulators/"
                f"{folder.name}`. [The whole card](emulators/{folder.name}.md)."
            )
    parts.append(_speed(root / "benchmarks" / "results"))
    return "\n\n".join(parts) + "\n"


def _speed(folder: Path) -> str:
    """The last stored table of claims."""
    stored = sorted(folder.glob("*.json"))
    if not stored:
        return "## Speed, and the other claims\n\nNo run is stored yet: `python benchmarks/run.py --store`."
    content = json.loads(stored[-1].read_text("utf-8"))
    machine = content["machine"]
    about = (
        f"{machine['name']}, {machine['cores']} cores, {machine['memory_GB']:.0f} GB, "
        f"JAX {machine['jax']} on {machine['device']}, Python {machine['python']}; {content['date']}, "
        f"galaxyjax {content['version']}"
    )
    rows = ["| claim | asked | measured | | command |", "| --- | --- | --- | --- | --- |"]
    for claim in content["claims"]:
        verdict = {True: "met", False: "**missed**", None: ""}[claim["met"]]
        cells = (claim["claim"], claim["asked"] or "", claim["measured"], verdict, f"`{claim['command']}`")
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return (
        f"## Speed, and the other claims\n\nOn {about}.\n\n"
        + "\n".join(rows)
        + "\n\nTimes on a busy machine "
        "are noisy: ratios are of medians taken in turns in one process."
    )
