"""What the two forms of `galaxyjax predict` for fields share: the checks of a box, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.files import atomic_path, write_npz


def check(z: Sequence[float], cells: int, multiple: int) -> None:
    """Raise ConfigError for several redshifts or a number of cells that is none."""
    if len(z) != 1:
        raise ConfigError(f"--z {' '.join(f'{v:g}' for v in z)}: a field has one redshift; call it once each")
    if cells < 1:
        raise ConfigError(f"--cells {cells}: give a positive multiple of {multiple}")


def write(path: Path, about: Mapping, arrays: Mapping[str, np.ndarray], units: Mapping[str, str]) -> None:
    """Write all of a box, HDF5 or npz by the suffix, whole or not at all.

    about: numbers and words, and the mapping "theta". units: of each array, in words.
    """
    if path.suffix == ".npz":
        write_npz(path, {**arrays, "about": np.asarray(json.dumps({**about, "units": units}))})
        return
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({name: value for name, value in about.items() if not isinstance(value, Mapping)})
        file.create_group("theta").attrs.update(about["theta"])
        for name, values in arrays.items():
            file.create_dataset(name, data=values).attrs["units"] = units[name]
