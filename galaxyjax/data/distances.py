"""Distance surveys: acoustic scales and supernovae, from the text files in which Cobaya distributes them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import DataError, FileError, unknown_name
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import load_manifest
from galaxyjax.data.survey import _check_covariance, read_matrix

FORMAT = "galaxyjax-distance-survey-1"
QUANTITIES = ("DM_over_rs", "DH_over_rs", "DV_over_rs", "mu")
SURVEYS = ("desi_dr1_bao", "desi_dr2_bao", "union3")


@dataclass(frozen=True, eq=False)
class DistanceSurvey:
    """Distances with their covariance. All arrays float64.

    quantity: (n,) names of QUANTITIES; distances over the sound horizon r_drag: comoving D_M, D_H = c / H and
    D_V = (z D_M^2 D_H)^(1/3); or mu, the distance modulus up to one constant, which is common to all of them
    and unknown. z: (n,) in the frame of the microwave background, z_helio: (n,) as observed. measured: (n,).
    error: (n, n) covariance. Raises DataError on NaN, wrong shapes, a covariance that is not symmetric and
    positive definite, or mu beside other quantities.
    """

    name: str
    quantity: tuple[str, ...]
    z: np.ndarray
    z_helio: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    citation: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self):
        for name in ("z", "z_helio", "measured", "error"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        for name in ("quantity", "citation"):
            object.__setattr__(self, name, tuple(str(word) for word in getattr(self, name)))
        n = len(self.quantity)
        for name in ("z", "z_helio", "measured", "error"):
            value, shape = getattr(self, name), (n, n) if name == "error" else (n,)
            if value.shape != shape:
                raise DataError(f"{self.name}: {name} has shape {value.shape}, expected {shape}")
            if not np.isfinite(value).all():
                raise DataError(f"{self.name}: {name} holds NaN or infinity")
        for word in self.quantity:
            if word not in QUANTITIES:
                raise DataError(f"{self.name}: {unknown_name('quantity', word, QUANTITIES)}")
        if 0 < self.quantity.count("mu") < n or (self.relative and n < 2):
            raise DataError(f"{self.name}: distance moduli stand alone, and there must be two at least")
        if n == 0 or not np.all(self.z > 0.0):
            raise DataError(f"{self.name}: at least one redshift, all above 0")
        _check_covariance(f"{self.name}: covariance", self.error)

    @property
    def relative(self) -> bool:
        """Whether these are distance moduli, known up to a constant."""
        return "mu" in self.quantity

    @property
    def contrasts(self) -> np.ndarray:
        """(m, n) linear map from quantities to what is compared: all differences of moduli, or everything.

        m = n - 1 orthonormal directions without the constant. A likelihood of them is that of the moduli with
        the constant marginalised over a flat prior.
        """
        n = len(self.z)
        if not self.relative:
            return np.eye(n)
        i, j = np.arange(1, n)[:, None], np.arange(n)  # Helmert's contrasts
        return np.where(j < i, 1.0, np.where(j == i, -i, 0.0)) / np.sqrt(i * (i + 1.0))

    @property
    def data(self) -> np.ndarray:
        """(m,) contrasts of the measurements."""
        return self.contrasts @ self.measured

    @property
    def covariance(self) -> np.ndarray:
        """(m, m) of `data`."""
        return self.contrasts @ self.error @ self.contrasts.T

    def with_data(self, measured: np.ndarray, name: str, note: str = "") -> DistanceSurvey:
        """Return the same survey with other measurements (n,): a mock."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return DistanceSurvey(**{**kept, "measured": measured, "name": name, "note": note})

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for an npz file; `from_arrays` takes them back."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> DistanceSurvey:
        """Return the survey of `arrays`. Raises FileError when some are missing or not known."""
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise FileError(f"arrays missing or not known: {', '.join(sorted(set(arrays) ^ names))}")
        text = {name: str(arrays[name]) for name in ("name", "note")}
        words = {name: tuple(map(str, np.atleast_1d(arrays[name]))) for name in ("quantity", "citation")}
        return cls(**{**arrays, **text, **words})

    def save(self, path: str | Path) -> None:
        """Write an npz file that `load_distances` reads, atomically."""
        write_npz(path, {"format": np.asarray(FORMAT), **self.arrays()})


def load_distances(path: str | Path) -> DistanceSurvey:
    """Return the survey of an npz file. Raises FileError when it is not one, DataError on bad content."""
    arrays = read_npz(path)
    if str(arrays.pop("format", "")) != FORMAT:
        raise FileError(f"{path}: not a distance survey of galaxyjax ({FORMAT})")
    try:
        return DistanceSurvey.from_arrays(arrays)
    except (DataError, FileError) as error:
        raise type(error)(f"{path}: {error}") from None


def read_bao(mean: str | Path, covariance: str | Path, name: str, citation=()) -> DistanceSurvey:
    """Return the survey of a table "z value quantity" and its covariance. Raises FileError, DataError."""
    rows = _rows(mean, 3)
    try:
        z, value = (np.array([float(row[i]) for row in rows]) for i in (0, 1))
    except ValueError as error:
        raise FileError(f"{mean}: not a table of z, value and quantity ({error})") from None
    matrix = read_matrix(covariance, len(rows))
    return DistanceSurvey(name, tuple(row[2] for row in rows), z, z, value, matrix, citation)


def read_supernovae(table: str | Path, covariance: str | Path, name: str, citation=()) -> DistanceSurvey:
    """Return the survey of CosmoMC's supernova columns and of a covariance that its size precedes.

    The columns zcmb, zhel, mb and dmb are read; dmb^2 joins the diagonal. Raises FileError, DataError.
    """
    rows = _rows(table, 6)
    try:
        zcmb, zhel, mb, dmb = (np.array([float(row[i]) for row in rows]) for i in (1, 2, 4, 5))
        numbers = np.array(Path(covariance).read_text(encoding="utf-8").split(), float)
    except FileNotFoundError:
        raise FileError(f"{covariance}: no such file") from None
    except ValueError as error:
        raise FileError(f"{table} and {covariance}: not tables of numbers ({error})") from None
    n = len(rows)
    if len(numbers) != n * n + 1 or numbers[0] != n:
        raise FileError(
            f"{covariance}: {len(numbers)} numbers, expected {n} and then {n} x {n}; cut short or another"
        )
    matrix = numbers[1:].reshape(n, n) + np.diag(dmb**2)
    return DistanceSurvey(name, ("mu",) * n, zcmb, zhel, mb, matrix, citation)


def distances(name: str, download: bool = True) -> DistanceSurvey:
    """Return a published survey of SURVEYS, wherever `data.fetch` finds it.

    Raises UnknownName, and data.fetch.Unavailable when the files cannot be had.
    """
    if name not in SURVEYS:
        raise unknown_name("distance survey", name, SURVEYS)
    manifest = load_manifest(name)
    first, second = (fetch(manifest, download)[source.name] for source in manifest.files)
    read = read_supernovae if name == "union3" else read_bao
    return read(first, second, name, manifest.citation)


def _rows(path: str | Path, count: int) -> list[list[str]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: not a text file ({error})") from None
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    short = [row for row in rows if len(row) < count]
    if short or not rows:
        raise FileError(
            f"{path}: {'no rows' if not rows else f'a row of {len(short[0])} columns'}; {count} needed"
        )
    return rows
