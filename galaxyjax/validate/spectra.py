"""An emulated spectrum against its truth: every P_emulator / P_truth − 1, and what to say of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from galaxyjax.core.errors import DataError
from galaxyjax.core.files import write_json, write_npz
from galaxyjax.core.progress import track
from galaxyjax.emulator.emulator import Emulator
from galaxyjax.mesh.rows import over_data
from galaxyjax.simulate.suite import Run

CORE = (0.4, 1.2)  # sigma_8
K_JUDGED = (1e-3, 10.0)  # h/Mpc; below, cosmic variance hides any error
Z_JUDGED = (0.0, 3.0)
LEVELS = {"p50": 50.0, "p68": 68.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
K_PIVOT = 0.05  # 1/Mpc
PAD = 256  # wavenumbers are padded to a multiple, so that runs with grids of their own share a compilation


@dataclass(frozen=True)
class Block:
    """Cosmologies that share a grid. ratio (n, nz, nk): P_emulator / P_truth − 1; z (nz,); k (nk,) h/Mpc."""

    theta: dict[str, np.ndarray]
    sigma_8: np.ndarray
    z: np.ndarray
    k: np.ndarray
    ratio: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One output of an emulator against truth, as blocks of cosmologies; nothing is thrown away."""

    output: str
    blocks: tuple[Block, ...]

    def __add__(self, other: "Comparison") -> "Comparison":
        if other.output != self.output:
            raise DataError(f"a comparison of {self.output} cannot join one of {other.output}")
        return Comparison(self.output, self.blocks + other.blocks)

    @property
    def sigma_8(self) -> np.ndarray:
        """sigma_8 of every cosmology, (n,)."""
        return np.concatenate([block.sigma_8 for block in self.blocks])

    @property
    def core(self) -> np.ndarray:
        """Whether each cosmology is in the core of the domain, 0.4 <= sigma_8 <= 1.2: (n,)."""
        return (self.sigma_8 >= CORE[0]) & (self.sigma_8 <= CORE[1])

    def summary(self) -> dict[str, dict[str, float]]:
        """Return {"core", "whole"} -> percentiles of |ratio|, z <= 3 and 1e-3 <= k <= 10 h/Mpc, as fractions.

        p50 ... max: over all values of all cosmologies together. worst_p50 ... worst_p99: over cosmologies,
        of each one's largest value. cosmologies, values: how many. A part without cosmologies says only that.
        """
        return {"core": self._part(self.core), "whole": self._part(np.ones_like(self.core))}

    def worst(self) -> dict[str, np.ndarray]:
        """Return, for each cosmology: its parameters, sigma_8, core, the largest |ratio|, and its k and z."""
        rows = [_worst(block) for block in self.blocks]
        return {**{name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, "core": self.core}

    def along_k(self, bins: int = 40, core: bool = True) -> dict[str, np.ndarray]:
        """Return k (centres of bins even in ln k), and p50 ... max of |ratio|, its mean and count in each."""
        edges = np.geomspace(min(b.k[0] for b in self.blocks), max(b.k[-1] for b in self.blocks), bins + 1)
        return {"k": np.sqrt(edges[1:] * edges[:-1]), **self._binned(edges, "k", core)}

    def along_z(self, bins: int = 12, core: bool = True) -> dict[str, np.ndarray]:
        """Return z (centres of even bins), and p50 ... max of |ratio|, its mean and count in each."""
        edges = np.linspace(
            min(b.z.min() for b in self.blocks), max(b.z.max() for b in self.blocks), bins + 1
        )
        return {"z": 0.5 * (edges[1:] + edges[:-1]), **self._binned(edges, "z", core)}

    def residuals(self, k: ArrayLike, z: ArrayLike, core: bool = True) -> np.ndarray:
        """Return ln P_emulator − ln P_truth (n, nz, nk) on one grid, by cubic splines, for `emulator.error`.

        Only cosmologies in the core by default. k and z should lie inside every block's grid.
        """
        rows = []
        for block in self.blocks:
            keep = (block.sigma_8 >= CORE[0]) & (block.sigma_8 <= CORE[1]) | (not core)
            order = np.argsort(block.z)
            log_ratio = CubicSpline(np.log(block.k), np.log1p(block.ratio[keep][:, order]), axis=-1)(
                np.log(k)
            )
            rows.append(CubicSpline(block.z[order], log_ratio, axis=1)(np.atleast_1d(z)))
        return np.concatenate(rows)

    def _part(self, keep: np.ndarray) -> dict[str, float]:
        parts = self._kept(keep)
        values = np.concatenate([_judged(block).ravel() for block in parts]) if parts else np.empty(0)
        count = sum(len(block.sigma_8) for block in parts)
        if not values.size:
            return {"cosmologies": count, "values": 0}
        worst = np.concatenate([_judged(block).max(axis=(1, 2)) for block in parts])
        return {
            "cosmologies": count,
            "values": int(values.size),
            **{name: float(np.percentile(values, level)) for name, level in LEVELS.items()},
            **{f"worst_{name}": float(np.percentile(worst, LEVELS[name])) for name in ("p50", "p95", "p99")},
        }

    def _kept(self, keep: np.ndarray) -> list[Block]:
        ends = np.cumsum([len(block.sigma_8) for block in self.blocks])[:-1]
        masks = np.split(keep, ends)
        return [
            Block({n: v[m] for n, v in b.theta.items()}, b.sigma_8[m], b.z, b.k, b.ratio[m])
            for b, m in zip(self.blocks, masks, strict=True)
            if m.any()
        ]

    def _binned(self, edges: np.ndarray, axis: str, core: bool) -> dict[str, np.ndarray]:
        blocks = self._kept(self.core if core else np.ones_like(self.core))
        positions, values = [], []
        for block in blocks:
            where = block.k if axis == "k" else block.z[:, None]
            positions.append(np.broadcast_to(where, block.ratio.shape).ravel())
            values.append(block.ratio.ravel())
        positions, values = (np.concatenate(parts) if parts else np.empty(0) for parts in (positions, values))
        index = np.clip(np.digitize(positions, edges) - 1, 0, len(edges) - 2)
        groups = [values[index == i] for i in range(len(edges) - 1)]
        nan = [np.nan]
        found = {
            name: np.array([np.percentile(np.abs(g) if g.size else nan, level) for g in groups])
            for name, level in LEVELS.items()
        }
        mean = np.array([np.mean(g if g.size else nan) for g in groups])
        return {**found, "mean": mean, "count": np.array([g.size for g in groups])}


def compare(
    emulator: Emulator,
    theta: Mapping[str, ArrayLike],
    z: ArrayLike,
    k: ArrayLike,
    truth: ArrayLike,
    output: str,
    sigma_8: ArrayLike | None = None,
    mesh: Mesh | None = None,
) -> Comparison:
    """Return the Comparison of one output with truth (n, nz, nk): theta name -> (n,), z (nz,), k (nk,) h/Mpc.

    sigma_8 (n,) of the truth decides what is core; the emulator's own if left out. mesh: cosmologies are
    divided over its axis "data"; None for one device. Raises DataError for truth that is not finite and
    positive or does not fit, DomainError for truth outside the contract.
    """
    truth, z, k = np.asarray(truth, np.float64), np.atleast_1d(z), np.atleast_1d(k)
    theta = {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in theta.items()}
    count = max(len(value) for value in theta.values())
    theta = {name: np.broadcast_to(value, count) for name, value in theta.items()}
    if truth.shape != (count, len(z), len(k)):
        raise DataError(f"truth of {output} has shape {truth.shape}, expected {(count, len(z), len(k))}")
    if not (np.isfinite(truth) & (truth > 0.0)).all():
        i, j, m = np.argwhere(~(np.isfinite(truth) & (truth > 0.0)))[0]
        raise DataError(
            f"truth of {output}, cosmology {i}, z = {z[j]:g}, k = {k[m]:g}: {truth[i, j, m]} is no power"
        )
    if sigma_8 is None:
        sigma_8 = emulator.derived({n: v for n, v in theta.items() if n in emulator.contract.domain})[
            "sigma_8"
        ]
    padded = np.concatenate([k, np.full(-len(k) % PAD, k[-1])])
    predict = lambda theta: emulator.predict(theta, k=padded, z=z, output=output)  # noqa: E731
    found = np.asarray(over_data(predict, theta, mesh), np.float64)[..., : len(k)]
    sigma_8 = np.broadcast_to(np.asarray(sigma_8, np.float64), count)
    return Comparison(output, (Block(theta, sigma_8, z, k, (found / truth - 1.0).astype(np.float32)),))


def compare_runs(
    emulator: Emulator, runs: Iterable[Run], outputs: Iterable[str], mesh: Mesh | None = None
) -> dict[str, Comparison]:
    """Return output -> Comparison over every draw of every run of a suite, at the truth's own wavenumbers.

    mesh: the draws of a run are divided over its axis "data"; None for one device.
    """
    outputs, found = tuple(outputs), {}
    for run in track(list(runs), "comparing"):
        theta, sigma_8, z, k, spectra = truth_of(run)
        z_keep = (z >= emulator.contract.z_range[0]) & (z <= emulator.contract.z_range[1])
        k_keep = (k >= emulator.contract.k_range[0]) & (k <= emulator.contract.k_range[1])
        for output in outputs:
            if output not in spectra:
                raise DataError(f"these runs have no {output}: they were simulated without baryons")
            truth = spectra[output][:, z_keep][:, :, k_keep]
            one = compare(emulator, theta, z[z_keep], k[k_keep], truth, output, sigma_8, mesh)
            found[output] = found[output] + one if output in found else one
    return found


def truth_of(run: Run):
    """Return theta name -> (nd,), sigma_8 (nd,), z (nz,), k (nk,), output -> (nd, nz, nk) of a run's draws.

    A draw's linear spectrum is the run's times the ratio of primordial spectra, which is exact. Runs
    simulated without baryons give "linear" and "nonlinear" only.
    """
    z, draws = run.z[:-1], run.draws
    tilt = np.log(run.k * run.background["h"] / K_PIVOT)
    change = (draws["ln10A_s"] - run.reference["ln10A_s"])[:, None]
    change = change + (draws["n_s"] - run.reference["n_s"])[:, None] * tilt
    log_linear = run.linear[None, :-1] + change[:, None]
    log_nonlinear = log_linear + run.boost
    spectra = {"linear": np.exp(log_linear), "nonlinear": np.exp(log_nonlinear)}
    if run.suppression is not None:
        spectra["nonlinear_baryons"] = np.exp(log_nonlinear + run.suppression)
        spectra["baryon_suppression"] = np.exp(np.asarray(run.suppression, np.float64))
    theta = {name: np.full(len(draws["n_s"]), value) for name, value in run.background.items()} | draws
    reference, own = _variance(run.linear[0], run.k), _variance(run.linear[0] + change, run.k)
    return theta, run.sigma8[0] * np.sqrt(own / reference), z, run.k, spectra


def save(folder: str | Path, comparisons: Mapping[str, Comparison]) -> dict:
    """Write `folder`/spectra.json (summaries) and spectra.npz (curves for figures); return the summaries."""
    summaries = {output: comparison.summary() for output, comparison in comparisons.items()}
    arrays = {}
    for output, comparison in comparisons.items():
        parts = {"k": comparison.along_k(), "z": comparison.along_z(), "worst": comparison.worst()}
        parts["k_whole"] = comparison.along_k(core=False)
        arrays |= {
            f"{output}.{part}.{name}": v for part, curves in parts.items() for name, v in curves.items()
        }
    write_npz(Path(folder) / "spectra.npz", arrays)
    write_json(Path(folder) / "spectra.json", summaries)
    return summaries


def _variance(log_power: np.ndarray, k: np.ndarray) -> np.ndarray:
    """sigma_8^2 up to truncation at the ends of k, which ratios lose."""
    u = 8.0 * k
    window = np.where(u < 0.1, 1.0 - u**2 / 10.0, 3.0 * (np.sin(u) - u * np.cos(u)) / u**3)
    return np.trapezoid(np.exp(log_power) * window**2 * k**3, np.log(k), axis=-1)


def _judged(block: Block) -> np.ndarray:
    k = (block.k >= K_JUDGED[0]) & (block.k <= K_JUDGED[1])
    z = (block.z >= Z_JUDGED[0]) & (block.z <= Z_JUDGED[1])
    return np.abs(block.ratio[:, z][:, :, k])


def _worst(block: Block) -> dict[str, np.ndarray]:
    flat = np.abs(block.ratio).reshape(len(block.ratio), -1)
    j, i = np.unravel_index(flat.argmax(axis=1), block.ratio.shape[1:])
    largest = {"max": flat.max(axis=1), "z_max": block.z[j], "k_max": block.k[i]}
    return {**block.theta, "sigma_8": block.sigma_8, **largest}
