"""Numbers of a response emulator as rows of text: its card, its page and the command line say the same."""

from __future__ import annotations

from collections.abc import Mapping

from galaxyjax.report.words import per_cent

HEADERS = (
    "left out",
    "hull of the others",
    "largest error",
    "rms",
    "stated rms",
    "points within 1 sigma",
    "error / sigma, rms",
)


def numbers(row: Mapping) -> tuple[str, ...]:
    """Cells of one simulation, after its name."""
    errors = (per_cent(row[name]) for name in ("largest", "rms", "stated_rms"))
    where = "inside" if row["inside"] else "outside"
    return (where, *errors, f"{100.0 * row['covered']:.0f}%", f"{row['chi']:.2f}")


def ordered(summary: Mapping) -> list[tuple[str, Mapping]]:
    """(name, numbers) of every simulation: those inside the others' hull first, then by error."""
    return sorted(summary["simulations"].items(), key=lambda e: (not e[1]["inside"], e[1]["largest"]))


def rows(summary: Mapping) -> list[tuple[str, ...]]:
    """One row a simulation, in that order."""
    return [(name, *numbers(row)) for name, row in ordered(summary)]


def verdict(summary: Mapping) -> str:
    """One sentence on all simulations."""
    return (
        f"Largest error to k = {summary['k_judged']:g} h/Mpc: {per_cent(summary['largest_inside'])} inside "
        f"the others' hull, {per_cent(summary['largest_outside'])} outside. Within one stated sigma: "
        f"{100.0 * summary['covered']:.0f}% of points, mean of the simulations; "
        f"{summary['simulations_within_sigma']} of {summary['count']} simulations by their rms."
    )


def by_simulation(checks: Mapping) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Headers and rows of HMcode and ANTILLES, as far as they are there."""
    headers, columns = ["gas, stars, jets"], []
    if "hmcode" in checks:
        headers += ["HMcode logT_AGN", "rms left"]
        columns.append([(f"{row['logT_AGN']:.2f}", per_cent(row["rms"])) for row in checks["hmcode"]])
    if "antilles" in checks:
        headers += ["ANTILLES baryons, z = 0.125", "z = 1", "rms left"]
        columns.append(
            [(*(f"{f:.2f}" for f in row["fraction"]), per_cent(row["rms"])) for row in checks["antilles"]]
        )
    names = [row["theta"] for row in next(checks[f] for f in ("hmcode", "antilles") if f in checks)]
    lines = zip(names, *columns, strict=True)
    return tuple(headers), tuple(
        (", ".join(f"{value:+g}" for value in name), *(cell for part in parts for cell in part))
        for name, *parts in lines
    )


def by_code(camels: Mapping) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Headers and rows of the codes of CAMELS."""
    headers = ("CAMELS", "nearest sigma_gas", "sigma_star", "jet", "rms left", "largest")
    return headers, tuple(
        (
            code,
            *(f"{row[name]:+.1f}" for name in ("sigma_gas", "sigma_star", "jet")),
            per_cent(row["rms"]),
            per_cent(row["largest"]),
        )
        for code, row in camels.items()
    )
