"""Many posteriors at once: chains of several data sets vectorised in one compiled program.

Fit, warm-up and sampling are those of `sample`, for posteriors that differ in their data alone. Adjusted
microcanonical chains all take equally many steps, so none waits for another, and they are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.infer.diagnostics import convergence
from galaxyjax.infer.fit import laplace, points_at_once
from galaxyjax.infer.kernel import ChainState, Tuned, block_of, fresh_step_size, start_state
from galaxyjax.infer.microcanonical import hamiltonian
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.sample import Sampler
from galaxyjax.infer.warmup import learnt_metric, starts


@dataclass(frozen=True)
class Family:
    """Posteriors of all data sets that an analysis may meet.

    posterior: data (n,) -> Posterior; pure, traced under vmap; the prior must not depend on the data.
    """

    posterior: Callable[[jax.Array], Posterior]
    identity: str = ""


@dataclass(frozen=True)
class Effort:
    """How long to sample each data set."""

    draws: int = 100  # that are handed out for each data set
    ess: float = 200.0  # of each coordinate before they are: evenly thinned, they are then independent
    r_hat: float = 1.05
    chains: int = 4
    block: int = 50
    warmup: tuple[int, ...] = (1, 2, 3)
    max_draws: int = 1500  # a chain
    acceptance: float = 0.9
    length: float = 1.5
    at_once: int = 25  # data sets vectorised together
    seed: int = 0

    def __post_init__(self):
        for name, least in (("draws", 10), ("chains", 2), ("block", 4), ("at_once", 1), ("max_draws", 10)):
            if getattr(self, name) < least:
                raise ConfigError(f"Effort.{name} is {getattr(self, name)}; give {least} or more")

    def sampler(self, seed: int) -> Sampler:
        """The same as settings of a single run."""
        return Sampler(
            kind="adjusted-mclmc", chains=self.chains, block=self.block, warmup=self.warmup,
            acceptance=self.acceptance, length=self.length, seed=seed,
        )  # fmt: skip


class Drawn(NamedTuple):
    """Draws (m, draws, d) of coordinates, their log likelihood (m, draws); ess and r_hat (m,), the worst of
    all coordinates; gradients of all data sets together.
    """

    position: np.ndarray
    log_likelihood: np.ndarray
    ess: np.ndarray
    r_hat: np.ndarray
    gradients: int


class Ensemble:
    """The compiled program for `at_once` data sets of one size."""

    def __init__(self, family: Family, dimension: int, effort: Effort):
        self.family, self.dimension, self.effort = family, dimension, effort

        def block(keys, state, tuned, data, first, adapt):
            def one(keys, state, tuned, data):
                transition = hamiltonian(family.posterior(data).log_density)
                return block_of(transition, effort.block, effort.acceptance)(keys, state, tuned, first, adapt)

            # The number of steps is one for all: a loop over a batch of numbers would run to the largest.
            axes = (0, 0, Tuned(0, 0, None), 0)
            return jax.vmap(one, axes)(keys, state, tuned, data)

        self._block = jax.jit(block)
        self._density = jax.jit(lambda u, data: jax.vmap(family.posterior(data).log_density)(u))

    def draw(self, data: np.ndarray, seeds: np.ndarray, share: float = 1.0) -> Drawn:
        """Samples data sets (m, n), m at most `at_once`; what is drawn depends on data, seeds (m,) and share
        alone, to rounding.

        share: of the data sets that must have converged before it ends. One chain that does not move would
        keep all the others at work.
        """
        m, effort = len(data), self.effort
        padded = np.concatenate([np.arange(m), np.zeros(effort.at_once - m, int)])
        data, seeds = np.asarray(data, np.float32)[padded], np.asarray(seeds)[padded]
        fits, state = self._begin(data, seeds)
        metric = np.stack([fit.covariance for fit in fits]).astype(np.float32)
        keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), effort.chains))(seeds)
        ends, window, kept, gradients = np.cumsum(effort.warmup), [], [], 0
        step = 0.3 * self.dimension**0.5
        look = None
        for number in range(ends[-1] + max(effort.max_draws // effort.block, 1)):
            adapt = number < ends[-1]
            factor = np.linalg.cholesky(metric.astype(float)).astype(np.float32)
            steps = np.float32(max(effort.length * self.dimension**0.5 / step, 1.0))
            state, drawn = self._block(
                keys, state, Tuned(metric, factor, steps), data, np.int32(number * effort.block), adapt
            )
            state, drawn = jax.device_get((state, drawn))
            gradients += int(drawn.gradients[:m].sum())
            if adapt:
                window.append(drawn.position)
                if number + 1 in ends:
                    if number + 1 != ends[-1]:
                        joined = np.concatenate(window, axis=2)
                        metric = np.stack([learnt_metric(*pair) for pair in zip(joined, metric, strict=True)])
                    window = []
                    state, step = self._fresh(state)
                continue
            kept.append((drawn.position[:m], drawn.log_density[:m]))
            position, density = (np.concatenate(parts, axis=2) for parts in zip(*kept, strict=True))
            look = [convergence(one) for one in position]
            fine = [one.min_ess >= effort.ess and one.max_r_hat < effort.r_hat for one in look]
            if np.mean(fine) >= share:
                break
        likelihood = density + 0.5 * np.sum(position.astype(float) ** 2, -1)
        total = effort.chains * position.shape[2]
        chosen = np.linspace(0, total - 1, effort.draws).round().astype(int)
        return Drawn(
            position.reshape(m, total, -1)[:, chosen],
            likelihood.reshape(m, total)[:, chosen],
            np.array([one.min_ess for one in look]),
            np.array([one.max_r_hat for one in look]),
            gradients,
        )

    def _begin(self, data, seeds):
        """Fits of all data sets, and chains started around each."""
        d, n = self.dimension, points_at_once(self.dimension)
        found: dict[int, tuple] = {}
        for i, one in enumerate(data):
            if i > 0 and seeds[i] == seeds[0]:  # padding
                found[i] = found[0]
                continue

            def evaluate(points, one=one):
                points = np.asarray(points, np.float32)
                full = np.concatenate([points, np.repeat(points[-1:], n - len(points), axis=0)])
                return np.asarray(self._density(full, one))[: len(points)]

            fit = laplace(evaluate, d, int(seeds[i]))
            position, value = starts(evaluate, fit, self.effort.sampler(int(seeds[i])), np.float32)
            found[i] = fit, start_state(position, value, fit.gradient(position), 0.3 * d**0.5, int(seeds[i]))
        fits, states = zip(*(found[i] for i in range(len(data))), strict=True)
        return fits, jax.tree.map(lambda *leaves: np.stack(leaves), *states)

    def _fresh(self, state: ChainState) -> tuple[ChainState, float]:
        """One step size for all chains of a data set, and its median over data sets."""
        log_steps = state.step_size.log_step_size_avg.mean(1)
        sizes = [fresh_step_size(self.effort.chains, value, np.float32) for value in log_steps]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *sizes)
        return state._replace(step_size=stacked), float(np.exp(np.median(log_steps)))
