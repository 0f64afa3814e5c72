"""Training of `models.response`: the simulations' tables as they are, and the error measured by leaving out.

Each simulation of a term is predicted from the others of the term. Its squared error over the square of the
pattern, meaned over z and k <= k_judged, over the variance that the process states, is one measurement of the
term's squared amplitude; the mean over its simulations is kept, and stretched to what 68% of Student's t
needs with so few (1.11 for five simulations, 1.32 for two, 1.84 for one). The pattern is the spread of ln R
over the simulations that change only the gas: where gas matters, what is not known of feedback matters too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import Delaunay
from scipy.stats import t as student_t

from galaxyjax.core.errors import ConfigError
from galaxyjax.models.response import TERMS, Response
from galaxyjax.simulate.responses import Responses

HULL_DRAWS, HULL_SEED = 4096, 5


@dataclass(frozen=True)
class ResponseTraining:
    """The model, whose simulations the truth must hold, and where its error is measured (k in h/Mpc)."""

    model: Response
    k_judged: float = 10.0

    def without(self, index: int) -> ResponseTraining:
        """The same training on all simulations but one."""
        seen = self.model.simulations
        return replace(self, model=replace(self.model, simulations=seen[:index] + seen[index + 1 :]))


def train(training: ResponseTraining, responses: Responses) -> dict:
    """Return the weights, NumPy float64. Raises ConfigError where truth and model name other simulations."""
    model = training.model
    _check(model, responses)
    u = model.gas(responses.theta[:, 0])
    gas = model.members["gas"]
    effects = responses.log_response.copy()
    for term in TERMS[1:]:
        own = model.members[term]
        effects[own] -= np.tensordot(model.process("gas", u[own])[0], responses.log_response[gas], 1)
    variance = responses.log_response[gas].var(axis=0, ddof=1)
    pattern = np.sqrt(variance + 1e-8 + (responses.error / np.exp(responses.log_response.mean(0))) ** 2)
    judged = responses.k <= 1.001 * training.k_judged
    amplitudes = np.array([_amplitude(model, term, effects, pattern, judged) for term in TERMS])
    weights = {"effects": model.spline(effects), "pattern": pattern, "amplitudes": amplitudes}
    typical = float(np.sqrt(np.mean(model.scale(weights, inside_hull(model)) ** 2)))
    return {**weights, "pattern": pattern * typical, "amplitudes": amplitudes / typical}


def inside_hull(model: Response) -> dict[str, np.ndarray]:
    """Points even in the convex hull of the simulations: name -> (n,)."""
    corners = np.asarray(model.simulations)
    rng = np.random.default_rng(HULL_SEED)
    box = rng.uniform(corners.min(0), corners.max(0), (HULL_DRAWS, len(corners[0])))
    rows = box[Delaunay(corners).find_simplex(box) >= 0]
    return dict(zip(("sigma_gas", "sigma_star", "jet"), rows.T, strict=True))


def _amplitude(model: Response, term: str, effects, pattern, judged) -> float:
    """Root mean square, over a term's simulations, of their error over pattern and stated spread."""
    own = model.members[term]
    squares = []
    for left_out in own:
        others = tuple(s for i, s in enumerate(model.simulations) if i != left_out)
        u = model.gas(np.array([model.simulations[left_out][0]]))
        if len(own) == 1:  # nothing but the process before any data
            error, variance = effects[left_out], 1.0
        else:
            mix, variance = replace(model, simulations=others).process(term, u)
            seen = effects[own[own != left_out]]
            error, variance = np.tensordot(mix[0], seen, 1) - effects[left_out], float(variance[0])
        squares.append(np.mean((error / pattern)[:, judged] ** 2) / variance)
    return float(np.sqrt(np.mean(squares)) * student_t.ppf(0.8413, len(own)))


def _check(model: Response, responses: Responses) -> None:
    if not np.array_equal(np.asarray(model.simulations), responses.theta):
        raise ConfigError(f"the truth holds {responses.theta.tolist()}, the model {list(model.simulations)}")
    z, k = model.lines
    knots = np.linspace(z.low, z.high, z.nodes), np.exp(np.linspace(k.low, k.high, k.nodes))
    for name, ours, theirs in zip("zk", knots, (responses.z, responses.k), strict=True):
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-5):
            raise ConfigError(f"{name} of the truth is {theirs}, the model's knots are {ours}")
