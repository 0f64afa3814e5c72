"""Maps of shear and of convergence: FITS images, npy, or named arrays of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.core.files import read_npz
from galaxyjax.data.npy import NpyFile

NOISE = ("scaled", "uniform", "given")
GROUPS = 8  # of pixels, between which the scatter is compared
APART = 0.2  # by which their ratios may differ, chance apart


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
        return float(np.sqrt(np.mean(self._scatter(signal_variance) / self._given())))

    def noise_ratios(self, signal_variance: float, groups: int = GROUPS) -> np.ndarray:
        """Return the shear's scatter over the noise given, (groups,), from the quietest pixels on.

        Groups of equal numbers of pixels. All alike where the noise given describes the shear's.
        """
        given, scatter = self._given().ravel(), self._scatter(signal_variance).ravel()
        parts = np.array_split(np.argsort(given), groups)
        return np.sqrt([scatter[part].mean() / given[part].mean() for part in parts])

    def with_noise(self, model: str, signal_variance: float) -> ShearMaps:
        """Return the maps with the noise that `model` (of NOISE) makes of the one given.

        scaled: in the proportions given, its size measured. uniform: one number, measured; what was given
        tells where there are data. given: as it is. Raises DataError for proportions that the shear's scatter
        contradicts, and ConfigError for another model.
        """
        if model not in NOISE:
            raise ConfigError(f"noise model {model!r}; give one of {', '.join(NOISE)}")
        if model == "given":
            return self
        if model == "uniform":
            std = np.where(self.seen, np.sqrt(self._scatter(signal_variance).mean()), 0.0)
            return replace(self, std1=std, std2=std)
        ratios = self.noise_ratios(signal_variance)
        # A ratio of m squares of normal noise is known to 1 / sqrt(2 m).
        error = np.sqrt(GROUPS / (2.0 * self._given().size))
        if ratios.max() > (1.0 + APART + 5.0 * error) * ratios.min():
            raise DataError(
                "shear maps: the shear does not scatter as the noise given says: "
                f"{ratios[0]:.2f} times it in the quietest eighth of the pixels, {ratios[-1]:.2f} in the "
                "loudest. Are the noise images those of this shear? For one noise everywhere give the noise "
                "model 'uniform'; to insist, 'given'"
            )
        scale = self.noise_scale(signal_variance)
        return replace(self, std1=scale * self.std1, std2=scale * self.std2)

    def _given(self) -> np.ndarray:
        """Variance of the noise given, (2, seen pixels)."""
        return np.stack([np.square(std[self.seen]) for std in (self.std1, self.std2)])

    def _scatter(self, signal_variance: float) -> np.ndarray:
        """What each pixel says of the noise's variance, (2, seen pixels)."""
        found = np.stack([np.square(g[self.seen]) for g in (self.gamma1, self.gamma2)]) - signal_variance
        if not found.mean() > 0:
            raise DataError(
                f"shear maps: a signal variance of {signal_variance:g} exceeds the shear's own; check "
                "the units of spectrum and pixel, or trust the noise as given"
            )
        return found


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
