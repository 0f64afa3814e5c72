"""Read files that may be damaged, one a line of stdin, and say of each what happened and what it cost.

    python victim.py < lines of JSON {"path", "kind"}

Runs in a process of its own: if it dies, the test sees that.
"""

import json
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import GalaxyjaxError, UnknownName
from galaxyjax.data import open_catalogue, open_grids, open_maps, open_snapshot


def read(path: Path, kind: str, stage: list) -> int:
    """Read all that a file has; return the bytes."""
    if kind in ("maps", "grids"):
        entries = open_maps(path, box_size=25.0) if kind == "maps" else open_grids(path, box_size=25.0)
        stage[0] = "entries"
        one = lambda i: entries[i] if kind == "maps" else entries[i].values  # noqa: E731
        return sum(np.asarray(one(i)).nbytes for i in range(min(len(entries), 200)))
    units = {"units": "kpc/h"} if kind == "binary" or path.name.startswith("camels") else {}
    opened = open_catalogue(path) if kind == "catalogue" else open_snapshot(path, **units)
    total, error = 0, None
    options = {} if kind == "catalogue" else {"mean_molecular_weight": 0.6}
    for species in opened.counts:
        if not opened.counts[species]:
            continue
        for field in opened.fields(species):
            stage[0] = f"{species} {field}"
            try:
                total += opened.read(species, field, **options).nbytes
            except UnknownName:
                raise
            except GalaxyjaxError as found:  # go on: one bad column must not hide what the next one does
                error, stage[1] = error or found, stage[0]
    if error is not None:
        stage[0] = stage[1]
        raise error
    return total


def attempt(path: Path, kind: str) -> dict:
    """Return outcome, message, stage, seconds, and the peak of what was allocated."""
    stage = ["open", ""]
    tracemalloc.reset_peak()
    base = tracemalloc.get_traced_memory()[0]
    began = time.monotonic()
    try:
        result = {"outcome": "read", "bytes": read(path, kind, stage)}
    except GalaxyjaxError as error:
        result = {"outcome": "error", "message": str(error)}
    except Exception as error:  # a defect: the test names it
        result = {"outcome": "defect", "message": f"{type(error).__name__}: {error}"}
    result["seconds"] = time.monotonic() - began
    result["peak"] = tracemalloc.get_traced_memory()[1] - base
    return {**result, "stage": stage[0]}


def main() -> None:
    """Answer each line with a line."""
    tracemalloc.start()
    np.seterr(all="ignore")
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(attempt(Path(job["path"]), job["kind"])), flush=True)


if __name__ == "__main__":
    main()
