"""A wheel, installed into an empty environment, and the quickstart run from it far from the checkout.

    python benchmarks/wheel.py [--keep DIR]

Asked: the wheel holds the shelf and the manifests, `galaxyjax quickstart --mock` converges, and no file of
the checkout is imported. Takes minutes: the environment is installed from nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = (
    "galaxyjax/py.typed",
    "galaxyjax/_shelf/matter_power/contract.json",
    "galaxyjax/_manifests/kids1000.toml",
)


def main() -> int:
    """Return 1 when something asked is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument(
        "--keep", type=Path, help="a folder for wheel and environment; a temporary one otherwise"
    )
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        return trial(given.keep.resolve())
    with tempfile.TemporaryDirectory() as folder:
        return trial(Path(folder))


def trial(folder: Path) -> int:
    """Build, install and run below `folder`."""
    said([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)])
    (wheel,) = folder.glob("galaxyjax-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        missing = [name for name in NEEDED if name not in archive.namelist()]
    if missing:
        print(f"{wheel.name} lacks {', '.join(missing)}: MISSED")
        return 1
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, shelf and manifests inside")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    said([python, "-m", "pip", "install", "-q", f"{wheel}[sample]"])
    where = said([python, "-c", "import galaxyjax; print(galaxyjax.__file__)"], folder).strip()
    if not Path(where).is_relative_to(folder / "venv"):
        print(f"galaxyjax comes from {where}: MISSED")
        return 1
    command = [folder / "venv" / "bin" / "galaxyjax", "quickstart", "--mock", "--json", "--out", "first"]
    summary = json.loads(said(command, folder))
    print(f"quickstart: {summary['data']}, converged {summary['converged']}")
    return int(not summary["converged"])


def said(command: list, folder: Path | None = None) -> str:
    """What a command prints, run where nothing of the checkout is on the path; its failure is ours."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {ended.returncode}\n{ended.stderr[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
