"""A suite of Boltzmann runs: a design, run on any executor, one HDF5 file a run, resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import atomic_path, read_json, write_json
from galaxyjax.core.progress import Progress
from galaxyjax.simulate import boltzmann
from galaxyjax.simulate.design import Range, SumBelow, sobol

EARLY_Z = 20.0  # where the shape of the spectrum no longer knows dark energy


@dataclass(frozen=True)
class PowerSuite:
    """What a suite of matter power spectra is: the prior, the draws, the seeds and CAMB's settings.

    Each run is one transfer function at a Sobol point of the background parameters. Its `draws` spectra
    change only (ln10A_s, n_s, logT_AGN), which CAMB does in milliseconds: even draws are uniform in the
    prior, odd ones uniform in sigma_8 over `sigma8_core` where the prior of ln10A_s allows it.
    """

    seed: int
    runs: int
    draws: int = 16
    redshifts: int = 16
    z_max: float = 3.0
    background: tuple[Range, ...] = ()
    primordial: tuple[Range, ...] = ()
    constraints: tuple[SumBelow, ...] = ()
    sigma8_core: tuple[float, float] = (0.35, 1.3)
    k_max: float = 12.0  # h/Mpc, a little beyond what the emulator promises
    settings: boltzmann.CambSettings = field(default_factory=boltzmann.CambSettings)

    def identity(self) -> str:
        """Hash of all that decides a run's content (the number of runs does not)."""
        content = {**asdict(self), "runs": None, "camb": self.settings.as_dict()["version"]}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def design(self) -> dict[str, np.ndarray]:
        """Background parameters of every run: name -> (runs,)."""
        return sobol(self.background, self.runs, self.seed, self.constraints)


@dataclass(frozen=True)
class Run:
    """One run read back: k (nk,) h/Mpc; z (nz,) ascending, its last entry EARLY_Z; spectra as logarithms."""

    background: dict[str, float]
    k: np.ndarray
    z: np.ndarray
    reference: dict[str, float]  # ln10A_s and n_s of `linear` and `sigma8`
    linear: np.ndarray  # (nz, nk) ln P
    sigma8: np.ndarray  # (nz,)
    draws: dict[str, np.ndarray]  # ln10A_s, n_s, logT_AGN: (nd,)
    boost: np.ndarray  # (nd, nz - 1, nk) ln P_nonlinear / P_linear, EARLY_Z left out
    suppression: (
        np.ndarray | None
    )  # (nd, nz - 1, nk) ln P_baryons / P_nonlinear; None in a suite without baryons


def run_path(folder: Path, index: int) -> Path:
    """Where run `index` of a suite is written."""
    return Path(folder) / f"run_{index:05d}.h5"


def simulate(
    suite: PowerSuite, folder: str | Path, executor: Executor | None = None, workers: int | None = None
) -> int:
    """Runs what is missing of a suite; returns how many runs were made now.

    A run appears under its name only when whole, so after a kill nothing is lost and nothing is done twice.

    Args:
        executor: any `concurrent.futures.Executor` (processes on this machine by default).
        workers: processes of the default executor; all cores by default.

    Raises:
        ConfigError: the folder holds another suite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(suite, folder)
    design = suite.design()
    missing = [i for i in range(suite.runs) if not run_path(folder, i).exists()]
    owned = executor is None
    if owned:
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_one_thread)
    try:
        with Progress(total=len(missing), description="CAMB runs", unit="run") as progress:
            point = {i: {name: float(v[i]) for name, v in design.items()} for i in missing}
            pending = [executor.submit(_run, suite, i, point[i], str(folder)) for i in missing]
            for done in as_completed(pending):
                done.result()
                progress.advance()
    finally:
        if owned:
            executor.shutdown(wait=True, cancel_futures=True)
    return len(missing)


def read_run(path: str | Path) -> Run:
    """Reads one run. Raises FileError when the file is missing, cut short or holds something else."""
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            groups = {
                name: {k: v for k, v in file[name].attrs.items()} for name in ("background", "reference")
            }
            draws = {name: file["draws"][name][()] for name in ("ln10A_s", "n_s", "logT_AGN")}
            arrays = {name: file[name][()] for name in ("k", "z", "linear", "sigma8", "boost")}
            suppression = file["suppression"][()] if "suppression" in file else None
    except FileNotFoundError as missing:
        raise FileError(f"{path}: no such truth file; run `galaxyjax simulate` first") from missing
    except (OSError, KeyError) as broken:
        raise FileError(
            f"{path}: not a whole truth run ({broken}); delete it and run `galaxyjax simulate` again"
        ) from broken
    arrays["suppression"] = suppression
    for name, values in arrays.items():
        if values is not None and not np.all(np.isfinite(values)):
            raise FileError(
                f"{path}: {name} has values that are not finite; delete the file and simulate again"
            )
    numbers = {name: {k: float(v) for k, v in group.items()} for name, group in groups.items()}
    return Run(draws=draws, **numbers, **arrays)


def read_suite(folder: str | Path, limit: int | None = None) -> list[Run]:
    """All runs of a folder in order of their index."""
    paths = sorted(Path(folder).glob("run_*.h5"))[:limit]
    if not paths:
        raise FileError(f"{folder}: holds no truth runs (run_*.h5); run `galaxyjax simulate` first")
    return [read_run(path) for path in paths]


def _claim(suite: PowerSuite, folder: Path) -> None:
    """Writes what the suite is, or refuses a folder that holds another one."""
    path = folder / "suite.json"
    if path.exists():
        found = read_json(path)
        if found.get("identity") != suite.identity():
            raise ConfigError(
                f"{path}: this folder holds another suite (prior, seeds, settings or CAMB version differ); "
                "choose another"
            )
    write_json(path, {"identity": suite.identity(), **asdict(suite), "camb": suite.settings.as_dict()})


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # one process a core is faster than CAMB's own threads


def _redshifts(suite: PowerSuite, rng) -> np.ndarray:
    """0, z_max and one point in each stratum of ln(1 + z) between; then EARLY_Z."""
    edges = np.linspace(0.0, np.log1p(suite.z_max), suite.redshifts - 1)
    inner = np.expm1(edges[:-1] + rng.random(suite.redshifts - 2) * np.diff(edges))
    return np.concatenate([[0.0], inner, [suite.z_max, EARLY_Z]])


def _draws(
    suite: PowerSuite, sigma8_reference: float, ln10A_s_reference: float, rng
) -> dict[str, np.ndarray]:
    ranges = {r.name: r for r in suite.primordial}
    values = {name: r.low + rng.random(suite.draws) * (r.high - r.low) for name, r in ranges.items()}
    low, high = suite.sigma8_core
    sigma8 = low + rng.random(suite.draws) * (high - low)
    # sigma_8 at the reference tilt is near enough to spread the draws evenly.
    amplitude = ln10A_s_reference + 2.0 * np.log(sigma8 / sigma8_reference)
    inside = (amplitude >= ranges["ln10A_s"].low) & (amplitude <= ranges["ln10A_s"].high)
    core = inside & (np.arange(suite.draws) % 2 == 1)
    return {**values, "ln10A_s": np.where(core, amplitude, values["ln10A_s"])}


def _run(suite: PowerSuite, index: int, background: dict, folder: str) -> None:
    """Makes one run: the transfer function, then every draw from it."""
    rng = np.random.default_rng([suite.seed, index])
    z = _redshifts(suite, rng)
    results = boltzmann.transfer(background, z, suite.settings)
    reference = {"ln10A_s": 3.0, "n_s": 0.965}
    boltzmann.set_primordial(results, **reference)
    k, z_table, linear = boltzmann.linear_table(results)
    keep = slice(0, int(np.searchsorted(k, suite.k_max)) + 2)
    sigma8 = np.asarray(results.get_sigma8())[::-1].copy()
    draws = _draws(suite, sigma8[0], reference["ln10A_s"], rng)
    boost, suppression = [], []
    for ln10A_s, n_s, logT_AGN in zip(draws["ln10A_s"], draws["n_s"], draws["logT_AGN"], strict=True):
        boltzmann.set_primordial(results, ln10A_s, n_s)
        own_linear = boltzmann.linear_table(results)[2]
        nonlinear = boltzmann.nonlinear_table(results, suite.settings.nonlinear)[2]
        baryons = boltzmann.nonlinear_table(results, suite.settings.baryons, logT_AGN)[2]
        boost.append(np.log(nonlinear / own_linear)[:-1, keep])
        suppression.append(np.log(baryons / nonlinear)[:-1, keep])
    with atomic_path(run_path(Path(folder), index)) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["settings"] = json.dumps(suite.settings.as_dict())
        file.attrs["units"] = "k in h/Mpc, P in (Mpc/h)^3, natural logarithms, m_nu in eV"
        file.create_group("background").attrs.update(background)
        file.create_group("reference").attrs.update(reference)
        group = file.create_group("draws")
        for name, values in draws.items():
            group[name] = values
        file["k"], file["z"], file["sigma8"] = k[keep], z_table, sigma8
        file["linear"] = np.log(linear)[:, keep]
        file["boost"] = np.asarray(boost, np.float32)
        file["suppression"] = np.asarray(suppression, np.float32)
