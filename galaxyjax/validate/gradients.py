"""The slope of an emulated spectrum against finite differences of the code that made its truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import qmc

from galaxyjax.core.errors import DataError
from galaxyjax.core.files import write_json, write_npz
from galaxyjax.core.progress import track
from galaxyjax.emulator.contract import Contract
from galaxyjax.emulator.emulator import Emulator

# theta, z, k, outputs -> {output: (nz, nk)}: `simulate.boltzmann.power` is one.
Truth = Callable[[Mapping[str, float], ArrayLike, ArrayLike, tuple[str, ...]], Mapping[str, np.ndarray]]
# Of an input's interval, largest first: a Boltzmann code's own noise, 5e-5 in ln P, is divided by the step.
STEPS = (0.1, 0.05, 0.025, 0.0125)
STENCIL_ERROR = 1e-3  # of the largest slope: what a step may cost
STENCIL = {-2: 1.0 / 12.0, -1: -8.0 / 12.0, 1: 8.0 / 12.0, 2: -1.0 / 12.0}


@dataclass(frozen=True)
class GradientCheck:
    """Slopes of ln P at one cosmology: emulated, differences are parameter -> (nz, nk), per its unit."""

    output: str
    theta: dict[str, float]
    z: np.ndarray
    k: np.ndarray
    emulated: dict[str, np.ndarray]
    differences: dict[str, np.ndarray]

    def errors(self) -> dict[str, dict[str, float]]:
        """Return parameter -> max, p95 of |emulated − differences| over scale, the largest |differences|."""
        found = {}
        for name, expected in self.differences.items():
            scale = np.abs(expected).max()
            error = np.abs(self.emulated[name] - expected) / scale
            found[name] = {
                "max": float(error.max()),
                "p95": float(np.percentile(error, 95)),
                "scale": float(scale),
            }
        return found


def check(
    emulator: Emulator,
    theta: Mapping[str, float],
    z: ArrayLike,
    k: ArrayLike,
    outputs: tuple[str, ...],
    truth: Truth,
) -> dict[str, GradientCheck]:
    """Return output -> GradientCheck at theta (every input of the contract), z (nz,), k (nk,) h/Mpc.

    Each parameter is moved by ±step and ±2 step (four calls of `truth`). The step is the largest of STEPS
    whose stencil is within STENCIL_ERROR of the true slope, as found on the emulator, whose slopes are known:
    near w0 + wa = 0 a step of a tenth is off by 4%. Raises DataError when the truth is not finite and
    positive.
    """
    contract = emulator.contract
    theta = {name: float(theta.get(name, contract.centre[name])) for name in contract.domain}
    needed = {output: contract.output(output).inputs for output in outputs}
    emulated = {output: slopes_of(emulator, theta, z, k, output) for output in outputs}
    slopes = differences(truth, theta, _sizes(emulator, theta, z, k, needed, emulated), z, k, needed)
    z, k = np.atleast_1d(z), np.atleast_1d(k)
    return {o: GradientCheck(o, theta, z, k, emulated[o], slopes[o]) for o in outputs}


def differences(
    truth: Truth,
    theta: Mapping[str, float],
    sizes: Mapping[str, float],
    z: ArrayLike,
    k: ArrayLike,
    needed: Mapping[str, tuple[str, ...]],
) -> dict[str, dict[str, np.ndarray]]:
    """Return output -> parameter -> d ln P / d parameter (nz, nk) of `truth`, by central differences.

    Of fourth order. sizes: parameter -> step, in its unit. needed: output -> the parameters to differentiate
    it by.
    """
    names = [name for name in sizes if any(name in inputs for inputs in needed.values())]
    slopes = {output: {} for output in needed}
    for name in track(names, "truth for gradients", unit="parameter"):
        asked = tuple(output for output in needed if name in needed[output])
        for output, slope in _difference(truth, theta, name, sizes[name], z, k, asked).items():
            slopes[output][name] = slope
    return slopes


def _difference(truth: Truth, theta, name: str, size: float, z, k, asked: tuple[str, ...]) -> dict:
    total = dict.fromkeys(asked, 0.0)
    for offset, weight in STENCIL.items():
        spectra = truth({**theta, name: theta[name] + offset * size}, z, k, asked)
        for output in asked:
            total[output] = total[output] + weight * _log(spectra[output], name, output)
    return {output: value / size for output, value in total.items()}


def _sizes(emulator: Emulator, theta, z, k, needed, emulated) -> dict[str, float]:
    """Return parameter -> step, in its unit, such that the stencil is good enough for every output."""
    free = emulator.with_policy("extrapolate")  # the stencil may leave the domain; only its curvature counts

    def own(point, z, k, outputs):
        return {o: free.predict({n: point[n] for n in needed[o]}, k=k, z=z, output=o) for o in outputs}

    sizes = {}
    for name, entry in emulator.contract.domain.items():
        asked = tuple(output for output in needed if name in needed[output])
        for step in STEPS:
            sizes[name] = step * (entry.high - entry.low)
            found = _difference(own, theta, name, sizes[name], z, k, asked)
            true = {output: emulated[output][name] for output in asked}
            if all(np.abs(found[o] - true[o]).max() < STENCIL_ERROR * np.abs(true[o]).max() for o in asked):
                break
    return sizes


def slopes_of(
    emulator: Emulator, theta: Mapping[str, float], z: ArrayLike, k: ArrayLike, output: str
) -> dict[str, np.ndarray]:
    """Return parameter -> d ln P / d parameter, (nz, nk), by forward-mode differentiation of `predict`."""
    names = emulator.contract.output(output).inputs
    fixed = {name: value for name, value in theta.items() if name not in names}

    def log_power(vector):
        return jnp.log(
            emulator.predict({**fixed, **dict(zip(names, vector, strict=True))}, k=k, z=z, output=output)
        )

    jacobian = np.asarray(jax.jit(jax.jacfwd(log_power))(jnp.array([theta[name] for name in names])))
    return {name: jacobian[..., i] for i, name in enumerate(names)}


def inner_cosmologies(
    contract: Contract, count: int, seed: int, margin: float = 0.2
) -> list[dict[str, float]]:
    """Return Sobol points that keep `margin` of each interval from its ends: room for truth on both sides.

    Inputs under a joint bound are moved inside it by the same margin of the reduced input's interval.
    """
    unit = qmc.Sobol(len(contract.inputs), scramble=True, seed=seed).random_base2(
        max(count - 1, 1).bit_length()
    )
    points = []
    for row in unit[:count]:
        place = margin + (1.0 - 2.0 * margin) * row
        point = {
            e.name: float(e.low + p * (e.high - e.low)) for e, p in zip(contract.inputs, place, strict=True)
        }
        for constraint in contract.constraints:
            entry = contract.domain[constraint.reduce]
            room = margin * (entry.high - entry.low) * np.sign(constraint.coefficients[constraint.reduce])
            limit = constraint.edge(point) - room
            point[entry.name] = float((min if room > 0 else max)(point[entry.name], limit))
        points.append(point)
    return points


def save(folder: str | Path, checks: list[Mapping[str, GradientCheck]]) -> dict:
    """Write `folder`/gradients.json (errors) and gradients.npz (the slopes); return the errors."""
    report = {
        output: [{"theta": check[output].theta, "errors": check[output].errors()} for check in checks]
        for output in checks[0]
    }
    arrays = {}
    for i, one in enumerate(checks):
        for output, entry in one.items():
            arrays |= {f"{output}.{i}.k": entry.k, f"{output}.{i}.z": entry.z}
            for name in entry.differences:
                arrays[f"{output}.{i}.{name}.emulated"] = entry.emulated[name]
                arrays[f"{output}.{i}.{name}.differences"] = entry.differences[name]
    write_npz(Path(folder) / "gradients.npz", arrays)
    write_json(Path(folder) / "gradients.json", report)
    return report


def _log(power: np.ndarray, name: str, output: str) -> np.ndarray:
    power = np.asarray(power, np.float64)
    if not (np.isfinite(power) & (power > 0.0)).all():
        raise DataError(f"truth of {output} beside {name} is not finite and positive; give a smaller step")
    return np.log(power)
