"""From a posterior to converged chains: fit, warm up, sample, stop. Read from top to bottom.

1. Newton's method finds the peak; the normal distribution around it gives the chains their starts and their
   first metric.
2. Windowed warm-up: after each window the metric becomes the covariance of all chains' draws, the step size
   follows by dual averaging. The fit is so near that a few short windows suffice.
3. Blocks of NUTS draws over all chains, until every parameter, derived ones included, has R-hat and effective
   size as asked.

After each block the whole state can go to one file. A run that is killed and started again draws the same
numbers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.progress import Progress
from galaxyjax.infer.diagnostics import Convergence, convergence
from galaxyjax.infer.fit import Laplace, laplace, points_at_once
from galaxyjax.infer.kernel import (
    WHOLE,
    Draws,
    build_block,
    chain_mesh,
    fresh_step_size,
    place,
    start_state,
)
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.state import Run, append, load_run, no_draws, save_run

STATE_FILE = "state.npz"
SAVE_EVERY = 2.0  # seconds; lost draws are drawn again, the same ones


@dataclass(frozen=True)
class Sampler:
    """How to sample, and when to stop.

    R-hat compares chains, so its noise falls with the draws of each: few long chains reach 1.01 with fewer
    gradients than many short ones.
    """

    chains: int = 4
    block: int = (
        25  # draws a chain between two looks at convergence, and the length of a warm-up window's unit
    )
    warmup: tuple[int, ...] = (
        1,
        2,
        3,
    )  # windows, in blocks; the metric is learnt at the end of each but the last
    r_hat: float = 1.01  # stop below this ...
    ess: float = 400.0  # ... and above this, bulk and tail, in every sampled and derived column
    min_draws: int = 100  # a chain, before the first look
    max_draws: int = 5000  # a chain; then it stops, converged or not
    acceptance: float = 0.8  # that the step size aims at
    max_doublings: int = 8
    spread: float = 1.5  # starts are this much wider than the posterior, so that R-hat can see trouble
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for name in ("chains", "block", "min_draws", "max_draws", "max_doublings"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Sampler.{name} is {getattr(self, name)}; give 1 or more")
        if not 0.5 <= self.acceptance < 1.0:
            raise ConfigError(f"Sampler.acceptance is {self.acceptance}; give 0.5 or more and below 1")
        if self.r_hat <= 1.0:
            raise ConfigError(f"Sampler.r_hat is {self.r_hat}; no chains reach 1, give e.g. 1.01")
        if not self.warmup or min(self.warmup) < 1:
            raise ConfigError(f"Sampler.warmup is {self.warmup}; give at least one window of 1 block or more")
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"Sampler.dtype is {self.dtype!r}; give 'float32' or 'float64'")
        if self.chains < 2:
            raise ConfigError("Sampler.chains is 1; R-hat needs 2 or more")


@dataclass(frozen=True)
class Chains:
    """Draws after the warm-up, NumPy on the host, and what they cost."""

    names: tuple[str, ...]  # sampled, then derived
    sampled: int  # how many of the names are sampled
    quantities: np.ndarray  # (chains, draws, names)
    draws: Draws  # leaves (chains, draws, ...)
    convergence: Convergence  # per name
    converged: bool
    fit: Laplace
    step_size: float
    inverse_mass: np.ndarray  # (d, d)
    gradients: int  # all of them, warm-up and sampling
    warmup_gradients: int
    wall_s: float  # in this function, over all its runs
    identity: str

    def column(self, name: str) -> np.ndarray:
        """Draws (chains, draws) of one sampled or derived parameter."""
        if name not in self.names:
            raise ConfigError(f"no column {name!r}; there are {', '.join(self.names)}")
        return self.quantities[..., self.names.index(name)]

    @property
    def divergences(self) -> int:
        """Transitions that diverged, those that left the domain included."""
        return int(self.draws.divergent.sum())

    @property
    def outside(self) -> int:
        """Transitions cut short because they left the domain of the prior or emulator."""
        return int(self.draws.outside.sum())


def sample(
    posterior: Posterior,
    sampler: Sampler = Sampler(),  # noqa: B008 (frozen)
    folder: str | Path | None = None,
    devices=None,
) -> Chains:
    """Samples a posterior until it has converged.

    Args:
        posterior: what to sample.
        sampler: how, and when to stop.
        folder: where the state is kept after each block; a run found there is taken up again. None keeps
            nothing.
        devices: JAX devices over which the chains are laid; all local ones by default.

    Raises:
        ConfigError: `folder` holds a run of another posterior, sampler or layout of devices.
        DataError: the posterior is finite nowhere.
    """
    began = time.monotonic()
    dtype = np.dtype(sampler.dtype)
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        raise ConfigError("Sampler.dtype is float64, but JAX holds float32 only: set JAX_ENABLE_X64=1")
    mesh = chain_mesh(sampler.chains, devices)
    keys = place(mesh, jax.random.split(jax.random.key(sampler.seed), sampler.chains))
    identity = _identity(posterior, sampler, mesh.size)
    path = None if folder is None else Path(folder) / STATE_FILE
    warmup = sum(sampler.warmup)
    total = warmup * sampler.block + sampler.max_draws

    with Progress(total, "sampling", unit="draws a chain") as progress:
        with ThreadPoolExecutor(1) as pool:
            # The kernel compiles while the fit runs; both take seconds and neither needs the other.
            compiling = pool.submit(_compile_block, posterior, sampler, mesh, keys, dtype)
            forward = _Forward(posterior, dtype)
            if path is not None and path.exists():
                run = load_run(path, identity)
                progress.advance(run.blocks * sampler.block)
            else:
                run = _begin(posterior, forward, sampler, dtype)
            step = compiling.result()
        earlier, saved = run.wall_s, time.monotonic()

        while True:
            look = convergence(run.quantities) if run.blocks > warmup else None
            drawn = (run.blocks - warmup) * sampler.block
            converged = look is not None and drawn >= sampler.min_draws and _converged(look, sampler)
            stop = converged or drawn >= sampler.max_draws
            run.wall_s = earlier + time.monotonic() - began
            if path is not None and (stop or time.monotonic() - saved > SAVE_EVERY):
                save_run(path, run, identity)
                saved = time.monotonic()
            if stop:
                break
            adapt = run.blocks < warmup
            state, block = step(keys, *_arguments(mesh, run, sampler, adapt))
            run.state, block = jax.device_get((state, block))
            run.gradients += int(block.gradients.sum())
            run.blocks += 1
            if adapt:
                _adapt(run, block, sampler)
            else:
                run.draws = append(run.draws, block)
                new = forward.quantities(block.position)
                run.quantities = np.concatenate([run.quantities, new], axis=1)
            progress.advance(sampler.block, **_metrics(look, run, adapt))

    return Chains(
        names=posterior.quantity_names,
        sampled=posterior.dimension,
        quantities=run.quantities,
        draws=run.draws,
        convergence=look,
        converged=converged,
        fit=run.fit,
        step_size=float(np.exp(run.state.step_size.log_step_size_avg[0])),
        inverse_mass=run.inverse_mass,
        gradients=run.gradients,
        warmup_gradients=run.warmup_gradients,
        wall_s=run.wall_s,
        identity=identity,
    )


def _converged(look: Convergence, sampler: Sampler) -> bool:
    return look.max_r_hat < sampler.r_hat and look.min_ess >= sampler.ess


class _Forward:
    """Log density and quantities of many points: one compiled program for the fit and for the chains'
    columns.
    """

    def __init__(self, posterior: Posterior, dtype):
        self.batch, self.dtype = points_at_once(posterior.dimension), dtype
        shape = jax.ShapeDtypeStruct((self.batch, posterior.dimension), dtype)
        both = jax.vmap(lambda u: (posterior.log_density(u), posterior.quantities(u)))
        self._compiled = jax.jit(both).lower(shape).compile()

    def log_density(self, points) -> np.ndarray:
        """Points (batch, d) -> log densities (batch,)."""
        return np.asarray(self._compiled(points.astype(self.dtype))[0])

    def quantities(self, positions) -> np.ndarray:
        """Coordinates (chains, draws, d) -> sampled and derived values (chains, draws, q)."""
        flat = positions.reshape(-1, positions.shape[-1])
        padded = np.concatenate([flat, np.repeat(flat[-1:], -len(flat) % self.batch, axis=0)])
        parts = [self._compiled(part)[1] for part in np.split(padded, len(padded) // self.batch)]
        return np.concatenate(parts)[: len(flat)].reshape(*positions.shape[:2], -1)


def _begin(posterior: Posterior, forward: _Forward, sampler: Sampler, dtype) -> Run:
    """Fits, and starts every chain at a point where the density is finite."""
    fit = laplace(forward.log_density, posterior.dimension, sampler.seed)
    position, value = _starts(forward.log_density, fit, sampler, dtype)
    # The fit's gradient serves until a chain first moves: one transition of a warm-up, a compilation spared.
    state = start_state(position, value, fit.gradient(position), 1.0 / posterior.dimension**0.25)
    return Run(
        state=state,
        inverse_mass=fit.covariance.astype(dtype),
        window=no_draws(*position.shape, dtype),
        draws=no_draws(*position.shape, dtype),
        quantities=np.zeros((sampler.chains, 0, len(posterior.quantity_names)), dtype),
        fit=fit,
    )


def _starts(evaluate: Callable, fit: Laplace, sampler: Sampler, dtype):
    """Positions and log densities of all chains; starts outside the domain are drawn again, nearer to the
    peak.
    """
    rng = np.random.default_rng([sampler.seed, 1])
    count = points_at_once(fit.mode.size)
    spread = sampler.spread
    found: list[tuple] = []
    while len(found) < sampler.chains:
        points = fit.sample(rng, count, spread).astype(dtype)
        value = evaluate(points)
        # Nor farther below the peak than chance would take it: a start in a far tail costs a long way back.
        good = np.isfinite(value) & (value > fit.log_density - 5.0 * (fit.mode.size + 5.0))
        found += [(points[i], value[i]) for i in np.flatnonzero(good)]
        spread *= 0.8
    return [np.stack(column) for column in zip(*found[: sampler.chains], strict=True)]


def _compile_block(posterior, sampler, mesh, keys, dtype):
    """Compiles the block of transitions for this posterior's shapes."""
    block = build_block(
        posterior.log_density,
        sampler.block,
        sampler.acceptance,
        sampler.max_doublings,
        mesh,
    )
    n, d = sampler.chains, posterior.dimension
    state = start_state(np.zeros((n, d), dtype), np.zeros(n), np.zeros((n, d)), 1.0)
    blank = Run(state, np.eye(d, dtype=dtype))
    return block.lower(keys, *_arguments(mesh, blank, sampler, True)).compile()


def _arguments(mesh, run: Run, sampler: Sampler, adapt: bool):
    """State, metric, index of the first transition, and whether to adapt, placed on the mesh."""
    first, flag = np.int32(run.blocks * sampler.block), np.bool_(adapt)
    return (place(mesh, run.state), *place(mesh, (run.inverse_mass, first, flag), WHOLE))


def _adapt(run: Run, block: Draws, sampler: Sampler) -> None:
    """Ends a warm-up block: at the end of a window, a metric from its draws and one step size for all
    chains.
    """
    run.window = append(run.window, block)
    ends = np.cumsum(sampler.warmup)
    if run.blocks not in ends:
        return
    tuned = run.state.step_size
    log_step = float(np.mean(tuned.log_step_size_avg))
    dtype = tuned.log_step_size.dtype
    run.state = run.state._replace(step_size=fresh_step_size(sampler.chains, log_step, dtype))
    if run.blocks != ends[-1]:
        run.inverse_mass = _metric(run.window.position, run.inverse_mass)
        run.window = Draws(*(leaf[:, :0] for leaf in run.window))
    else:
        run.warmup_gradients = run.gradients


def _metric(position, previous) -> np.ndarray:
    """Covariance of all chains' draws (chains, draws, d), shrunk towards the previous metric.

    The weight of the previous one is that of 5 d draws: a window holds some hundred correlated draws in d =
    12 dimensions, and the fit's metric is already good to a factor of order one.
    """
    flat = position.reshape(-1, position.shape[-1]).astype(np.float64)
    weight = len(flat) / (len(flat) + 5.0 * flat.shape[1])
    return (weight * np.cov(flat, rowvar=False) + (1.0 - weight) * previous).astype(previous.dtype)


def _metrics(look: Convergence | None, run: Run, adapt: bool) -> dict[str, float | str]:
    if adapt:
        return {"stage": "warm-up"}
    # Trajectories that a wall of the prior ended say nothing against the sampler; they are counted apart.
    shown = {"stage": "sampling", "divergences": int((run.draws.divergent & ~run.draws.outside).sum())}
    return shown if look is None else {**shown, "R-hat": round(look.max_r_hat, 4), "ESS": round(look.min_ess)}


def _identity(posterior: Posterior, sampler: Sampler, devices: int) -> str:
    """What must be equal for a run to be taken up; how long it may last may change."""
    fixed = replace(sampler, r_hat=1.01, ess=0.0, max_draws=1, min_draws=1)
    text = "\n".join([posterior.identity, repr(posterior.prior), repr(fixed), str(devices), jax.__version__])
    return hashlib.sha256(text.encode()).hexdigest()
