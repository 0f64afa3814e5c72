"""Numbers that a chain is summarised by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.sample import Chains

EDGE = 0.01  # of a prior's width; how near counts as "at the edge"


def statistics(values) -> dict[str, float]:
    """mean, std, q16, median, q84 of draws of any shape."""
    values = np.asarray(values, np.float64)
    low, middle, high = np.quantile(values, (0.16, 0.5, 0.84))
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)),
        "q16": float(low),
        "median": float(middle),
        "q84": float(high),
    }


def log_likelihood(chains: Chains) -> np.ndarray:
    """Log likelihood of every draw (chains, draws): the density of the coordinates without their standard
    normal.
    """
    draws = chains.draws
    return draws.log_density.astype(np.float64) + 0.5 * np.sum(draws.position.astype(np.float64) ** 2, -1)


def best_fit(chains: Chains, posterior: Posterior) -> dict[str, float | dict]:
    """The most probable of all draws and the fit's peak, by posterior density per unit of the parameters.

    Returns its chi2 (-2 ln likelihood) and its parameters, derived ones included. With flat priors it is the
    largest likelihood found; it is a point of a chain or of Newton's method, not a polished maximum.
    """
    flat = chains.draws.position.reshape(-1, posterior.dimension)
    points = np.concatenate([flat, chains.fit.mode[None].astype(flat.dtype)])
    peak = chains.fit.log_density + 0.5 * float(chains.fit.mode @ chains.fit.mode)
    likelihood = np.append(log_likelihood(chains).ravel(), peak)
    score = likelihood + log_prior(posterior, points)
    best = int(np.argmax(score))
    values = np.asarray(posterior.quantities(points[best]), np.float64)
    return {
        "chi2": float(-2.0 * likelihood[best]),
        "parameters": dict(zip(chains.names, values.tolist(), strict=True)),
    }


def log_prior(posterior: Posterior, positions) -> np.ndarray:
    """Log prior density per unit of the parameters at coordinates (..., d) -> (...)."""
    values = posterior.prior.constrain(np.asarray(positions))
    return np.asarray(posterior.prior.log_density(values), np.float64)


def summarise(chains: Chains, posterior: Posterior, about: Mapping[str, object]) -> dict:
    """The content of summary.json.

    about: what only the caller knows, put in beside the numbers ("data", "emulator", "configuration", ...).
    """
    look = chains.convergence
    parameters = {}
    for i, name in enumerate(chains.names):
        parameters[name] = {
            **statistics(chains.column(name)),
            "r_hat": float(look.r_hat[i]),
            "ess_bulk": float(look.ess_bulk[i]),
            "ess_tail": float(look.ess_tail[i]),
            "sampled": i < chains.sampled,
        }
    best = best_fit(chains, posterior)
    shape = chains.draws.log_density.shape
    return {
        **about,
        "parameters": parameters,
        "fixed": posterior.prior.fixed,
        "S8": parameters.get("S8"),
        "converged": chains.converged,
        "max_rhat": look.max_r_hat,
        "min_ess": look.min_ess,
        "chains": shape[0],
        "draws": shape[1],
        "gradients": chains.gradients,
        "warmup_gradients": chains.warmup_gradients,
        "ess_per_gradient": look.min_ess / max(chains.gradients - chains.warmup_gradients, 1),
        **_evidence(chains),
        "divergences": chains.divergences,
        "outside_domain": chains.outside,
        "step_size": chains.step_size,
        "wall_s": chains.wall_s,
        "best_fit_chi2": best["chi2"],
        "best_fit": best["parameters"],
        "at_prior_edge": edges(chains, posterior),
    }


def _evidence(chains: Chains) -> dict[str, float]:
    if chains.log_evidence is None:
        return {}
    return dict(zip(("log_evidence", "log_evidence_error"), chains.log_evidence, strict=True))


def edges(chains: Chains, posterior: Posterior) -> dict[str, float]:
    """Share of draws within 1% of the width of a flat prior from either bound, for parameters where it
    exceeds 5%.

    2% of draws lie there when the data say nothing; more says that the prior, not the data, limits a
    parameter.
    """
    shares = {}
    for name, (low, high) in posterior.prior.bounds.items():
        if low is None or high is None:
            continue
        column = chains.column(name)
        margin = EDGE * (high - low)
        share = float(np.mean((column < low + margin) | (column > high - margin)))
        if share > 0.05:
            shares[name] = share
    return shares
