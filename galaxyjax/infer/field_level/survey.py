"""A tracer's contrast on a grid, as a file and in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import DataError, FileError
from galaxyjax.core.files import atomic_path, read_npz


@dataclass(frozen=True)
class TracerSurvey:
    """contrast: (n, n, n). noise_std: of each cell, one number or (n, n, n), infinite where nothing was seen.

    box_size: Mpc/h. z: redshift. truth: linear contrast today (n, n, n) of a mock, or None. theta: of a mock.
    Raises DataError for a contrast that is no cube.
    """

    contrast: np.ndarray
    noise_std: np.ndarray
    box_size: float
    z: float
    truth: np.ndarray | None = None
    theta: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        shape = np.shape(self.contrast)
        if len(shape) != 3 or len(set(shape)) != 1:
            raise DataError(f"tracer survey: contrast of shape {shape} must be a cube (n, n, n)")

    @property
    def cells(self) -> int:
        """Cells a side."""
        return self.contrast.shape[0]

    def save(self, path: str | Path) -> None:
        """Write the survey to an HDF5 file, whole or not at all."""
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["box_size"], file.attrs["z"] = self.box_size, self.z
            file["contrast"], file["noise_std"] = self.contrast, self.noise_std
            if self.truth is not None:
                file["truth"] = self.truth
            file.create_group("theta").attrs.update(self.theta)


def read_survey(path: str | Path) -> TracerSurvey:
    """Read a tracer from .h5 (datasets contrast, noise_std; attributes box_size, z) or .npz, same names.

    Raises FileError when it is missing or lacks one of them.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            arrays = read_npz(path)
            numbers = [float(arrays[name]) for name in ("box_size", "z")]
            return TracerSurvey(arrays["contrast"], arrays["noise_std"], *numbers, arrays.get("truth"))
        with h5py.File(path, "r") as file:
            theta = dict(file["theta"].attrs) if "theta" in file else {}
            return TracerSurvey(
                file["contrast"][()],
                file["noise_std"][()],
                float(file.attrs["box_size"]),
                float(file.attrs["z"]),
                file["truth"][()] if "truth" in file else None,
                {name: float(value) for name, value in theta.items()},
            )
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, KeyError) as broken:
        raise FileError(
            f"{path}: not a tracer ({broken}); it needs contrast, noise_std, box_size and z"
        ) from broken
