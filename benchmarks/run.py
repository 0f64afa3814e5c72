"""One table of the claims: asked, measured, ratio to the peer or limit; stored, and held against the last.

    python benchmarks/run.py                 # minutes on two cores
    python benchmarks/run.py --only speed fft
    python benchmarks/run.py --store         # and write benchmarks/results/DATE.json, which the manual shows

Accuracy is read from the emulators' contracts, where `galaxyjax validate` wrote it. Everything else is run:
each script prints its own table, from which the lines named here are read. A claim whose script fails, or
does not print its line, is shown as such and counts as missed; a peer that is not installed leaves its
claims out.
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

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
NOISE = 0.15  # relative change between two runs below which nothing is said
NUMBER = r"([-+0-9.eE]+)"


@dataclass(frozen=True)
class Line:
    """A number in what a script prints: `pattern` has one group; asked None: only shown.

    unit: printed after the number. more: whether larger is better.
    """

    claim: str
    pattern: str
    asked: float | None
    more: bool = True
    unit: str = "x"


@dataclass(frozen=True)
class Script:
    """A benchmark with its options and the lines that are claims."""

    name: str
    options: tuple[str, ...]
    lines: tuple[Line, ...]
    needs: str = ""  # a package without which the claims are left out


def speed_line(claim: str, measure: str, output: str, asked: float | None) -> Line:
    return Line(claim, rf"^{measure} +{output} +{output} +\S+ +\S+ +{NUMBER}x", asked)


SCRIPTS = (
    Script(
        "speed",
        (),
        (
            speed_line("1000 linear spectra, over cosmopower-jax", "throughput", "linear", 3.0),
            speed_line("1000 non-linear spectra, over cosmopower-jax", "throughput", "nonlinear", 3.0),
            speed_line("one linear spectrum, over cosmopower-jax", "latency", "linear", 1.0),
            speed_line("one non-linear spectrum, over cosmopower-jax", "latency", "nonlinear", 1.0),
            speed_line(
                "gradient of a non-linear spectrum, over cosmopower-jax", "gradient", "nonlinear", None
            ),
        ),
        needs="cosmopower_jax",
    ),
    Script(
        "likelihood_gradient",
        (),
        (Line("KiDS-1000 posterior: value and gradient over value", rf"^ +1 .*\| +{NUMBER}$", 3.0, False),),
    ),
    Script(
        "fft",
        (),
        (
            Line(
                "FFT of 64³ on 8 devices: error", rf"^pencil .*? \S+ +\S+ +{NUMBER} +1e-06", 1e-6, False, ""
            ),
            Line("FFT of 64³ in slabs: jnp.fft.rfftn takes", rf"^slab 8 x 1 +jnp\S+ +\S+ +{NUMBER} ", 1.0),
            Line("FFT of 64³ in slabs: jaxdecomp takes", rf"^slab 8 x 1 +jaxd.*?\) +\S+ +{NUMBER} ", 1.0),
        ),
    ),
    Script(
        "painting",
        (),
        (
            Line("cloud in cell of random particles, over bincount", rf"^random .* {NUMBER}x +3", 3.0),
            Line("cloud in cell of sorted particles, over bincount", rf"^sorted .* {NUMBER}x +3", 3.0),
        ),
    ),
    Script(
        "field_inference",
        (),
        (Line("voxels a second, over blocks padded by 48 cells", rf": {NUMBER} times", 4.0),),
    ),
    Script(
        "vnet_mesh",
        (),
        (
            Line(
                "memory of a V-Net's gradient over its share and halos",
                rf"over an eighth times the surface factor: {NUMBER},",
                1.0,
                False,
                "",
            ),
        ),
    ),
)


def main() -> int:
    """Print the table; return 1 when a claim is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    names = [script.name for script in SCRIPTS]
    parser.add_argument("--only", nargs="+", choices=["accuracy", *names], help="only these")
    parser.add_argument("--store", action="store_true", help="write the table to benchmarks/results")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one script")
    given = parser.parse_args()
    before = last_stored()
    claims = accuracy() if not given.only or "accuracy" in given.only else []
    for script in SCRIPTS:
        if not given.only or script.name in given.only:
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
    """The measured errors in the contracts, of spectra and of fields."""
    rows = []
    for path in sorted((ROOT / "emulators").glob("*/contract.json")):
        contract = json.loads(path.read_text(encoding="utf-8"))
        name, error = f"{contract['name']} {contract['version']}", contract["error"]
        command = f"galaxyjax validate emulators/{path.parent.name}"
        for output, parts in error.get("spectra", {}).items():
            for level, asked in (("p95", 1e-3), ("p99", 2.5e-3), ("max", 1.5e-2)):
                line = Line(f"{name}: {output}, {level} of abs(P/P_truth - 1)", "", 100 * asked, False, "%")
                rows.append(claim_of(line, 100 * parts["core"][level], command))
        found = error.get("fields", {}).get("emulator", {})
        for key, asked in (("power_to_0.5", 2.0), ("power_to_0.8", 5.0)):
            if key in found:
                line = Line(f"{name}: P(k) to k = {key.split('_')[-1]}, mean of runs", "", asked, False, "%")
                rows.append(claim_of(line, 100 * found[key], command))
    return rows


def measure(script: Script, limit: float) -> list[dict]:
    """Run a script and read its lines."""
    command = " ".join(("python", f"benchmarks/{script.name}.py", *script.options))
    if script.needs and not installed(script.needs):
        print(f"{script.name}: left out, {script.needs} is not installed", file=sys.stderr)
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
    from importlib.util import find_spec

    return find_spec(package) is not None


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
