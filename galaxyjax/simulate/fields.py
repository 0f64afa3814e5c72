"""Suites of N-body fields: a design over cosmology, run by the particle mesh, one HDF5 file a run.

Every run has its own white noise and its own cosmology. A file holds, for each redshift, the displacement of
the particles from their lattice and the derivative of it by the growth factor, both float32, with all that
is needed to make the run again. The linear spectrum is Eisenstein & Hu's, with the run's sigma_8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from galaxyjax.core.background import growth_factor
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.eisenstein_hu import linear_power
from galaxyjax.core.errors import ConfigError, DataError, FileError, unknown_name
from galaxyjax.core.files import atomic_path, read_json, write_json
from galaxyjax.core.progress import Progress
from galaxyjax.fields import gaussian, nbody
from galaxyjax.fields.gravity import Force
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import GRID
from galaxyjax.simulate.design import Range, sobol

NAMES = ("Omega_m", "Omega_b", "h", "n_s", "sigma_8")


@dataclass(frozen=True)
class FieldSuite:
    """What a suite of fields is. cells: particles a side. box_size: Mpc/h. ranges: of `NAMES`.

    steps: equal in the growth factor, from second-order displacements at z_start to the last redshift.
    redshifts: of the snapshots, falling.
    """

    seed: int
    runs: int
    cells: int
    box_size: float
    ranges: tuple[Range, ...] = ()
    redshifts: tuple[float, ...] = (3.0, 2.0, 1.0, 0.5, 0.0)
    steps: int = 40
    z_start: float = 9.0
    force: Force = field(default_factory=lambda: Force(refine=3, scheme="tsc"))

    def __post_init__(self):
        if tuple(sorted({r.name for r in self.ranges})) != tuple(sorted(NAMES)):
            raise ConfigError(f"field suite: ranges must be of {', '.join(NAMES)}, one each")
        z = self.redshifts
        if not z or list(z) != sorted(set(z), reverse=True) or z[0] >= self.z_start or z[-1] < 0:
            raise ConfigError(
                f"field suite: redshifts {z} must fall, from below z_start = {self.z_start:g} to at least 0"
            )

    def identity(self) -> str:
        """Hash of all that decides a run's content (the number of runs does not)."""
        return hashlib.sha256(json.dumps({**asdict(self), "runs": None}, sort_keys=True).encode()).hexdigest()

    def design(self) -> dict[str, np.ndarray]:
        """Parameters of every run: name -> (runs,)."""
        return sobol(self.ranges, self.runs, self.seed)

    def key(self, index: int) -> jax.Array:
        """The key of a run's white noise."""
        return jax.random.fold_in(jax.random.key(self.seed), index)


class FieldRun(NamedTuple):
    """One run read back: theta by name; z (nz,); displacement and derivative (nz, n, n, n, 3) in Mpc/h."""

    theta: dict[str, float]
    seed: int
    index: int
    box_size: float
    z: np.ndarray
    displacement: np.ndarray
    derivative: np.ndarray


def cosmology_of(theta: Mapping[str, float | jax.Array]) -> Cosmology:
    """Return the flat cosmology, without massive neutrinos, that `NAMES` name; its A_s does not count.

    Raises UnknownName, and ConfigError when a name is missing.
    """
    for name in theta:
        if name not in NAMES:
            raise unknown_name("parameter", name, NAMES)
    for name in NAMES:
        if name not in theta:
            raise ConfigError(f"cosmology of a field: {name} is missing; give {', '.join(NAMES)}")
    known = {name: theta[name] for name in NAMES if name != "sigma_8"}
    return Cosmology.from_mapping({**known, "ln10A_s": 3.0, "m_nu": 0.0})


def linear_field(
    theta: Mapping, noise: jax.Array, box_size: float, mesh: Mesh, power: Callable | None = None
) -> fft.Spectrum:
    """Return the modes of the linear density contrast today that white noise (n, n, n) makes.

    power: k in h/Mpc -> P(k) in (Mpc/h)^3; Eisenstein & Hu's with the sigma_8 of theta when not given.
    """
    power = power or linear_power(cosmology_of(theta), theta["sigma_8"])
    return gaussian.linear_modes(noise, power, box_size, mesh)


def run_fields(
    theta: Mapping, noise: jax.Array, suite: FieldSuite, mesh: Mesh
) -> list[tuple[jax.Array, jax.Array]]:
    """Return (displacement, dx/dD) at each redshift of a suite, (n, n, n, 3) in Mpc/h, from white noise.

    Differentiable in theta and noise. Steps are shared out among the stretches between the redshifts, at
    least one each.
    """
    cosmology = cosmology_of(theta)
    modes = linear_field(theta, noise, suite.box_size, mesh)
    state = nbody.begin(modes, cosmology, suite.z_start, mesh)
    stops = (suite.z_start, *suite.redshifts)
    snapshots = []
    for steps, start, end in zip(_shares(suite), stops[:-1], stops[1:], strict=True):
        plan = nbody.schedule(cosmology, jnp.asarray(end, noise.dtype), steps, z_start=start)
        plan = jax.tree.map(lambda a: a.astype(noise.dtype), plan)
        state = nbody.evolve(*state, plan, mesh, suite.box_size, suite.force)
        snapshots.append(state)
    return snapshots


def _shares(suite: FieldSuite) -> list[int]:
    """Steps of each stretch, by growth in a typical cosmology."""
    typical = cosmology_of(dict(Omega_m=0.3, Omega_b=0.05, h=0.7, n_s=0.96, sigma_8=0.8))
    with jax.ensure_compile_time_eval():  # a number of steps is static, also under `jit`
        growth = np.asarray(growth_factor(typical, np.asarray((suite.z_start, *suite.redshifts), np.float32)))
    edges = np.round(suite.steps * (growth - growth[0]) / (growth[-1] - growth[0])).astype(int)
    return [max(1, int(n)) for n in np.diff(edges)]


def run_path(folder: Path, index: int) -> Path:
    """Where run `index` of a suite is written."""
    return Path(folder) / f"field_{index:05d}.h5"


def simulate_fields(suite: FieldSuite, folder: str | Path, mesh: Mesh) -> int:
    """Run what is missing of a suite on a mesh; return how many runs were made now.

    A run appears under its name only when whole, so after a kill nothing is lost and nothing is done twice.
    Raises ConfigError when the folder holds another suite, DataError when a particle strayed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(suite, folder)
    design = suite.design()
    missing = [i for i in range(suite.runs) if not run_path(folder, i).exists()]
    compute = _compiled(replace(suite, runs=0), mesh)
    with Progress(total=len(missing), description="N-body runs", unit="run") as progress:
        for index in missing:
            theta = {name: float(values[index]) for name, values in design.items()}
            noise = gaussian.white_noise(suite.key(index), suite.cells, mesh)
            snapshots = compute({k: jnp.float32(v) for k, v in theta.items()}, noise)
            write_run(run_path(folder, index), suite, index, theta, snapshots)
            progress.advance()
    return len(missing)


@lru_cache(maxsize=8)
def _compiled(suite: FieldSuite, mesh: Mesh) -> Callable:
    """`run_fields` of a suite, compiled once a process."""
    return jax.jit(lambda theta, noise: run_fields(theta, noise, suite, mesh))


def write_run(path: Path, suite: FieldSuite, index: int, theta: Mapping, snapshots: Sequence) -> None:
    """Write a run of a suite to one HDF5 file, atomically. Raises DataError when a value is not finite."""
    about = {
        "suite": json.dumps(asdict(suite)),
        "identity": suite.identity(),
        "index": index,
        "seed": suite.seed,
        "white_noise": "jax.random.normal(fold_in(key(seed), index), (cells,) * 3)",
    }
    write_fields(path, theta, suite.redshifts, snapshots, suite.box_size, about)


def write_fields(
    path: Path,
    theta: Mapping,
    redshifts: Sequence[float],
    snapshots: Sequence,
    box_size: float,
    about: Mapping,
    noise: np.ndarray | None = None,
) -> None:
    """Write fields as a run, atomically; about: attributes, `index` and `seed` among them.

    snapshots: (displacement, dx/dD) of each redshift. noise: the white noise, where no seed gives it. Raises
    DataError when a value is not finite.
    """
    arrays = [np.stack([np.asarray(pair[i], np.float32) for pair in snapshots]) for i in (0, 1)]
    if not all(np.isfinite(values).all() for values in arrays):
        raise DataError(
            f"{path}: particles strayed further than the halo of the suite's Force; give it a larger one"
        )
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(about)
        file.attrs["box_size"], file.attrs["cells"] = box_size, arrays[0].shape[1]
        file.attrs["units"] = (
            "displacement in comoving Mpc/h; derivative: of it by the growth factor D, D(0) = 1"
        )
        file.create_group("theta").attrs.update(theta)
        file["z"] = np.asarray(redshifts)
        file["displacement"], file["derivative"] = arrays
        if noise is not None:
            file["noise"] = np.asarray(noise, np.float32)


def noise_of(path: str | Path, mesh: Mesh) -> jax.Array:
    """Return the white noise (n, n, n) of a run, stored or made again from its seed, sharded as a grid."""
    try:
        with h5py.File(path, "r") as file:
            stored = file["noise"][()] if "noise" in file else None
            seed, index, cells = (int(file.attrs[name]) for name in ("seed", "index", "cells"))
    except (OSError, KeyError) as broken:
        raise FileError(f"{path}: not a whole run ({broken}); delete it and simulate again") from broken
    if stored is not None:
        return jax.device_put(stored, NamedSharding(mesh, GRID))
    return gaussian.white_noise(jax.random.fold_in(jax.random.key(seed), index), cells, mesh)


def read_header(path: str | Path) -> tuple[dict[str, float], float, np.ndarray]:
    """Return theta, box size (Mpc/h) and redshifts of a run. Raises FileError as `read_run`."""
    (theta, _, _, box_size), (z,) = _read(path, ("z",))
    return theta, box_size, z


def read_run(path: str | Path) -> FieldRun:
    """Read one run. Raises FileError when the file is missing, cut short or holds something else."""
    (theta, *numbers), arrays = _read(path, ("z", "displacement", "derivative"))
    return FieldRun(theta, *numbers, *arrays)


def _read(path: str | Path, names: Sequence[str]):
    try:
        with h5py.File(path, "r") as file:
            theta = {name: float(value) for name, value in file["theta"].attrs.items()}
            numbers = (int(file.attrs["seed"]), int(file.attrs["index"]), float(file.attrs["box_size"]))
            return (theta, *numbers), [file[name][()] for name in names]
    except FileNotFoundError as missing:
        raise FileError(f"{path}: no such run; run `galaxyjax simulate` first") from missing
    except (OSError, KeyError) as broken:
        raise FileError(f"{path}: not a whole run ({broken}); delete it and simulate again") from broken


def run_paths(folder: str | Path, limit: int | None = None) -> list[Path]:
    """Return the files of a suite in order. Raises FileError when there are none."""
    paths = sorted(Path(folder).glob("field_*.h5"))[:limit]
    if not paths:
        raise FileError(f"{folder}: holds no N-body runs (field_*.h5); run `galaxyjax simulate` first")
    return paths


def whole_suite(suite: FieldSuite, folder: str | Path) -> list[Path]:
    """Return the files of all runs of a suite, in order.

    Raises FileError when some are missing, ConfigError when the folder holds another suite.
    """
    folder = Path(folder)
    found, about = run_paths(folder, suite.runs), folder / "suite.json"
    if about.exists() and read_json(about).get("identity") != suite.identity():
        raise ConfigError(f"{about}: these are the runs of another suite than the recipe's; simulate again")
    missing = [path for i in range(suite.runs) if not (path := run_path(folder, i)).exists()]
    if missing:
        raise FileError(
            f"{folder}: {len(missing)} of {suite.runs} runs are missing, the first {missing[0].name}; "
            "run `galaxyjax simulate`, which goes on"
        )
    return found


def _claim(suite: FieldSuite, folder: Path) -> None:
    path = folder / "suite.json"
    if path.exists() and read_json(path).get("identity") != suite.identity():
        raise ConfigError(f"{path}: this folder holds another suite; choose another")
    write_json(path, {"identity": suite.identity(), **asdict(suite)})
