"""Maps of shear and of convergence: FITS images, npy, or named arrays of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import DataError, FileError
from galaxyjax.core.files import read_npz
from galaxyjax.data.npy import NpyFile


@dataclass(frozen=True)
class ShearMaps:
    """gamma1, gamma2: (ny, nx), the first axis y. std1, std2: of their noise, 0 where nothing was seen.

    Raises DataError when the four shapes differ.
    """

    gamma1: np.ndarray
    gamma2: np.ndarray
    std1: np.ndarray
    std2: np.ndarray

    def __post_init__(self):
        shapes = {name: np.shape(getattr(self, name)) for name in ("gamma1", "gamma2", "std1", "std2")}
        if len(set(shapes.values())) != 1 or len(shapes["gamma1"]) != 2:
            raise DataError(f"shear maps: shapes {shapes} must be one and the same (ny, nx)")

    @property
    def seen(self) -> np.ndarray:
        """Where there are data, (ny, nx)."""
        return np.isfinite(self.std1) & (self.std1 > 0) & np.isfinite(self.std2) & (self.std2 > 0)

    def noise_scale(self, signal_variance: float) -> float:
        """Return the factor by which the noise's standard deviations explain the shear's scatter.

        signal_variance: of the lensing signal in a pixel, each component. Weights of a survey often tell the
        relative noise alone; its size is measured where it was seen, from the shear itself.
        """
        seen = self.seen
        rows = [
            (np.square(g[seen]) - signal_variance) / np.square(s[seen])
            for g, s in ((self.gamma1, self.std1), (self.gamma2, self.std2))
        ]
        found = float(np.mean(rows))
        if not found > 0:
            raise DataError(
                f"shear maps: a signal variance of {signal_variance:g} exceeds the shear's own; check "
                "the units of spectrum and pixel, or trust the noise as given"
            )
        return float(np.sqrt(found))


def read_shear(shear: Sequence[str | Path], noise: Sequence[str | Path] = ()) -> ShearMaps:
    """Read shear and its noise.

    One .npz or .h5 with gamma1, gamma2, std1, std2; or images, FITS or npy: shear in two files, or in one
    with two planes along its last axis, and noise in one file (for both) or two. Raises FileError, DataError.
    """
    shear, noise = [Path(p) for p in shear], [Path(p) for p in noise]
    if len(shear) == 1 and shear[0].suffix in (".npz", ".h5", ".hdf5"):
        return ShearMaps(*_named(shear[0], ("gamma1", "gamma2", "std1", "std2")))
    images = [read_image(path) for path in shear]
    if len(images) == 1 and images[0].ndim == 3 and images[0].shape[-1] == 2:
        images = [images[0][..., 0], images[0][..., 1]]
    if len(images) != 2:
        raise DataError(f"shear: {len(shear)} image(s) hold no two components; give gamma1 and gamma2")
    stds = [read_image(path) for path in noise]
    if len(stds) not in (1, 2):
        raise DataError(f"noise: {len(stds)} images; give one for both components of shear, or one for each")
    return ShearMaps(*images, stds[0], stds[-1])


def read_image(path: str | Path) -> np.ndarray:
    """Return the first image of a FITS file, or an npy array, float64. Raises FileError."""
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if path.suffix == ".npy":
        return np.asarray(NpyFile(path).map(), np.float64)
    try:
        from astropy.io import fits
    except ImportError:
        raise FileError(f"{path}: FITS images need astropy; pip install 'galaxyjax[sample]'") from None
    try:
        with fits.open(path) as units:
            found = next((unit.data for unit in units if unit.data is not None), None)
    except OSError as error:
        raise FileError(f"{path}: not a FITS file ({error})") from None
    if found is None:
        raise FileError(f"{path}: holds no image")
    return np.asarray(found, np.float64)


def _named(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    try:
        if path.suffix == ".npz":
            arrays = read_npz(path)
            return [np.asarray(arrays[name], np.float64) for name in names]
        with h5py.File(path, "r") as file:
            return [np.asarray(file[name][()], np.float64) for name in names]
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, KeyError) as broken:
        raise FileError(f"{path}: not shear maps ({broken}); it needs {', '.join(names)}") from broken
