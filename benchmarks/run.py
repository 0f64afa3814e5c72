"""One table of the claims: asked, measured, ratio to the peer or limit; stored, and held against the last.

    python benchmarks/run.py                 # minutes on two cores
    python benchmarks/run.py --only speed fft
    python benchmarks/run.py --long          # and the scripts that take up to half an hour each
    python benchmarks/run.py --store         # and write benchmarks/results/DATE.json, which the manual shows

Accuracy is read from the emulators' contracts, where `galaxyjax validate` wrote it. Everything else is run:
each script prints its own table, from which the lines named here are read. A claim whose script fails, or
does not print its line, is shown as such and counts as missed; a peer that is not installed, or a survey
that is not at hand, leaves its claims out.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from claims import SCRIPTS, Line, Script

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
NOISE = 0.15  # relative change between two runs below which nothing is said


def main() -> int:
    """Print the table; return 1 when a claim is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    names = [script.name for script in SCRIPTS]
    parser.add_argument("--only", nargs="+", choices=["accuracy", *names], help="only these")
    parser.add_argument("--store", action="store_true", help="write the table to benchmarks/results")
    parser.add_argument("--long", action="store_true", help="the long scripts too")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one script")
    given = parser.parse_args()
    before = last_stored()
    claims = accuracy() if not given.only or "accuracy" in given.only else []
    for script in SCRIPTS:
        if script.name in given.only if given.only else given.long or not script.long:
            print(f"running {script.name} ...", file=sys.stderr, flush=True)
            claims += measure(script, given.limit)
    show(claims, {claim["claim"]: claim["value"] for claim in before.get("claims", [])})
    if before:
        print(f"\nchanges are against {before['date']} on {before['machine']['name']}")
    if given.store:
        store(claims)
    return int(any(claim["met"] is False for claim in claims))


def claim_of(line: Line, value: float | None, command: str, measured: str = "") -> dict:
    """One row of the table; a value of None says in `measured` why there is none."""
    met = None
    if line.asked is not None:
        met = value is not None and (value >= line.asked if line.more else value <= line.asked)
    sign = "at least " if line.more else "at most "
    return {
        "claim": line.claim,
        "asked": "" if line.asked is None else f"{sign}{line.asked:g}{line.unit}",
        "measured": measured or f"{value:.3g}{line.unit}",
        "value": value,
        # Of peer or limit: above 1 is better.
        "ratio": None
        if value is None or not line.asked
        else (value / line.asked) ** (1 if line.more else -1),
        "met": met,
        "command": command,
    }


def accuracy() -> list[dict]:
    """The measured errors in the contracts: spectra, responses, fields and baryons."""
    rows = []
    for path in sorted((ROOT / "emulators").glob("*/contract.json")):
        contract = json.loads(path.read_text(encoding="utf-8"))
        name, error = f"{contract['name']} {contract['version']}", contract["error"]
        for claim, value, asked, more, unit in (
            *of_spectra(error),
            *of_responses(error),
            *(of_fields(error) if path.parent.name == "nbody_field" else ()),
            *of_baryons(error),
        ):
            line = Line(f"{name}: {claim}", "", asked, more, unit)
            rows.append(claim_of(line, value, f"galaxyjax validate emulators/{path.parent.name}"))
    return rows


def of_spectra(error: dict):
    for output, parts in error.get("spectra", {}).items():
        for level, asked in (("p95", 0.1), ("p99", 0.25), ("max", 1.5)):
            yield f"{output}, {level} of abs(P/P_truth - 1)", 100 * parts["core"][level], asked, False, "%"


def of_responses(error: dict):
    if found := error.get("left_out"):
        yield "left out, inside the hull: largest", 100 * found["largest_inside"], 1.0, False, "%"
        yield "left out, outside the hull: largest", 100 * found["largest_outside"], None, False, "%"
        within = 100 * found["simulations_within_sigma"] / found["count"]
        yield "simulations within one stated sigma", within, 50.0, True, "%"


def of_fields(error: dict):
    found = error.get("fields", {}).get("emulator", {})
    for key, claim, asked, more in (
        ("power_to_0.5", "P(k) to k = 0.5, mean of runs", 2.0, False),
        ("power_to_0.8", "P(k) to k = 0.8, mean of runs", 5.0, False),
        ("power_to_1", "P(k) to k = 1, mean of runs (aim)", 1.0, False),
        ("velocity_to_0.5", "P of velocity to k = 0.5", 3.0, False),
        ("velocity_coherence", "r of velocity to k = 0.5", 98.0, True),
    ):
        if key in found:
            yield claim, 100 * found[key], asked, more, "%"
    if "slope_error" in error.get("fields", {}):
        yield (
            "d ln P / d Omega_m against the simulator",
            100 * error["fields"]["slope_error"],
            3.0,
            False,
            "%",
        )


def of_baryons(error: dict):
    found = error.get("baryons", {})
    for key, claim, scale, asked, more, unit in (
        ("gas_coherence", "r of gas to k = 2, smallest", 1, 0.97, True, ""),
        ("gas_power", "P of gas to k = 2, mean of runs", 100, 5.0, False, "%"),
        ("temperature_median", "median log T by decade of density", 1, 0.1, False, " dex"),
        ("temperature_scatter", "scatter of log T", 100, 20.0, False, "%"),
        ("pressure_power", "P of pressure to k = 2, mean of runs", 100, 15.0, False, "%"),
    ):
        if key in found.get("emulator", {}):
            yield claim, scale * found["emulator"][key], asked, more, unit
    for kind, label in (("pdf", "PDF"), ("power", "P(k)")):
        for field, p in found.get("tests", {}).get(kind, {}).items():
            yield f"{label} of {field}: p of truth and samples alike", p, 0.05, True, ""


def measure(script: Script, limit: float) -> list[dict]:
    """Run a script and read its lines."""
    command = " ".join(("python", f"benchmarks/{script.name}.py", *script.options))
    if script.needs and not installed(script.needs):
        print(f"{script.name}: left out, {script.needs} is not installed", file=sys.stderr)
        return []
    if script.data and not survey_at_hand():
        print(f"{script.name}: left out, KiDS-1000 is not at hand (set GALAXYJAX_DATA)", file=sys.stderr)
        return []
    words = [sys.executable, str(HERE / f"{script.name}.py"), *script.options]
    environment = {**os.environ, "GALAXYJAX_QUIET": "1", "PYTHONPATH": str(ROOT)}
    try:
        ended = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
        )
        text, trouble = ended.stdout, f"exit code {ended.returncode}"
    except subprocess.TimeoutExpired:
        text, trouble = "", f"longer than {limit:g} s"
    rows = []
    for line in script.lines:
        found = re.search(line.pattern, text, re.MULTILINE)
        value = float(found.group(1)) if found else None
        rows.append(claim_of(line, value, command, "" if found else f"not measured ({trouble})"))
    return rows


def installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def survey_at_hand() -> bool:
    from galaxyjax.data.fetch import Unavailable
    from galaxyjax.data.survey import kids1000

    try:
        return bool(kids1000(download=False))
    except Unavailable:
        return False


def show(claims: list[dict], before: dict) -> None:
    """Print the table, with the change since the last stored one where it is more than noise."""
    width = max(len(claim["claim"]) for claim in claims) if claims else 0
    print(f"{'claim':{width}} {'asked':>16} {'measured':>10} {'ratio':>7}")
    for claim in claims:
        ratio = "" if claim["ratio"] is None else f"{claim['ratio']:.2f}"
        verdict = "  MISSED" if claim["met"] is False else ""
        old, new = before.get(claim["claim"]), claim["value"]
        if old and new is not None and abs(new / old - 1.0) > NOISE:
            verdict += f"  (was {old:.3g}: {new / old - 1.0:+.0%})"
        print(f"{claim['claim']:{width}} {claim['asked']:>16} {claim['measured']:>10} {ratio:>7}{verdict}")


def last_stored() -> dict:
    """The newest table in benchmarks/results, {} when there is none."""
    stored = sorted(RESULTS.glob("*.json"))
    return json.loads(stored[-1].read_text(encoding="utf-8")) if stored else {}


def store(claims: list[dict]) -> None:
    import jax

    import galaxyjax
    from galaxyjax.core.files import write_json

    date = time.strftime("%Y-%m-%d")
    path = RESULTS / f"{date}.json"
    content = {
        "date": date,
        "version": galaxyjax.__version__,
        "machine": asdict(machine(jax)),
        "claims": claims,
    }
    write_json(path, content)
    print(f"wrote {path.relative_to(ROOT)}")


@dataclass(frozen=True)
class Machine:
    """Where a table was measured."""

    name: str
    cores: int
    memory_GB: float
    device: str
    jax: str
    python: str


def machine(jax) -> Machine:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE)
        name = found.group(1).strip() if found else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return Machine(name, os.cpu_count() or 1, memory, device, jax.__version__, platform.python_version())


if __name__ == "__main__":
    sys.exit(main())
