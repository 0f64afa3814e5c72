"""Several independent surveys as one: cosmic shear first, then distances."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.linalg import block_diag

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.data.distances import FORMAT as DISTANCE_FORMAT
from galaxyjax.data.distances import DistanceSurvey, load_distances
from galaxyjax.data.survey import ShearSurvey, load_survey

FORMAT = "galaxyjax-joint-survey-1"


@dataclass(frozen=True, eq=False)
class JointSurvey:
    """One shear survey and distance surveys that share nothing with it but the universe.

    data: (ndata,) all vectors one after the other; covariance: (ndata, ndata), blocks on its diagonal.
    """

    shear: ShearSurvey
    distances: tuple[DistanceSurvey, ...]

    @property
    def parts(self) -> tuple[ShearSurvey | DistanceSurvey, ...]:
        """All surveys, in the order of the data."""
        return (self.shear, *self.distances)

    @property
    def name(self) -> str:
        """The parts' names, "KiDS-1000 + desi_dr2_bao"."""
        return " + ".join(part.name for part in self.parts)

    @property
    def note(self) -> str:
        """The parts' notes."""
        return "; ".join(part.note for part in self.parts if part.note)

    @property
    def citation(self) -> tuple[str, ...]:
        """Everything that is to be cited."""
        return tuple(line for part in self.parts for line in part.citation)

    @cached_property
    def data(self) -> np.ndarray:
        """(ndata,)."""
        return np.concatenate([part.data for part in self.parts])

    @cached_property
    def covariance(self) -> np.ndarray:
        """(ndata, ndata)."""
        return block_diag(*(part.covariance for part in self.parts))

    def save(self, path: str | Path) -> None:
        """Write an npz file that `load_any` reads, atomically."""
        arrays = {f"shear/{f.name}": np.asarray(getattr(self.shear, f.name)) for f in fields(self.shear)}
        for i, part in enumerate(self.distances):
            arrays |= {f"distances{i}/{name}": array for name, array in part.arrays().items()}
        write_npz(path, {"format": np.asarray(FORMAT), **arrays})


def join(parts: list[ShearSurvey | DistanceSurvey]) -> ShearSurvey | JointSurvey:
    """Return one survey of several, in any order. Raises ConfigError unless exactly one is of shear."""
    shear = [part for part in parts if isinstance(part, ShearSurvey)]
    distances = tuple(part for part in parts if isinstance(part, DistanceSurvey))
    if len(shear) != 1:
        said = ", ".join(part.name for part in parts)
        raise ConfigError(f"surveys {said}: exactly one of cosmic shear is needed, {len(shear)} given")
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"survey {name} is given twice: its data would count twice")
    return JointSurvey(shear[0], distances) if distances else shear[0]


def load_any(path: str | Path) -> ShearSurvey | JointSurvey | DistanceSurvey:
    """Return whatever survey an npz file holds. Raises FileError or DataError."""
    arrays = read_npz(path)
    kind = str(arrays.pop("format", ""))
    if kind != FORMAT:
        return load_distances(path) if kind == DISTANCE_FORMAT else load_survey(path)
    groups: dict[str, dict] = {}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = array
    if "shear" not in groups:
        raise FileError(f"{path}: a joint survey without its shear")
    shear = ShearSurvey.from_arrays(groups.pop("shear"))
    parts = tuple(DistanceSurvey.from_arrays(groups[f"distances{i}"]) for i in range(len(groups)))
    return JointSurvey(shear, parts)
