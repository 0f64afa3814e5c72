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
    parts += _calibration(root / "benchmarks" / "results" / "calibration")
    parts += _mass_map(root / "benchmarks" / "results" / "mass_map")
    parts.append(_speed(root / "benchmarks" / "results"))
    return "\n\n".join(parts) + "\n"


def _calibration(folder: Path) -> list[str]:
    """The last stored calibration by simulation, with its figures; nothing when there is none."""
    if not (folder / "kids1000.json").is_file():
        return []
    content = json.loads((folder / "kids1000.json").read_text("utf-8"))
    rows = [
        "| posteriors | | smallest p | of | asked | TARP's p | fewest effective draws | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, case in content["cases"].items():
        smallest, worst = min((found["p"], what) for what, found in case["quantities"].items())
        verdict = "calibrated" if case["passes"] else "**not calibrated**"
        rows.append(
            f"| {name} | {verdict} | {smallest:.2g} | {worst} | {case['asked_p']:.2g} "
            f"| {case['tarp']['p']:.2g} | {case['smallest_ess']:.0f} | {case['wall_s'] / 60.0:.0f} |"
        )
    first, (low, high) = next(iter(content["cases"].values())), content["S8"]
    figures = "\n\n".join(
        f"```{{figure}} ../benchmarks/results/calibration/{name}.png\n:alt: {alt}\n:width: {width}\n\n"
        f"{text}\n```"
        for name, width, alt, text in (
            ("ranks", "100%", "Ranks of truths", "Ranks of truths less uniform ones, with their 95% band."),
            (
                "coverage",
                "50%",
                "Coverage",
                "Share of truths within credible regions of all parameters at once.",
            ),
        )
    )
    return [
        f"## Calibration\n\n{first['mocks']} mock surveys of KiDS-1000 with spectra from CAMB, their "
        f"posteriors by the emulator, S8 flat between {low} and {high} ({content['date']}; `python "
        f"benchmarks/calibration.py --folder DIR --store`). Ranks of every parameter and of the log "
        f"likelihood, {first['draws']} draws a mock.\n\n" + "\n".join(rows),
        figures,
    ]


def _mass_map(folder: Path) -> list[str]:
    """The last stored mass maps, judged against their truths; nothing when there are none."""
    stored = [folder / f"{name}.json" for name in ("kappatng", "own")]
    if not all(path.is_file() for path in stored):
        return []
    sky, own = (json.loads(path.read_text("utf-8")) for path in stored)
    rows = ["| truth | map | pixel r | root mean square error |", "| --- | --- | --- | --- |"]
    titles = {"kaiser_squires": "Kaiser & Squires, smoothed", "wiener": "Wiener", "mean": "posterior mean"}
    for truth, found in (("kappaTNG", sky), ("drawn from the prior", own)):
        for name, title in titles.items():
            one = found["against_truth"][name]
            rows.append(f"| {truth} | {title} | {one['r']:.3f} | {one['rmse']:.5f} |")
    shares = "; ".join(
        f"{truth}, "
        + ", ".join(f"{100 * v:.1f}% for {k}" for k, v in found["against_truth"]["coverage"].items())
        for truth, found in (("kappaTNG", sky), ("a map drawn from the prior", own))
    )
    return [
        f"## Mass maps\n\nOne patch of kappaTNG behind COSMOS' mask, noise {sky['noise_std']:.3f} a pixel of "
        f"0.29 arcmin ({sky['date']}; `python benchmarks/mass_map.py --store`); the prior has another "
        f"patch's distribution and theory's power. Judged where there are data.\n\n" + "\n".join(rows),
        f"Truth within the central intervals of the draws: {shares}.",
        "```{figure} ../benchmarks/results/mass_map/maps.png\n:alt: Maps of convergence\n:width: 100%\n\n"
        "Convergence of the kappaTNG patch; dimmed where nothing was seen.\n```",
    ]


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
