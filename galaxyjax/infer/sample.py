"""From a posterior to converged chains: fit, warm up, sample, stop. Read from top to bottom.

1. Newton's method finds the peak; the normal distribution around it gives the chains their starts and their
   first metric.
2. Windowed warm-up: after each window the metric becomes the covariance of all chains' draws, the step size
   follows. The fit is so near that a few short windows suffice.
3. Blocks of draws over all chains, by NUTS or one of two microcanonical samplers, until every parameter,
   derived ones included, has R-hat and effective size as asked.

After each block the whole state can go to one file. A run that is killed and started again draws the same
numbers.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError, unknown_name
from galaxyjax.core.progress import Progress
from galaxyjax.infer.diagnostics import Convergence, convergence
from galaxyjax.infer.fit import Laplace
from galaxyjax.infer.forward import Forward
from galaxyjax.infer.kernel import WHOLE, Draws, build_block, chain_mesh, nuts, place, start_state, tuned
from galaxyjax.infer.microcanonical import hamiltonian, langevin
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.state import Run, append, load_run, save_run
from galaxyjax.infer.warmup import adapt_block, begin

STATE_FILE = "state.npz"
KINDS = ("nuts", "mclmc", "adjusted-mclmc")
SAVE_EVERY = 2.0  # seconds; lost draws are drawn again, the same ones


@dataclass(frozen=True)
class Sampler:
    """How to sample, and when to stop.

    R-hat compares chains, so its noise falls with the draws of each: few long chains reach 1.01 with fewer
    gradients than many short ones.
    """

    kind: str = "nuts"  # or "mclmc", or "adjusted-mclmc"
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
    acceptance: float = 0.7  # that the step size aims at
    max_doublings: int = 8  # of NUTS
    # Energy errors, a dimension and step, that the step of MCLMC aims at. They bound its bias: at 2e-3 sigma
    # comes out up to 4% too large (benchmarks/samplers.py), and it falls as the cube root.
    energy_variance: float = 2e-3
    thin: int = 2  # steps of MCLMC a draw
    length: float = 1.5  # of microcanonical trajectories, in units of sqrt(d), d the dimension
    spread: float = 1.5  # starts are this much wider than the posterior, so that R-hat can see trouble
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown_name("sampler", self.kind, KINDS)
        for name in ("energy_variance", "length"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"Sampler.{name} is {getattr(self, name)}; give a positive number")
        for name in ("thin", "chains", "block", "min_draws", "max_draws", "max_doublings"):
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
    kind: str = "nuts"
    log_evidence: tuple[float, float] | None = None  # and its error; from sequential Monte Carlo

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
    if sampler.kind != "nuts" and posterior.dimension < 2:
        raise ConfigError(f"{sampler.kind} moves at constant speed, which needs 2 dimensions; use nuts")
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
            forward = Forward(posterior, dtype)
            if path is not None and path.exists():
                run = load_run(path, identity)
                progress.advance(run.blocks * sampler.block)
            else:
                run = begin(posterior, forward, sampler, dtype)
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
            state, block = step(keys, *_arguments(mesh, run, sampler, adapt and sampler.kind != "mclmc"))
            run.state, block = jax.device_get((state, block))
            run.gradients += int(block.gradients.sum())
            run.blocks += 1
            if adapt:
                adapt_block(run, block, sampler)
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
        kind=sampler.kind,
    )


def _converged(look: Convergence, sampler: Sampler) -> bool:
    return look.max_r_hat < sampler.r_hat and look.min_ess >= sampler.ess


def _compile_block(posterior, sampler, mesh, keys, dtype):
    """Compiles the block of transitions for this posterior's shapes."""
    block = build_block(transition(posterior.log_density, sampler), sampler.block, sampler.acceptance, mesh)
    n, d = sampler.chains, posterior.dimension
    state = start_state(np.zeros((n, d), dtype), np.zeros(n), np.zeros((n, d)), 1.0)
    blank = Run(state, np.eye(d, dtype=dtype))
    return block.lower(keys, *_arguments(mesh, blank, sampler, True)).compile()


def _arguments(mesh, run: Run, sampler: Sampler, adapt: bool):
    """State, metric, index of the first transition, and whether to adapt, placed on the mesh."""
    first, flag = np.int32(run.blocks * sampler.block), np.bool_(adapt)
    shared = tuned(run.inverse_mass, run.length)
    return (place(mesh, run.state), *place(mesh, (shared, first, flag), WHOLE))


def transition(log_density, sampler: Sampler):
    """The transition of one chain by the sampler's kind."""
    if sampler.kind == "nuts":
        return nuts(log_density, sampler.max_doublings)
    return langevin(log_density, sampler.thin) if sampler.kind == "mclmc" else hamiltonian(log_density)


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
