"""Measured responses of the matter power spectrum to baryons: FLAMINGO's, tabulated once from its package.

The response is R(k, z) = P_hydro / P_dark-matter-only, of total matter (Schaller et al. 2025, MNRAS 539,
1337). Each simulation is named by the package's three numbers: sigma_gas and sigma_star, the offsets of
cluster gas fractions and of the stellar mass function from what the fiducial model was calibrated on, in
sigma of that data, and jet, the fraction of AGN energy in jets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import atomic_path
from galaxyjax.simulate.flamingo_reader import NAMES

PARAMETERS = NAMES[:3]
FILE_NAME = "responses.h5"
PATIENCE_S = 900.0  # the package needs half a minute to load


@dataclass(frozen=True)
class ResponseSuite:
    """Which measured responses: the package that ships them, and the hash of its data."""

    package: str = "flamingobaryonresponseemulator"
    version: str = "1.1.0"
    sha256: str = "dbda99457b9f5c508f12d8440bd9ceb63de7dd2965e6b7d9779b0a628dc307d1"

    def as_dict(self) -> dict:
        """Plain values, for metadata and contract."""
        return {"code": "FLAMINGO", **asdict(self)}


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of n simulations on one grid, float64.

    theta (n, 3): PARAMETERS. k (nk,) h/Mpc and z (nz,), ascending. log_response (n, nz, nk): ln R. error
    (nk,): what the package gives as the error of R, the same for all simulations and redshifts.
    """

    theta: np.ndarray
    k: np.ndarray
    z: np.ndarray
    log_response: np.ndarray
    error: np.ndarray

    def __len__(self):
        return len(self.theta)

    def without(self, index: int) -> Responses:
        """All simulations but one."""
        keep = np.arange(len(self)) != index
        return Responses(self.theta[keep], self.k, self.z, self.log_response[keep], self.error)


def tabulate(suite: ResponseSuite, folder: str | Path) -> int:
    """Write the responses of a suite to `folder`/responses.h5; return how many simulations were read now.

    A whole file of the same suite is kept (0). Raises ConfigError where the package is missing, of another
    version, or the folder holds another suite; FileError where its data is not the expected.
    """
    path = Path(folder) / FILE_NAME
    if path.exists():
        _check_suite(path, suite)
        return 0
    rows = _ask_package(suite)
    responses = _grid(rows)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["suite"] = json.dumps(suite.as_dict())
        file.attrs["units"] = "k in h/Mpc; natural logarithm of P_hydro / P_dark-matter-only, total matter"
        for name in ("theta", "k", "z", "log_response", "error"):
            file[name] = getattr(responses, name)
    return len(responses)


def read_responses(folder: str | Path) -> Responses:
    """Return the responses in `folder`/responses.h5. Raises FileError when missing or not whole."""
    path = Path(folder) / FILE_NAME
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: file[name][()] for name in ("theta", "k", "z", "log_response", "error")}
    except FileNotFoundError:
        raise FileError(f"{path}: no such truth file; run `galaxyjax simulate` first") from None
    except (OSError, KeyError) as broken:
        raise FileError(f"{path}: not whole ({broken}); delete it and run `galaxyjax simulate`") from broken
    responses = Responses(**arrays)
    shape = (len(responses.theta), len(responses.z), len(responses.k))
    if responses.log_response.shape != shape or not all(np.isfinite(a).all() for a in arrays.values()):
        raise FileError(f"{path}: wrong shapes or NaN; delete it and run `galaxyjax simulate`")
    return responses


def _check_suite(path: Path, suite: ResponseSuite) -> None:
    try:
        with h5py.File(path, "r") as file:
            found = json.loads(file.attrs["suite"])
    except (OSError, KeyError, ValueError) as broken:
        raise FileError(f"{path}: not whole ({broken}); delete it and run `galaxyjax simulate`") from broken
    if found != suite.as_dict():
        raise ConfigError(f"{path}: holds another suite ({found}); choose another folder")


def _ask_package(suite: ResponseSuite) -> list[dict]:
    """The package's rows, read by a process that gets no environment of ours but its search path."""
    script = Path(__file__).with_name("flamingo_reader.py")
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-B", str(script), suite.sha256],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=elsewhere,
                env={**kept, "HOME": elsewhere, "MPLCONFIGDIR": elsewhere, "OMP_NUM_THREADS": "1"},
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise FileError(f"{suite.package}: its data was not read after {PATIENCE_S:.0f} s") from None
    complaint = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
    if done.returncode == 3:
        raise ConfigError(f"{suite.package} is not installed: pip install 'galaxyjax[baryons]'")
    if done.returncode == 4:
        raise FileError(f"{complaint}, not {suite.sha256[:16]}...; install {suite.package}=={suite.version}")
    if done.returncode:
        raise FileError(f"{suite.package}: its data cannot be read ({complaint})")
    try:
        answer = json.loads(done.stdout)
        version, rows = answer["version"], answer["rows"]
    except (ValueError, KeyError, TypeError):
        raise FileError(f"{suite.package}: an answer that makes no sense; install it again") from None
    if version != suite.version:
        raise ConfigError(
            f"{suite.package} is {version}, the suite is of {suite.version}: install that, or edit the recipe"
        )
    return rows


def _grid(rows: list[dict]) -> Responses:
    """Rows in any order -> a whole grid, simulations in ascending order. FileError where it has gaps."""
    try:
        points = np.array([[float(row[name]) for name in NAMES] for row in rows])
        k, response, error = (
            np.array([row[name] for row in rows], float) for name in ("k", "response", "error")
        )
    except (KeyError, TypeError, ValueError) as broken:
        raise FileError(f"responses: a row is not whole ({broken}); install the package again") from None
    theta, z = np.unique(points[:, :3], axis=0), np.unique(points[:, 3])
    order = np.lexsort((points[:, 3], *points[:, 2::-1].T))
    same = np.ptp(k, axis=0).max() == 0 and np.ptp(error, axis=0).max() == 0
    if len(points) != len(theta) * len(z) or not same or not (response > 0).all():
        raise FileError("responses: not one grid of positive numbers; install the package again")
    shape = (len(theta), len(z), k.shape[1])
    if not np.array_equal(points[order, :3], np.repeat(theta, len(z), axis=0)):
        raise FileError("responses: a simulation lacks a redshift; install the package again")
    return Responses(theta, k[0], z, np.log(response[order]).reshape(shape), error[0])
