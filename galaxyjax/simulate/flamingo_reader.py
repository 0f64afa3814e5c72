"""A process of its own that asks the FLAMINGO package for its measured responses; `responses` runs it.

    python -I flamingo_reader.py sha256 < /dev/null > responses.json

The package keeps its data in a format whose reading can run code. So the file is hashed first, and only this
process, which knows nothing of ours, sees what comes of it; plain numbers leave it as JSON.
"""

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

CPU_S = 600
FILE_BYTES = 16 << 20  # matplotlib, which the package imports, writes its font cache
PACKAGE = "FlamingoBaryonResponseEmulator"
NAMES = ("sigma_gas", "sigma_star", "jet", "z")


def main(expected: str) -> int:
    """Print the package's tables; return 3 where it is not installed, 4 where its data differs."""
    spec = find_spec(PACKAGE)
    if spec is None:
        return 3
    file = Path(spec.origin).parent / "data" / "emulator.xz"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != expected:
        print(f"{file}: sha256 is {found}", file=sys.stderr)
        return 4
    limit()
    from FlamingoBaryonResponseEmulator import FlamingoBaryonResponseEmulator, __version__

    stored = FlamingoBaryonResponseEmulator().PS_ratio_emulator
    rows = []
    for index, parameters in stored.model_parameters.model_parameters.items():
        values = stored.model_values.model_values[index]
        row = {name: float(parameters[name]) for name in NAMES}
        for ours, theirs in (("k", "independent"), ("response", "dependent"), ("error", "dependent_error")):
            row[ours] = [float(value) for value in values[theirs]]
        rows.append(row)
    print(json.dumps({"version": __version__, "rows": rows}))
    return 0


def limit() -> None:
    """Only small files and so much time, where the system can say so."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
