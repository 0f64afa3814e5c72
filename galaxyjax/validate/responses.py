"""A response emulator against each simulation that it was made without: errors, and whether it knew them.

With nine simulations none can be kept aside for good. Each in turn is left out of everything that is fitted,
the amplitudes of the stated error included, and predicted by what the others make. The hyperparameters of the
recipe were chosen once with all of them in sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from galaxyjax.core.files import write_json, write_npz
from galaxyjax.emulator.error import LEVELS, ErrorModel, OutputError
from galaxyjax.simulate.responses import PARAMETERS, Responses
from galaxyjax.train.response import ResponseTraining, train

# Lengths in ln k and z over which errors keep their sign. `correlation_lengths` measures 0.2 to 0.7 and 0.45
# to 1.4, jets more; longer than most is taken, since what is coherent costs a likelihood more.
COHERENCE = (0.6, 1.0)
RANK = 24


@dataclass(frozen=True)
class LeftOut:
    """One simulation predicted from the others.

    error (nz, nk): ln R predicted − measured. sigma (nz, nk): what the model said of it. inside: whether its
    parameters are in the convex hull of the others'.
    """

    theta: tuple[float, ...]
    inside: bool
    error: np.ndarray
    sigma: np.ndarray

    @property
    def name(self) -> str:
        """E.g. "gas -4, stars -1": what sets it apart."""
        said = (f"{n} {v:+g}" for n, v in zip(("gas", "stars", "jets"), self.theta, strict=True) if v)
        return ", ".join(said) or "fiducial"

    def numbers(self, judged: np.ndarray) -> dict[str, float | bool]:
        """Largest and rms of abs(R / R_truth - 1) where `judged` (nk,), the stated sigma there, and coverage.

        covered: the share of points within one stated sigma; chi: the rms of error over sigma.
        """
        error, sigma = np.expm1(self.error[:, judged]), self.sigma[:, judged]
        ratio = error / sigma
        return {
            "inside": self.inside,
            "largest": float(np.abs(error).max()),
            "rms": float(np.sqrt(np.mean(error**2))),
            "stated_rms": float(np.sqrt(np.mean(sigma**2))),
            "covered": float(np.mean(np.abs(ratio) <= 1.0)),
            "chi": float(np.sqrt(np.mean(ratio**2))),
        }


def leave_one_out(training: ResponseTraining, responses: Responses) -> list[LeftOut]:
    """Return every simulation predicted from the others, in the truth's order."""
    results = []
    k, z = jnp.asarray(responses.k), jnp.asarray(responses.z)
    for i, theta in enumerate(responses.theta):
        others, rest = training.without(i), responses.without(i)
        weights = train(others, rest)
        x = dict(zip(PARAMETERS, jnp.asarray(theta), strict=True))
        predicted = np.log(np.asarray(others.model.power(weights, x, k, z, "response"), np.float64))
        stated = others.model.scale(weights, dict(zip(PARAMETERS, theta, strict=True))) * weights["pattern"]
        sigma = np.sqrt(stated**2 + truth_error(responses) ** 2)
        error = predicted - responses.log_response[i]
        results.append(LeftOut(tuple(map(float, theta)), in_hull(theta, rest.theta), error, sigma))
    return results


def summarise(results: list[LeftOut], k: np.ndarray, k_judged: float) -> dict:
    """Numbers of every simulation and of all: what `contract.error` and the page say."""
    judged = k <= 1.001 * k_judged
    rows = {result.name: result.numbers(judged) for result in results}
    inside, outside = ([r for r in rows.values() if r["inside"] is flag] for flag in (True, False))
    return {
        "k_judged": k_judged,
        "simulations": rows,
        "largest_inside": max(r["largest"] for r in inside),
        "largest_outside": max(r["largest"] for r in outside),
        "covered": float(np.mean([r["covered"] for r in rows.values()])),
        "simulations_within_sigma": sum(r["chi"] <= 1.0 for r in rows.values()),
        "count": len(rows),
    }


def measured_error(weights: dict, responses: Responses, results: list[LeftOut]) -> ErrorModel:
    """The error that joins a likelihood's covariance, of a point whose `scale` is 1.

    Its modes are those of pattern × pattern × exp(-dlnk^2 / 2 l_k^2 - dz^2 / 2 l_z^2), l = COHERENCE. Mean 0:
    the model corrects what it knows. Quantiles are of the simulations left out.
    """
    pattern = np.asarray(weights["pattern"], np.float64)
    z, log_k = np.meshgrid(responses.z, np.log(responses.k), indexing="ij")
    distance = sum(
        ((grid.reshape(-1, 1) - grid.reshape(1, -1)) / length) ** 2
        for grid, length in ((log_k, COHERENCE[0]), (z, COHERENCE[1]))
    )
    covariance = np.exp(-0.5 * distance) * np.outer(pattern, pattern)
    values, vectors = np.linalg.eigh(covariance)
    modes = (np.sqrt(np.maximum(values, 0.0)) * vectors).T[::-1][:RANK].reshape(-1, *pattern.shape)
    rest = np.maximum(pattern**2 - np.sum(modes**2, axis=0), 0.0) + truth_error(responses) ** 2
    quantiles = np.percentile([np.abs(result.error) for result in results], LEVELS, axis=0)
    small = [np.asarray(a, np.float32) for a in (np.zeros_like(pattern), modes, rest, LEVELS, quantiles)]
    return ErrorModel({"response": OutputError(responses.k, responses.z, *small)})


def truth_error(responses: Responses) -> np.ndarray:
    """What the package gives as the error of ln R: (nk,), or (nz, nk) where R is far from 1."""
    return responses.error / np.exp(responses.log_response.mean(axis=0))


def correlation_lengths(results: list[LeftOut], responses: Responses, k_judged: float) -> tuple[float, float]:
    """Lengths in ln k and z of the errors over sigma: from the correlation of neighbours."""
    judged = responses.k <= 1.001 * k_judged
    ratio = np.array([(r.error / r.sigma)[:, judged] / r.numbers(judged)["chi"] for r in results])
    pairs = (ratio[..., 1:] * ratio[..., :-1], ratio[:, 1:] * ratio[:, :-1])
    steps = np.log(responses.k[1] / responses.k[0]), responses.z[1] - responses.z[0]
    alike = (float(np.clip(np.mean(pair) / np.mean(ratio**2), 1e-6, 1 - 1e-6)) for pair in pairs)
    return tuple(float(step / np.sqrt(-2.0 * np.log(c))) for step, c in zip(steps, alike, strict=True))


def in_hull(point: np.ndarray, points: np.ndarray) -> bool:
    """Whether a point (d,) is a mean of points (n, d) with weights that are not negative."""
    equal = np.vstack([points.T, np.ones(len(points))])
    answer = linprog(np.zeros(len(points)), A_eq=equal, b_eq=np.append(point, 1.0), bounds=(0, None))
    return bool(answer.status == 0)


def save(folder: str | Path, summary: dict, results: list[LeftOut], responses: Responses) -> None:
    """Write responses.json and responses.npz: all numbers of a validation."""
    write_json(Path(folder) / "responses.json", summary)
    arrays = {name: np.array([getattr(r, name) for r in results]) for name in ("theta", "error", "sigma")}
    truth = {name: getattr(responses, name) for name in ("k", "z", "log_response")}
    write_npz(Path(folder) / "responses.npz", arrays | truth)
