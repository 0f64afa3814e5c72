"""Posterior and evidence by sequential Monte Carlo, from the prior to the posterior.

Particles drawn from the prior follow prior x likelihood^beta from beta = 0 to 1 (Del Moral, Doucet & Jasra
2006), through BlackJAX: the next beta is the one at which the weights keep a wanted effective size,
Hamiltonian trajectories move the particles. The product of mean weights is the evidence. Several populations
that know nothing of each other run side by side, laid over devices as chains are: their scatter is the error.
It finds separate modes, which chains started at one peak do not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import adaptive_tempered, resampling
from blackjax.smc.tempered import TemperedSMCState

from galaxyjax.core.errors import ConfigError, DataError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.core.progress import Progress
from galaxyjax.infer.diagnostics import convergence
from galaxyjax.infer.fit import laplace
from galaxyjax.infer.forward import Forward
from galaxyjax.infer.kernel import CHAIN, WHOLE, Draws, chain_mesh, place
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.sample import STATE_FILE, Chains
from galaxyjax.mesh.independent import independent

MOST_STAGES = 200
NOWHERE = -1e30  # the log likelihood outside the domain


@dataclass(frozen=True)
class Sequential:
    """How to temper. The error of ln Z falls as the square root of all particles; a bias, as temperatures
    and moves are learnt from the particles that they move, falls faster: one error with 128 a population in
    five dimensions, none to be seen with 512.
    """

    kind: str = "smc"  # beside the kinds of `Sampler`, in files
    populations: int = 8
    particles: int = 256  # a population
    effective: float = 0.5  # share of the particles that the weights of a stage leave
    moves: int = 6  # trajectories a stage and particle
    steps: int = 4  # gradients a trajectory
    acceptance: float = 0.8  # that the step size aims at, from stage to stage
    final: int = 4  # stages of moves at beta = 1
    r_hat: float = 1.05  # between populations; said, not waited for: more particles mend it
    ess: float = 400.0
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for name, least in (("populations", 2), ("particles", 8), ("moves", 1), ("steps", 1), ("final", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"Sequential.{name} is {getattr(self, name)}; give {least} or more")
        for name in ("effective", "acceptance"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(
                    f"Sequential.{name} is {getattr(self, name)}; give a number between 0 and 1"
                )
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"Sequential.dtype is {self.dtype!r}; give 'float32' or 'float64'")


class Populations(NamedTuple):
    """All that changes; populations first."""

    particles: jax.Array  # (p, n, d) coordinates
    weights: jax.Array  # (p, n), sum 1
    beta: jax.Array  # (p,)
    log_evidence: jax.Array  # (p,)
    log_step: jax.Array  # (p,) of the trajectories, in units of the particles' spread
    acceptance: jax.Array  # (p,) of the last stage


def sequential(
    posterior: Posterior,
    settings: Sequential = Sequential(),  # noqa: B008 (frozen)
    folder: str | Path | None = None,
    devices=None,
) -> Chains:
    """Tempers a posterior to beta = 1; the draws of each population stand in the place of a chain's.

    `log_evidence` of the result is ln of the integral of prior times likelihood, and its standard error; with
    `GaussianLikelihood` the likelihood is exp(-chi2 / 2), without the determinant.

    Args:
        posterior: what to sample. settings: how.
        folder: where the state is kept after each stage; a run found there goes on as if never stopped.
        devices: over which the populations are laid; all local ones by default.

    Raises:
        ConfigError: `folder` holds a run of another posterior or settings.
        DataError: no particle has a finite likelihood, or beta does not move.
    """
    began = time.monotonic()
    dtype = np.dtype(settings.dtype)
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ConfigError("Sequential.dtype is float64, but JAX holds float32 only: set JAX_ENABLE_X64=1")
    mesh = chain_mesh(settings.populations, devices)
    keys = place(mesh, jax.random.split(jax.random.key(settings.seed), settings.populations))
    text = "\n".join([posterior.identity, repr(posterior.prior), repr(settings), str(mesh.size)])
    identity = hashlib.sha256(f"{text}\n{jax.__version__}".encode()).hexdigest()
    path = None if folder is None else Path(folder) / STATE_FILE
    state, stage, at_one, earlier = _load(path, identity, settings, posterior.dimension, dtype)
    step = build_stage(posterior, settings, mesh)
    with Progress(None, "tempering", unit="stages") as progress:
        progress.advance(stage)
        while at_one < settings.final:
            state = jax.device_get(step(keys, place(mesh, state), np.int32(stage)))
            stage += 1
            at_one += int(state.beta.min() >= 1.0)
            if not (state.beta > 1e-12).all() or not np.isfinite(state.log_evidence).all():
                raise DataError("tempering: the likelihood is finite nowhere that the prior reaches")
            if stage > MOST_STAGES:
                raise DataError(f"tempering: beta is {state.beta.min():.2g} after {stage} stages; the prior "
                                "is too wide for so few particles or moves")  # fmt: skip
            if path is not None:
                wall = earlier + time.monotonic() - began
                save = {"identity": identity, "stage": stage, "at_one": at_one, "wall_s": wall}
                write_npz(path, {**save, **state._asdict()})
            progress.advance(beta=float(state.beta.min()), acceptance=float(state.acceptance.mean()))
    wall = earlier + time.monotonic() - began
    return _result(posterior, settings, state, stage, identity, wall, dtype)


def build_stage(posterior: Posterior, settings: Sequential, mesh) -> Callable:
    """A jitted function (keys, Populations, stage) -> Populations, one temperature further."""
    kernel = blackjax.hmc.build_kernel()

    def move(key, state, log_density, step_size, inverse_mass):
        return kernel(key, state, log_density, step_size, inverse_mass, settings.steps)

    smc = adaptive_tempered.build_kernel(
        lambda u: -0.5 * jnp.sum(u**2),
        lambda u: jnp.maximum(posterior.log_weight(u), NOWHERE),  # 0 times -inf, at beta = 0, is no number
        move,
        blackjax.hmc.init,
        resampling.systematic,
        settings.effective,
    )

    def one(key, at: Populations, stage):
        mean = at.weights @ at.particles
        centred = at.particles - mean
        covariance = (centred * at.weights[:, None]).T @ centred
        # A twentieth of the prior's own keeps it positive definite when few particles carry the weight.
        spread = 0.95 * covariance + 0.05 * jnp.diag(jnp.diag(covariance))
        parameters = {"step_size": jnp.exp(at.log_step)[None], "inverse_mass": spread[None]}
        before = TemperedSMCState(at.particles, at.weights, at.beta)
        after, info = smc(jax.random.fold_in(key, stage), before, settings.moves, parameters)
        rate = jnp.mean(info.update_info.acceptance_rate)
        log_step = at.log_step + jnp.clip(rate - settings.acceptance, -0.3, 0.3)
        return Populations(
            after.particles, after.weights, after.tempering_param,
            at.log_evidence + info.log_likelihood_increment, log_step, rate,
        )  # fmt: skip

    def local(keys, state, stage, one=one):
        if len(keys) == 1:
            found = one(keys[0], jax.tree.map(lambda leaf: leaf[0], state), stage)
            return jax.tree.map(lambda leaf: leaf[None], found)
        return jax.vmap(one, (0, 0, None))(keys, state, stage)

    if mesh.size == 1:
        return jax.jit(local)
    apart = partial(local, one=independent(one, mesh.axis_names))
    return jax.jit(jax.shard_map(apart, mesh=mesh, in_specs=(CHAIN, CHAIN, WHOLE), out_specs=CHAIN))


def _load(path: Path | None, identity: str, settings: Sequential, dimension: int, dtype):
    """State, stages done, stages done at beta = 1 and seconds spent; fresh draws of the prior without a
    file.
    """
    if path is None or not path.exists():
        p, n = settings.populations, settings.particles
        rng = np.random.default_rng([settings.seed, 3])
        start = rng.standard_normal((p, n, dimension)).astype(dtype)
        zero = np.zeros(p, dtype)
        step = np.full(p, np.log(0.8 / dimension**0.25), dtype)
        return Populations(start, np.full((p, n), 1.0 / n, dtype), zero, zero, step, zero), 0, 0, 0.0
    arrays = read_npz(path)
    try:
        if str(arrays["identity"]) != identity:
            raise ConfigError(
                f"{path} holds a run of another posterior, sampler or device count: give another folder, "
                "or remove it to start afresh"
            )
        state = Populations(*(arrays[name] for name in Populations._fields))
        return state, int(arrays["stage"]), int(arrays["at_one"]), float(arrays["wall_s"])
    except KeyError as missing:
        raise FileError(
            f"{path}: {missing} is missing; no state of a run, remove it to start afresh"
        ) from None


def combined(log_evidence) -> tuple[float, float]:
    """ln of the mean of unbiased evidences exp(log_evidence) (p,), and its standard error."""
    log_evidence = np.asarray(log_evidence, np.float64)
    share = np.exp(log_evidence - log_evidence.max())
    value = float(log_evidence.max() + np.log(share.mean()))
    return value, float(share.std(ddof=1) / share.mean() / np.sqrt(len(share)))


def _result(posterior, settings: Sequential, state: Populations, stage, identity, wall, dtype) -> Chains:
    """The particles as draws. After the stages at beta = 1 all weights are equal."""
    forward = Forward(posterior, dtype)
    quantities = forward.quantities(state.particles)
    density = forward.densities(state.particles)
    fit = laplace(forward.log_density, posterior.dimension, settings.seed)
    look = convergence(quantities)
    p, n = state.weights.shape
    each = stage * settings.moves * settings.steps
    flag = np.zeros((p, n), bool)
    draws = Draws(
        state.particles, density, np.broadcast_to(state.acceptance[:, None], (p, n)),
        np.full((p, n), each, np.int32), flag, flag,
    )  # fmt: skip
    flat = state.particles.reshape(-1, posterior.dimension)
    return Chains(
        names=posterior.quantity_names,
        sampled=posterior.dimension,
        quantities=quantities,
        draws=draws,
        convergence=look,
        converged=look.max_r_hat < settings.r_hat and look.min_ess >= settings.ess,
        fit=fit,
        step_size=float(np.exp(state.log_step.mean())),
        inverse_mass=np.cov(flat, rowvar=False).reshape(posterior.dimension, -1),
        gradients=p * n * each,
        warmup_gradients=0,
        wall_s=wall,
        identity=identity,
        kind=settings.kind,
        log_evidence=combined(state.log_evidence),
    )
