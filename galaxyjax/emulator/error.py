"""The measured error of an emulator: a low-rank covariance of ln P from truth that training never saw."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from galaxyjax.core.errors import DataError, FileError, unknown_name
from galaxyjax.core.files import read_npz, write_npz

FILE_NAME = "error.npz"
LEVELS = (50.0, 68.0, 95.0, 99.0, 100.0)
ARRAYS = ("k", "z", "mean", "modes", "rest", "levels", "quantiles")


@dataclass(frozen=True)
class OutputError:
    """Statistics over cosmologies of e = ln P_emulator − ln P_truth on a coarse grid.

    k (nk,) h/Mpc and z (nz,), ascending. mean (nz, nk) of e; modes (r, nz, nk) with sum of v v^T the
    covariance of e about its mean; rest (nz, nk), the variance that r modes leave out; quantiles (q, nz, nk)
    of |e| at the percentages in levels (q,).
    """

    k: np.ndarray
    z: np.ndarray
    mean: np.ndarray
    modes: np.ndarray
    rest: np.ndarray
    levels: np.ndarray
    quantiles: np.ndarray

    def __post_init__(self):
        nz, nk = len(self.z), len(self.k)
        for name, shape in (
            ("mean", (nz, nk)),
            ("rest", (nz, nk)),
            ("quantiles", (len(self.levels), nz, nk)),
        ):
            if getattr(self, name).shape != shape:
                raise DataError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if self.modes.ndim != 3 or self.modes.shape[1:] != (nz, nk):
            raise DataError(f"modes has shape {self.modes.shape}, expected (r, {nz}, {nk})")
        for name in ARRAYS:
            if not np.isfinite(getattr(self, name)).all():
                raise DataError(f"{name} holds NaN or infinity")


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """The measured error of every output of an emulator; equal and hashed by content."""

    outputs: dict[str, OutputError]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and arrays."""
        content = sha256()
        for name, array in sorted(_flat(self).items()):
            content.update(
                f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes()
            )
        return content.hexdigest()

    def __eq__(self, other):
        return self is other or (isinstance(other, ErrorModel) and self.digest == other.digest)

    def __hash__(self):
        return hash(self.digest)

    def __getitem__(self, output: str) -> OutputError:
        if output not in self.outputs:
            raise unknown_name("output with a measured error", output, self.outputs)
        return self.outputs[output]

    def modes(self, output: str, k: ArrayLike | None = None, z: ArrayLike | None = None) -> np.ndarray:
        """Return vectors v (1 + r, nz, nk), float64, sum of v v^T = <e e^T>: the mean error, then the modes.

        On the stored grid, or on k (nk,) or (nz, nk) in h/Mpc and z (nz,): a cubic spline in z and ln k,
        constant beyond the ends of the grid. A projection J, linear in ln P, adds the covariance sum of (J v)
        (J v)^T. Raises UnknownName for an output without a measured error.
        """
        entry = self[output]
        vectors = np.concatenate([entry.mean[None], entry.modes]).astype(np.float64)
        if k is None and z is None:
            return vectors
        return interpolate(vectors, entry, entry.k if k is None else k, entry.z if z is None else z)

    def spread(self, output: str, k: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Return the root-mean-square of e, (nz, nk), at k and z: the modes and what they leave out."""
        return np.sqrt(np.sum(self.modes(output, k, z) ** 2, axis=0) + self.rest(output, k, z))

    def rest(self, output: str, k: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Return the variance that the modes leave out, (nz, nk), at k and z."""
        entry = self[output]
        return np.maximum(interpolate(entry.rest[None].astype(np.float64), entry, k, z)[0], 0.0)


def measure(
    residuals: ArrayLike, k: ArrayLike, z: ArrayLike, rank: int = 16, nodes: tuple[int, int] = (10, 64)
):
    """Return the OutputError of residuals (n, nz, nk), e = ln P_emulator − ln P_truth, at k (nk,), z (nz,).

    The covariance over the n cosmologies is taken on `nodes` = (nz, nk) points, even in z and in ln k, and
    kept in its `rank` largest modes: e_i − mean = sum of a_ij v_j with unit variance of a. Raises DataError
    on NaN, shapes that do not fit, or fewer than two cosmologies.
    """
    residuals, k, z = (np.asarray(value, np.float64) for value in (residuals, k, z))
    if residuals.ndim != 3 or residuals.shape[1:] != (z.size, k.size) or len(residuals) < 2:
        raise DataError(f"residuals have shape {residuals.shape}; give (n >= 2, {z.size}, {k.size})")
    if not np.isfinite(residuals).all():
        worst = np.argwhere(~np.isfinite(residuals))[0]
        raise DataError(
            f"residual of cosmology {worst[0]} at z = {z[worst[1]]:g}, k = {k[worst[2]]:g} is not finite"
        )
    z_nodes = np.linspace(z[0], z[-1], min(nodes[0], z.size)) if z.size > 1 else z
    k_nodes = np.geomspace(k[0], k[-1], min(nodes[1], k.size))
    coarse = _resample(residuals, k, z, k_nodes, z_nodes)
    mean = coarse.mean(axis=0)
    centred = (coarse - mean).reshape(len(coarse), -1) / np.sqrt(len(coarse) - 1)
    _, scale, shapes = np.linalg.svd(centred, full_matrices=False)
    modes = (scale[:, None] * shapes)[:rank].reshape(-1, *mean.shape)
    rest = np.maximum(np.sum(centred**2, axis=0).reshape(mean.shape) - np.sum(modes**2, axis=0), 0.0)
    quantiles = np.percentile(np.abs(coarse), LEVELS, axis=0)
    small = (array.astype(np.float32) for array in (mean, modes, rest, np.asarray(LEVELS), quantiles))
    return OutputError(k_nodes, z_nodes, *small)


def interpolate(fields: np.ndarray, entry: OutputError, k: ArrayLike, z: ArrayLike) -> np.ndarray:
    """Return fields (r, nz_e, nk_e) on the grid of `entry` at k (nk,) or (nz, nk), z (nz,): (r, nz, nk)."""
    k, z = np.asarray(k, np.float64), np.atleast_1d(np.asarray(z, np.float64))
    if k.ndim < 2:
        return _resample(fields, entry.k, entry.z, np.atleast_1d(k), z)
    rows = [_resample(fields, entry.k, entry.z, k[i], z[i : i + 1]) for i in range(len(z))]
    return np.concatenate(rows, axis=1)


def write_error(path: str | Path, error: ErrorModel) -> None:
    """Write the measured error to one npz file, atomically."""
    write_npz(path, _flat(error))


def read_error(path: str | Path) -> ErrorModel:
    """Return the ErrorModel in an npz file. Raises FileError naming the file and the wrong array."""
    arrays = read_npz(path)
    outputs = {}
    for output in sorted({name.partition(".")[0] for name in arrays}):
        missing = [name for name in ARRAYS if f"{output}.{name}" not in arrays]
        if missing:
            raise FileError(f"{path}: not a measured error: array {output}.{missing[0]} is missing")
        try:
            outputs[output] = OutputError(**{name: arrays[f"{output}.{name}"] for name in ARRAYS})
        except DataError as error:
            raise FileError(f"{path}: {output}: {error}") from error
    return ErrorModel(outputs)


def _flat(error: ErrorModel) -> dict[str, np.ndarray]:
    return {f"{o}.{name}": np.asarray(getattr(e, name)) for o, e in error.outputs.items() for name in ARRAYS}


def _resample(fields, k, z, k_new, z_new) -> np.ndarray:
    """Tensor cubic spline in z and ln k over the last two axes, held constant beyond the ends."""
    if k.size > 1:
        at = np.log(np.clip(k_new, k[0], k[-1]))
        fields = CubicSpline(np.log(k), fields, axis=-1)(at)
    else:
        fields = np.repeat(fields, len(k_new), axis=-1)
    if z.size > 1:
        return CubicSpline(z, fields, axis=-2)(np.clip(z_new, z[0], z[-1]))
    return np.repeat(fields, len(z_new), axis=-2)
