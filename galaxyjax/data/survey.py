"""Cosmic-shear surveys: what a likelihood needs of one, from 2-point FITS files or from a compact npz."""

import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import DataError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.data.fetch import fetch
from galaxyjax.data.manifest import load_manifest

FORMAT = "galaxyjax-shear-survey-1"


@dataclass(frozen=True, eq=False)
class ShearSurvey:
    """Tomographic shear band powers with everything that their model needs. All arrays float64, pairs int.

    z_low, z_mid, z_high: (nz,) histogram of n(z); nz: (nbin, nz) its values, any normalisation. pairs:
    (npair, 2) tomographic bins, counted from 1. ell_edges: (nband + 1,). theta_range: angles in arcmin, and
    apodisation: width in ln theta of their taper. data: (npair * nband,) band powers, mean ell^2 C_ell, pair
    by pair. covariance: (ndata, ndata). shift_mean (nbin,), shift_covariance (nbin, nbin): Gaussian prior of
    the shifts of n(z), positive to higher z. Raises DataError on NaN, wrong shapes or a covariance that is
    not symmetric and positive definite.
    """

    name: str
    z_low: np.ndarray
    z_mid: np.ndarray
    z_high: np.ndarray
    nz: np.ndarray
    pairs: np.ndarray
    ell_edges: np.ndarray
    theta_range: tuple[float, float]
    apodisation: float
    data: np.ndarray
    covariance: np.ndarray
    shift_mean: np.ndarray
    shift_covariance: np.ndarray
    citation: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self):
        for field in fields(self):
            if field.type is np.ndarray:
                dtype = int if field.name == "pairs" else float
                object.__setattr__(self, field.name, np.asarray(getattr(self, field.name), dtype))
        object.__setattr__(self, "theta_range", tuple(float(t) for t in self.theta_range))
        object.__setattr__(self, "citation", tuple(self.citation))
        _check(self)

    @property
    def shear(self) -> "ShearSurvey":
        """Itself: the shear of a survey that may be joint (`data.joint`)."""
        return self

    @property
    def distances(self) -> tuple:
        """No distances; see `data.joint`."""
        return ()

    @property
    def nbin(self) -> int:
        """Number of tomographic bins."""
        return len(self.nz)

    @property
    def nband(self) -> int:
        """Number of bands of each pair."""
        return len(self.ell_edges) - 1

    @property
    def ell(self) -> np.ndarray:
        """(nband,) centres of the bands in ln ell."""
        return np.sqrt(self.ell_edges[1:] * self.ell_edges[:-1])

    @property
    def sigma(self) -> np.ndarray:
        """(ndata,) standard deviations."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the data, "E 1-2 ell 118" and so on."""
        return tuple(f"E {i}-{j} ell {ell:.0f}" for i, j in self.pairs for ell in self.ell)

    def with_data(self, data: np.ndarray, name: str, note: str = "") -> "ShearSurvey":
        """Return the same survey with other data (ndata,): a mock."""
        return replace(self, data=data, name=name, note=note)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ShearSurvey":
        """Return the survey of `arrays` by name. Raises FileError when some are missing or not known."""
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise FileError(f"arrays missing or not known: {', '.join(sorted(set(arrays) ^ names))}")
        text = {name: str(arrays[name]) for name in ("name", "note")}
        citation = tuple(str(line) for line in arrays["citation"])
        apodisation = float(arrays["apodisation"])
        return cls(**{**arrays, **text, "citation": citation, "apodisation": apodisation})

    def save(self, path: str | Path) -> None:
        """Write an npz file that `load_survey` reads, atomically."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        write_npz(path, {"format": np.asarray(FORMAT), **arrays})


def load_survey(path: str | Path) -> ShearSurvey:
    """Return the survey of an npz file. Raises FileError when it is not one, DataError on bad content."""
    arrays = read_npz(path)
    if "format" not in arrays or str(arrays.pop("format")) != FORMAT:
        raise FileError(f"{path}: not a survey file of galaxyjax ({FORMAT})")
    try:
        return ShearSurvey.from_arrays(arrays)
    except (DataError, FileError) as error:
        raise type(error)(f"{path}: {error}") from None


def read_twopoint(
    path: str | Path,
    shift_mean: np.ndarray,
    shift_covariance: np.ndarray,
    ell_edges: np.ndarray,
    theta_range: tuple[float, float],
    apodisation: float,
    name: str,
    citation: tuple[str, ...] = (),
    statistic: str = "PeeE",
    sources: str = "NZ_SOURCE",
) -> ShearSurvey:
    """Return the survey of one band-power statistic in a 2-point FITS file (the DES and CosmoSIS convention).

    The file gives data, covariance and n(z); the bands' edges, angles and prior of the shifts are the
    caller's. Rows may come in any order. Raises FileError when the file or an extension is missing or cut
    short, DataError when the content is bad.
    """
    (header, matrix), (_, rows), (_, histogram) = _read_fits(path, ("COVMAT", statistic, sources))
    edges = np.asarray(ell_edges, float)
    try:
        order = _checked_order(rows, edges, statistic)
        block = _covariance_start(header, statistic) + order
        if block.max() >= min(matrix.shape):
            raise DataError(f"COVMAT is {matrix.shape}, too small for rows {block[0]} to {block.max()}")
        pairs = _pairs(rows)[order][:: len(edges) - 1]
        return ShearSurvey(
            name=name,
            z_low=histogram["Z_LOW"],
            z_mid=histogram["Z_MID"],
            z_high=histogram["Z_HIGH"],
            nz=np.stack([histogram[f"BIN{i}"] for i in range(1, pairs.max() + 1)]),
            pairs=pairs,
            ell_edges=edges,
            theta_range=theta_range,
            apodisation=apodisation,
            data=rows["VALUE"][order],
            covariance=matrix[np.ix_(block, block)],
            shift_mean=shift_mean,
            shift_covariance=shift_covariance,
            citation=citation,
        )
    except KeyError as error:
        raise FileError(f"{path}: column {error.args[0]} is missing") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def read_matrix(path: str | Path, size: int) -> np.ndarray:
    """Return a (size, size) matrix from a text file. Raises FileError on anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            matrix = np.loadtxt(path, dtype=float, ndmin=2)
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, ValueError, UserWarning) as error:
        raise FileError(f"{path}: not a table of numbers ({error})") from None
    if matrix.shape != (size, size):
        raise FileError(
            f"{path}: a matrix {matrix.shape}, expected {(size, size)}; cut short or another file"
        )
    return matrix


def _read_fits(path: str | Path, names: tuple[str, ...]) -> list[tuple]:
    """Return (header, data) of each named extension, copied into memory in the machine's byte order."""
    try:
        from astropy.io import fits
    except ImportError:
        raise FileError(f"{path}: reading FITS needs astropy; pip install 'galaxyjax[sample]'") from None

    if not Path(path).is_file():
        raise FileError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # astropy only warns when a file has been cut short
            with fits.open(path, memmap=False) as file:
                present = [hdu.name for hdu in file]
                missing = [name for name in names if name.upper() not in (p.upper() for p in present)]
                if missing:
                    raise FileError(
                        f"{path}: extension {missing[0]} is missing; it has {', '.join(present[1:])}"
                    )
                return [(dict(file[name].header), _columns(file[name].data)) for name in names]
    except FileError:
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, Warning) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path}: not a whole FITS file ({reason}); fetch it again") from None


def _columns(data) -> np.ndarray | dict[str, np.ndarray]:
    if data.dtype.names is None:
        return np.array(data, float)
    return {name.upper(): np.array(data[name], float) for name in data.dtype.names}


def _pairs(rows: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([rows["BIN1"], rows["BIN2"]], axis=1).astype(int)


def _checked_order(rows: dict[str, np.ndarray], edges: np.ndarray, statistic: str) -> np.ndarray:
    """Return the order of rows that is pair by pair, bands ascending, once they make whole pairs."""
    order = np.lexsort((rows["ANGBIN"], rows["BIN2"], rows["BIN1"]))
    pairs, nband = _pairs(rows)[order], len(edges) - 1
    if len(order) % nband or not np.array_equal(pairs, np.repeat(pairs[::nband], nband, axis=0)):
        raise DataError(f"{statistic}: {len(order)} rows do not make whole pairs of {nband} bands")
    centres = np.sqrt(edges[1:] * edges[:-1])
    if not np.allclose(rows["ANG"][order].reshape(-1, nband), centres, rtol=1e-3):
        raise DataError(f"{statistic}: ANG are not the bands' centres {centres.round(1)}")
    return order


def _covariance_start(header: dict, statistic: str) -> int:
    """Return the first row of a statistic's block in COVMAT, from the header's NAME_i and STRT_i."""
    for key, value in header.items():
        if key.startswith("NAME_") and str(value).strip() == statistic:
            return int(header[key.replace("NAME_", "STRT_")])
    raise DataError(f"COVMAT has no block for {statistic}")


def _check(survey: ShearSurvey) -> None:
    npair, nband, nbin = len(survey.pairs), survey.nband, len(survey.nz)
    ndata, nz = npair * nband, len(survey.z_mid)
    shapes = {
        "z_low": (nz,), "z_high": (nz,), "nz": (nbin, nz), "pairs": (npair, 2), "data": (ndata,),
        "covariance": (ndata, ndata), "shift_mean": (nbin,), "shift_covariance": (nbin, nbin),
    }  # fmt: skip
    for name, shape in shapes.items():
        if getattr(survey, name).shape != shape:
            raise DataError(f"{name} has shape {getattr(survey, name).shape}, expected {shape}")
    for name in (*shapes, "z_mid", "ell_edges", "theta_range", "apodisation"):
        value = np.asarray(getattr(survey, name))
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            raise DataError(
                f"{name} is not finite in {len(bad)} of {value.size} entries, first {tuple(bad[0].tolist())}"
            )
    if survey.pairs.min() < 1 or survey.pairs.max() > nbin:
        raise DataError(
            f"pairs name bins {survey.pairs.min()} to {survey.pairs.max()}, but n(z) has bins 1 to {nbin}"
        )
    if np.any(survey.nz < 0.0) or np.any(survey.nz.sum(axis=1) <= 0.0):
        raise DataError("nz: n(z) must not be negative, and no bin empty")
    if not (np.all(survey.z_low < survey.z_mid) and np.all(survey.z_mid < survey.z_high)):
        raise DataError("z_low < z_mid < z_high does not hold everywhere")
    for name in ("covariance", "shift_covariance"):
        _check_covariance(name, getattr(survey, name))


def _check_covariance(name: str, matrix: np.ndarray) -> None:
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if not np.all(np.diag(matrix) > 0.0):
        raise DataError(
            f"{name} has the variance {np.diag(matrix).min():g} at {int(np.diag(matrix).argmin())}"
        )
    skew = np.abs(matrix - matrix.T) / np.outer(scale, scale)
    if skew.max() > 1e-6:
        worst = tuple(int(i) for i in np.unravel_index(skew.argmax(), skew.shape))
        raise DataError(
            f"{name} is not symmetric: entry {worst} differs from its mirror by {skew.max():.1e} of sigma^2"
        )
    smallest = np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0]
    if smallest <= 0.0:
        raise DataError(f"{name} is not positive definite: its correlation has the eigenvalue {smallest:.3g}")


def kids1000(download: bool = True) -> ShearSurvey:
    """Return the KiDS-1000 band powers as published (Asgari et al. 2021), wherever `data.fetch` finds them.

    Five bins, 15 pairs, 8 bands in ell 100 to 1500; the shear calibration's uncertainty is in the covariance.
    Raises data.fetch.Unavailable when the files cannot be had.
    """
    manifest = load_manifest("kids1000")
    paths = fetch(manifest, download)
    return read_twopoint(
        paths["kids1000_bp.fits"],
        shift_mean=np.array([0.0, -0.002, -0.013, -0.011, 0.006]),
        shift_covariance=read_matrix(paths["kids1000_SOM_cov.asc"], 5),
        ell_edges=np.geomspace(100.0, 1500.0, 9),
        theta_range=(0.5, 300.0),
        apodisation=0.5,
        name="KiDS-1000",
        citation=manifest.citation,
    )
