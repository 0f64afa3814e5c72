"""From a posterior of fields to converged chains: start, learn the coordinates, sample, stop.

1. Every chain starts at its own draw of the coordinates' standard normal: in linear theory that is a draw of
   the posterior, so nothing has to travel far.
2. Windows of warm-up: the step follows the energy error that it makes; at the end of each but the last the
   target learns better coordinates from all chains (`Adaptive.relearnt`).
3. Blocks of draws, until R-hat and effective size of every number that a draw leaves are as asked.

The whole state goes to one file between blocks; a run that is killed and started again draws the same
numbers. Chains take turns on the mesh, each sharded over all of it; on one CPU, two go at a time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.progress import Progress
from galaxyjax.infer.diagnostics import Convergence, convergence
from galaxyjax.infer.field_level import block as blocks
from galaxyjax.infer.field_level import store
from galaxyjax.infer.field_level.dynamics import GRADIENTS

METHODS = ("mclmc", "hmc")
STATE_FILE = "field_state.npz"
SAVE_EVERY = 20.0  # seconds
POINTS = 16  # the newest of a window, one of each chain and block, over which a target averages


class Adaptive(blocks.Observed, Protocol):
    """What `sample_field` samples: `block.Observed`, which starts chains and learns its coordinates."""

    judged: tuple[str, ...]

    @property
    def dimension(self) -> int: ...

    def identity(self) -> str: ...

    def start(self, key: jax.Array) -> Any: ...

    def guessed(self, latent: Any) -> Any:
        """The target in first coordinates, from one start."""

    def relearnt(self, draws: Mapping[str, np.ndarray], means: list, points: list) -> Any:
        """The target in the coordinates that draws (chains, draws, q), chains' mean positions and some points
        of them teach."""

    def learnt(self) -> dict[str, np.ndarray]:
        """What tells its coordinates from others' ..."""

    def with_learnt(self, learnt: Mapping[str, np.ndarray]) -> Any:
        """... and the target in them."""

    def carried(self, other: Any, latent: Any) -> Any:
        """These coordinates of what are others' coordinates `latent`."""


@dataclass(frozen=True)
class FieldSampler:
    """How to sample fields, and when to stop.

    method: "mclmc", whose bias falls with energy_error, or "hmc", which has none. thin: transitions between
    two draws. block: draws between two looks. warmup: windows, in blocks. energy_error: variance of the
    energy error a coordinate and step that the step size aims at (Robnik & Seljak 2024, section 4).
    length: way after which MCLMC forgets its direction, in square roots of the dimension. steps, acceptance:
    of an HMC trajectory. keep: whole fields kept of each chain.
    """

    method: str = "mclmc"
    chains: int = 4
    thin: int = 8
    block: int = 20
    warmup: tuple[int, ...] = (4, 4, 5)
    min_draws: int = 200
    max_draws: int = 4000
    r_hat: float = 1.01
    ess: float = 100.0
    energy_error: float = 3e-4
    length: float = 1.5
    steps: int = 8
    acceptance: float = 0.75
    keep: int = 4
    seed: int = 0

    def __post_init__(self):
        if self.method not in METHODS:
            raise ConfigError(f"FieldSampler.method is {self.method!r}; give one of {', '.join(METHODS)}")
        for name in ("chains", "thin", "block", "min_draws", "max_draws", "steps", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"FieldSampler.{name} is {getattr(self, name)}; give 1 or more")
        if not self.warmup or min(self.warmup) < 1:
            raise ConfigError(f"FieldSampler.warmup is {self.warmup}; give windows of 1 block or more")
        if not (self.energy_error > 0 and self.length > 0 and self.r_hat > 1 and 0 < self.acceptance < 1):
            raise ConfigError(
                f"FieldSampler: energy_error {self.energy_error}, length {self.length} must be positive, "
                f"r_hat {self.r_hat} above 1, acceptance {self.acceptance} between 0 and 1"
            )

    @property
    def gradients(self) -> int:
        """Gradients of the log density that a draw of one chain takes."""
        return GRADIENTS * self.thin * (self.steps if self.method == "hmc" else 1)


@dataclass(frozen=True)
class FieldChains:
    """Draws after the warm-up, on the host, and what they cost.

    observed: name -> (chains, draws, q). mean, std: of the pictured field over all draws. samples:
    (chains * keep, ...) of it. convergence: of every judged name, of those of its quantities that vary.
    gradients: of all chains, `warmup_gradients` of them before. step: a coordinate's; for MCLMC over the
    square root of the dimension.
    """

    observed: dict[str, np.ndarray]
    log_density: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    samples: np.ndarray
    convergence: dict[str, Convergence]
    converged: bool
    gradients: int
    warmup_gradients: int
    step: float
    energy: float
    accepted: float
    wall_s: float
    target: Any

    def evaluations_per_sample(self, name: str) -> np.ndarray:
        """Gradients, without the warm-up, over bulk effective sample size, (q,)."""
        return (self.gradients - self.warmup_gradients) / self.convergence[name].ess_bulk


def sample_field(
    target: Adaptive,
    sampler: FieldSampler = FieldSampler(),
    folder: str | Path | None = None,  # noqa: B008
    progress: bool = True,
) -> FieldChains:
    """Sample a posterior of fields until it has converged, or max_draws are drawn.

    folder: where the state is kept; a run found there is taken up again. progress: show it.
    Raises ConfigError when it is of another target or sampler.
    """
    began = time.monotonic()
    path = None if folder is None else Path(folder) / STATE_FILE
    identity = hashlib.sha256(
        json.dumps([target.identity(), {**asdict(sampler), "max_draws": None}], sort_keys=True).encode()
    ).hexdigest()
    keys = [jax.random.fold_in(jax.random.key(sampler.seed), chain) for chain in range(sampler.chains)]
    total = (sum(sampler.warmup) * sampler.block + sampler.max_draws) * sampler.chains
    with Progress(total, f"sampling ({sampler.method})", unit="draws", shown=progress) as counter:
        run = store.load(path, identity, target) if path is not None else None
        if run is None:
            run = _begin(target, sampler, keys)
        else:
            counter.advance(run.blocks * sampler.block * sampler.chains)
        earlier, saved = run.wall_s, time.monotonic()
        while True:
            look, converged = _look(run, sampler)
            drawn = (run.blocks - sum(sampler.warmup)) * sampler.block
            stop = drawn >= sampler.max_draws or (converged and drawn >= sampler.min_draws)
            run.wall_s = earlier + time.monotonic() - began
            if path is not None and (stop or time.monotonic() - saved > SAVE_EVERY):
                store.save(path, run, identity)
                saved = time.monotonic()
            if stop:
                break
            _advance(run, sampler, keys)
            counter.advance(sampler.block * sampler.chains, **_metrics(look, run, sampler))
    return _result(run, sampler, look, converged)


def _begin(target: Adaptive, sampler: FieldSampler, keys) -> store.Run:
    positions = [target.start(jax.random.fold_in(key, 2**30)) for key in keys]
    target = target.guessed(positions[0])
    run = store.Run(target, [], [])
    for key, position in zip(keys, positions, strict=True):
        state, sums = blocks.begin(target, position, jax.random.fold_in(key, 2**30 + 1))
        run.states.append(state)
        run.sums.append(sums)
    run.step = 0.05 if sampler.method == "mclmc" else 0.1
    return run


def _advance(run: store.Run, sampler: FieldSampler, keys) -> None:
    """One block of every chain, and what the warm-up learns from it."""
    size = float(np.sqrt(run.target.dimension))
    scale = size if sampler.method == "mclmc" else 1.0
    first = run.blocks * sampler.block * sampler.thin
    dtype = run.states[0].log_density.dtype
    double = jax.config.jax_enable_x64  # of this thread alone, where it was set by a context

    def one(chain: int):
        with jax.enable_x64(double):
            made = blocks.run_block(
                run.target, keys[chain], run.states[chain], run.sums[chain], jnp.asarray(first),
                jnp.asarray(run.step * scale, dtype), jnp.asarray(sampler.length * size, dtype),
                method=sampler.method, draws=sampler.block, thin=sampler.thin, steps=sampler.steps,
            )  # fmt: skip
            return jax.block_until_ready(made)

    mesh_size = len(jax.tree.leaves(run.states[0].position)[0].sharding.device_set)
    with ThreadPoolExecutor(2 if mesh_size == 1 else 1) as pool:
        ahead = [one(0)] if run.blocks == 0 else []  # alone: two at once would both compile
        made = ahead + list(pool.map(one, range(len(ahead), sampler.chains)))
    run.states, run.sums = [m[0] for m in made], [m[1] for m in made]
    traces = jax.device_get([m[2] for m in made])
    observed = {name: np.stack([t.observed[name] for t in traces]) for name in traces[0].observed}
    observed["log_density"] = np.stack([t.log_density for t in traces])[..., None]
    run.append(observed)
    run.blocks += 1
    run.gradients += sampler.gradients * sampler.block * sampler.chains
    run.energy = float(np.mean([t.energy for t in traces])) / run.target.dimension
    run.accepted = float(np.mean([t.accepted for t in traces]))
    ends = np.cumsum(sampler.warmup)
    if run.blocks > ends[-1]:
        if (run.blocks - ends[-1]) % max(1, sampler.max_draws // sampler.block // sampler.keep) == 0:
            run.keep([np.asarray(_picture(run.target, state.position)) for state in run.states])
        return
    _retune(run, sampler)
    run.points = (run.points + [state.position for state in run.states])[-POINTS:]
    if run.blocks in ends:
        _relearn(run, keys, last=run.blocks == ends[-1])


def _retune(run: store.Run, sampler: FieldSampler) -> None:
    """A step nearer to the energy error, or acceptance, asked for."""
    if sampler.method == "mclmc":
        # The energy error of a second-order step falls with its cube.
        ratio = (sampler.energy_error / max(run.energy, 1e-12)) ** (1.0 / 6.0)
        # Where most steps are refused their energies say nothing, or that the step is far too long.
        run.step *= float(np.clip(ratio, 0.2, 2.0 if run.accepted > 0.5 else 0.5))
    else:
        run.step *= float(np.clip(np.exp(1.5 * (run.accepted - sampler.acceptance)), 0.6, 1.4))
    run.step = min(run.step, 0.5 if sampler.method == "mclmc" else 1.5)


def _relearn(run: store.Run, keys, last: bool) -> None:
    """End a window: coordinates from its draws, and empty sums; the last window only ends."""
    if last:
        run.warmup_gradients = run.gradients
        run.sums = [blocks.empty_sums(run.target, state.position) for state in run.states]
        run.drop()
        return
    half = {name: values[:, values.shape[1] // 3 :] for name, values in run.draws.items()}
    target = run.target.relearnt(half, [sums.coordinates for sums in run.sums], run.points)
    states, all_sums = [], []
    for chain, (key, state) in enumerate(zip(keys, run.states, strict=True)):
        position = blocks.carry(target, run.target, state.position)
        again = jax.random.fold_in(key, 2**30 + 2 + run.blocks + chain)
        state, sums = blocks.begin(target, position, again)
        states.append(state)
        all_sums.append(sums)
    run.target, run.states, run.sums = target, states, all_sums
    run.drop()


@jax.jit
def _picture(target, latent):
    return target.picture(latent)


def _look(run: store.Run, sampler: FieldSampler) -> tuple[dict[str, Convergence] | None, bool]:
    if run.blocks <= sum(sampler.warmup) or run.count < 8:
        return None, False
    look = {name: _judged(run.draws[name]) for name in run.target.judged if run.draws[name].shape[-1]}
    fine = all(c.max_r_hat < sampler.r_hat and np.min(c.ess_bulk) >= sampler.ess for c in look.values())
    return look, fine


def _judged(draws: np.ndarray) -> Convergence:
    """Convergence of what varies: a shell of k that holds no mode of a small grid is 0 in every draw of every
    chain, where a chain that is stuck has a value of its own."""
    varies = np.ptp(draws, axis=(0, 1)) > 0.0
    return convergence(draws[..., varies] if varies.any() else draws)


def _metrics(look, run: store.Run, sampler: FieldSampler) -> dict:
    shown = {"step": run.step, "energy": run.energy} if sampler.method == "mclmc" else {
        "step": run.step, "accepted": run.accepted}  # fmt: skip
    if look is None:
        return {"phase": "warm-up", **shown}
    worst = max(c.max_r_hat for c in look.values())
    least = min(float(np.min(c.ess_bulk)) for c in look.values())
    return {"phase": "draws", "R-hat": worst, "ESS": least, **shown}


def _result(run: store.Run, sampler: FieldSampler, look, converged: bool) -> FieldChains:
    counts = [int(s.count) for s in run.sums]
    means = np.stack([np.asarray(s.mean, np.float64) for s in run.sums])
    squares = np.stack([np.asarray(s.squares, np.float64) for s in run.sums])
    mean = means.mean(axis=0)
    spread = np.sum((means - mean) ** 2, axis=0) * counts[0]
    variance = (squares.sum(axis=0) + spread) / max(sum(counts) - 1, 1)
    observed = {name: values for name, values in run.draws.items() if name != "log_density"}
    return FieldChains(
        observed=observed,
        log_density=run.draws["log_density"][..., 0],
        mean=mean,
        std=np.sqrt(variance),
        samples=np.stack(run.kept) if run.kept else np.zeros((0, *mean.shape)),
        convergence=look,
        converged=converged,
        gradients=run.gradients,
        warmup_gradients=run.warmup_gradients,
        step=run.step,
        energy=run.energy,
        accepted=run.accepted,
        wall_s=run.wall_s,
        target=run.target,
    )
