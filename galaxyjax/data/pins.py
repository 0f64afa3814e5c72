"""Pins: the checksums of files whose publisher gives none, as they were when they first came.

One JSON file a dataset, in `.pins` of the cache: {file name: {"sha256", "size", "from", "on"}}. A later
download must be the same file, or it is refused with both checksums.
"""

import datetime
from pathlib import Path

from galaxyjax.core.errors import FileError
from galaxyjax.core.files import read_json, write_json
from galaxyjax.data.download import Altered
from galaxyjax.data.locks import locked


def pins_file(cache: Path, dataset: str) -> Path:
    """Return where the pins of a dataset are."""
    return cache / ".pins" / f"{dataset}.json"


def read_pins(cache: Path, dataset: str) -> dict[str, dict]:
    """Return the pins of a dataset by file name. Raises FileError when the file is not one."""
    path = pins_file(cache, dataset)
    pins = read_json(path) if path.exists() else {}
    if not isinstance(pins, dict) or not all(
        isinstance(pin, dict) and "sha256" in pin for pin in pins.values()
    ):
        raise FileError(f"{path}: not a file of pins; remove it, and what is in the cache is pinned again")
    return pins


def pin(cache: Path, dataset: str, name: str, sha256: str, size: int, origin: str) -> None:
    """Write down what a file is, or check that it is what was written. Raises Altered when it is another."""
    path = pins_file(cache, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{dataset}.lock")):
        pins = read_pins(cache, dataset)
        if name not in pins:
            now = datetime.datetime.now(datetime.UTC).date().isoformat()
            pins[name] = {"sha256": sha256, "size": size, "from": origin, "on": now}
            write_json(path, dict(sorted(pins.items())))
        elif pins[name]["sha256"] != sha256:
            raise Altered(
                f"{name}: sha256 {sha256} ({size} bytes) is not {pins[name]['sha256']}, pinned on "
                f"{pins[name].get('on', 'an unknown day')}; if the publisher changed the file, take its "
                f"entry out of {path}"
            )
