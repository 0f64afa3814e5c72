"""KiDS-1000 by Cobaya: what its Metropolis sampler needs, and what CAMB inside it costs.

No chain with CAMB is run, it would take days: the chain runs on the emulator, where the draws are the same,
and each of its evaluations is charged what the same step costs with CAMB. A step that changes the expansion
history or the transfer functions is slow; one that changes S8, n_s or the feedback alone keeps them (middle);
one that changes only nuisance parameters keeps the spectrum (fast).

Every doubt is settled in Cobaya's favour. CAMB runs at its default accuracy and stops at the likelihood's
k_max; S8 is sampled as if A_s followed from it at no cost; the chains start in the posterior, propose with
its own covariance and have no burn-in; chains on several cores do not disturb each other.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal
from galaxyjax.infer.shear import ShearModel

SLOW = ("omega_cdm", "omega_b", "h")
MIDDLE = ("S8", "n_s", "logT_AGN")
KINDS = ("slow", "middle", "fast")
REMEMBERED = 3  # states that a component of Cobaya keeps
HIGHEST_H = 0.82  # of the prior; Cobaya counts k in 1/Mpc, whatever h
POWER = 0.4  # of the ratio of speeds, the oversampling of fast parameters: Cobaya's default
CAMB = {
    "halofit_version": "mead2020_feedback", "num_massive_neutrinos": 3, "neutrino_hierarchy": "degenerate",
    "nnu": 3.044, "TCMB": 2.7255,
}  # fmt: skip


# CAMB inside Cobaya ---------------------------------------------------------------------------------------


def camb_model(model: ShearModel, likelihood, fixed: Mapping[str, float]):
    """Return a Cobaya model: its own theory `camb`, and a likelihood that projects its P(k, z) as we do."""
    from cobaya.model import get_model

    shear, k_max = model.shear, model.shear.extension.k_max
    names = {"ombh2": "omega_b", "omch2": "omega_cdm", "ns": "n_s", "HMCode_logT_AGN": "logT_AGN"}

    def asked(k):
        """The wavenumbers (nz, nell + 2) at which `Extension.table` reads a spectrum."""
        read = []
        shear.extension.table(lambda k, z: read.append(k) or jnp.ones_like(k), k, jnp.asarray(shear.z_nodes))
        return read[0]

    @jax.jit
    def nodes(values):
        return asked(shear.k_nodes(model.cosmology(values)))

    @jax.jit
    def finish(values, power):
        table = shear.table(lambda k, z: power, model.cosmology(values))
        return likelihood.log_likelihood(model.from_table(values, table))

    def log_likelihood(_self, **nuisances):
        get = _self.provider.get_param
        values = {ours: get(theirs) for theirs, ours in names.items() if theirs != "HMCode_logT_AGN"}
        h = get("H0") / 100.0
        values |= {"h": h, "ln10A_s": np.log(1e10 * get("As")), **nuisances, **fixed}
        values = {name: np.float32(value) for name, value in values.items()}
        k = np.asarray(nodes(values), float)
        spline = _self.provider.get_Pk_interpolator(("delta_tot", "delta_tot"), nonlinear=True)
        power = spline.P(np.broadcast_to(shear.z_nodes[:, None], k.shape), k * h, grid=False) * h**3
        return float(finish(values, power.astype(np.float32)))

    free = {"prior": {"min": -1e3, "max": 1e3}}
    nuisances = ["A_IA", *model.shifts]
    wanted = {"z": shear.z_nodes.tolist(), "k_max": k_max * HIGHEST_H, "nonlinear": True}
    wanted["vars_pairs"] = [("delta_tot", "delta_tot")]
    parameters = ("ombh2", "omch2", "H0", "ns", "As")
    bands = {
        "external": log_likelihood,
        "input_params": nuisances,
        "requires": {"Pk_interpolator": wanted, **dict.fromkeys(parameters)},
    }
    params = {name: dict(free) for name in (*parameters, "HMCode_logT_AGN", *nuisances)}
    with quiet():
        return get_model(
            {
                "theory": {"camb": {"extra_args": dict(CAMB)}},
                "likelihood": {"bands": bands},
                "params": params | {"mnu": float(fixed["m_nu"])},
            }
        )


def price(made, points: list[dict], shifts: tuple[str, ...], seconds: float) -> dict:
    """Seconds of an evaluation by kind, medians over pairs of posterior points; and ln L at each point.

    Each point is evaluated whole; then with the A_s, n_s and feedback of the next one; then with its nuisance
    parameters too. No pair is begun after `seconds`.
    """

    def cobaya(point, primordial, nuisances):
        theirs = {"ombh2": point["omega_b"], "omch2": point["omega_cdm"], "H0": 100.0 * point["h"]}
        theirs |= {"ns": primordial["n_s"], "As": 1e-10 * np.exp(primordial["ln10A_s"])}
        theirs |= {"HMCode_logT_AGN": primordial["logT_AGN"]}
        return theirs | {name: nuisances[name] for name in ("A_IA", *shifts)}

    times, values, began = {kind: [] for kind in KINDS}, [], time.perf_counter()
    made.loglike(cobaya(points[-1], points[-1], points[-1]))  # compiles
    for one, other in zip(points, points[1:] + points[:1], strict=True):
        if values and time.perf_counter() - began > seconds:
            break
        steps = (cobaya(one, one, one), cobaya(one, other, one), cobaya(one, other, other))
        for kind, step in zip(KINDS, steps, strict=True):
            start = time.perf_counter()
            found = made.loglike(step, return_derived=False)
            times[kind].append(time.perf_counter() - start)
            if kind == "slow":
                values.append(float(np.squeeze(found)))
    return {"seconds": {kind: float(np.median(t)) for kind, t in times.items()}, "log_likelihoods": values}


def rates(made, points: list[dict], shifts: tuple[str, ...], seconds: float) -> dict:
    """Evaluations a second of this machine by kind: the better of one process on all cores, and one a core.

    Processes side by side are charged as if none slowed another.
    """
    from camb import config

    cores, found = len(os.sched_getaffinity(0)), {}
    for threads in sorted({1, cores}):
        config.ThreadNum = threads
        found[threads] = price(made, points, shifts, seconds / 2.0)
    config.ThreadNum = 0
    best = {
        kind: max(cores / threads / one["seconds"][kind] for threads, one in found.items()) for kind in KINDS
    }
    return {
        "rates": best,
        "cores": cores,
        "seconds": {str(threads): one["seconds"] for threads, one in found.items()},
        "log_likelihoods": found[1]["log_likelihoods"],
    }


# The chain, on the emulator -------------------------------------------------------------------------------


class Coordinates:
    """Cobaya's parameters of a prior: flat ones as they are, correlated normals as standard normals."""

    def __init__(self, posterior: Posterior):
        self.prior = posterior.prior
        self.names, self.info = [], {}
        for names, term in self.prior.sampled:
            for name, (low, high) in zip(names, term.bounds(), strict=True):
                normal = isinstance(term, CorrelatedNormal)
                label = f"u_{name}" if normal else name
                flat = {"min": low, "max": high}
                self.names.append(label)
                self.info[label] = {"prior": {"dist": "norm", "loc": 0.0, "scale": 1.0} if normal else flat}
        self.groups = tuple(
            tuple(name for name in self.names if (name in SLOW, name in MIDDLE) == which)
            for which in ((True, False), (False, True), (False, False))
        )
        self.log_likelihood = jax.jit(lambda x: posterior.log_likelihood(self.values(x)))
        self.stacked = jax.jit(
            jax.vmap(lambda x: jnp.stack([self.values(x)[name] for name in self.prior.names]))
        )

    def values(self, x) -> dict:
        """Values by our names of x (d,)."""
        values, start = {}, 0
        for names, term in self.prior.sampled:
            block = x[start : start + term.dimension]
            if isinstance(term, CorrelatedNormal):
                block = term.constrain(block)
            values |= {name: block[i] for i, name in enumerate(names)}
            start += term.dimension
        return values | {name: jnp.asarray(value, x.dtype) for name, value in self.prior.fixed.items()}

    def of_chains(self, quantities, positions) -> np.ndarray:
        """x (n, d) of our chains: `quantities` (n, >= d) has the values, `positions` (n, d) the normals."""
        normal = np.array([name.startswith("u_") for name in self.names])
        return np.where(normal, positions, quantities[:, : len(self.names)]).astype(float)


class Charged:
    """A likelihood that counts what CAMB would have had to do, by the states that Cobaya remembers."""

    def __init__(self, function: Callable, names: list[str], groups: tuple[tuple[str, ...], ...]):
        self.function, self.names, self.groups = function, names, groups
        self.counts = dict.fromkeys(KINDS, 0)
        self._seen = [deque(maxlen=REMEMBERED) for _ in groups[:-1]]

    def __call__(self, **values) -> float:
        key, charged = (), KINDS[-1]
        for kind, group, seen in zip(KINDS, self.groups, self._seen, strict=False):
            key += tuple(values[name] for name in group)
            if key in seen:
                seen.remove(key)
            elif charged == KINDS[-1]:
                charged = kind
            seen.append(key)
        self.counts[charged] += 1
        return float(self.function(np.array([values[name] for name in self.names], np.float32)))


def schemes(groups, seconds: Mapping[str, float]) -> dict[str, list]:
    """Name -> blocks (oversampling factor, parameters), three ways to run Cobaya's sampler.

    The factors are those of Cobaya's own rule for components of these speeds, seconds by kind.
    """
    from cobaya.tools import sort_parameter_blocks

    own = [seconds["slow"] - seconds["middle"], seconds["middle"] - seconds["fast"], seconds["fast"]]
    footprints = [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
    order, _, factors = sort_parameter_blocks(groups, [1.0 / max(s, 1e-9) for s in own], footprints, POWER)
    blocks = [[int(factor), list(groups[i])] for i, factor in zip(order, factors, strict=True)]
    last, fast = blocks[-1]
    return {
        "one block": [[1, [name for group in groups for name in group]]],
        "blocks": blocks,
        # The fast ones are dragged along at each step of the others; at less than 2 Cobaya would not.
        "dragging": [[1, names] for _, names in blocks[:-1]] + [[max(last, 2), fast]],
    }


def chains(coordinates: Coordinates, x, scheme: str, blocks: list, evaluations: int, seed: int) -> dict:
    """Four chains (4, steps, d) of our parameters by Cobaya's sampler, and what they are charged.

    x: (n, d) draws of the posterior, for starts and the proposal. evaluations: of all chains together.
    """
    from cobaya.run import run

    names, drawn, count = coordinates.names, [], 4
    charged = Charged(coordinates.log_likelihood, names, coordinates.groups)
    starts = x[np.random.default_rng(seed).choice(len(x), count, replace=False)]
    began = time.perf_counter()
    for number, start in enumerate(starts):
        limit = evaluations * (number + 1) // count

        def stop(sampler, limit=limit):
            sampler.converged = sum(charged.counts.values()) >= limit

        params = {name: {**coordinates.info[name], "ref": float(start[i])} for i, name in enumerate(names)}
        mcmc = {
            "covmat": np.cov(x.T), "covmat_params": list(names), "learn_proposal": False,
            "blocking": blocks, "drag": scheme == "dragging", "measure_speeds": False, "max_tries": np.inf,
            "Rminus1_stop": 0.0, "callback_function": stop, "callback_every": 5, "seed": seed + number,
        }  # fmt: skip
        info = {
            "likelihood": {"bands": {"external": lambda **v: charged(**v), "input_params": list(names)}},
            "params": params,
            "sampler": {"mcmc": mcmc},
        }
        with quiet():
            sample = run(info)[1].products()["sample"]
        weights = np.asarray(sample["weight"], int)
        drawn.append(np.repeat(np.stack([sample[name] for name in names], axis=-1), weights, axis=0))
    steps = min(map(len, drawn))
    values = [np.asarray(coordinates.stacked(one[:steps].astype(np.float32))) for one in drawn]
    return {"values": np.stack(values), "counts": charged.counts, "wall_s": time.perf_counter() - began}


@contextmanager
def quiet():
    """Without Cobaya's reports."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
