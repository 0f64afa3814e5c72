"""Before the draws that count: starts around the fit, and the windows that tune metric, step and length."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from galaxyjax.infer.fit import Laplace, laplace, points_at_once
from galaxyjax.infer.forward import Forward
from galaxyjax.infer.kernel import Draws, fresh_step_size, start_state
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.state import Run, append, no_draws

if TYPE_CHECKING:
    from galaxyjax.infer.sample import Sampler


def begin(posterior: Posterior, forward: Forward, sampler: Sampler, dtype) -> Run:
    """Fits, and starts every chain at a point where the density is finite."""
    fit = laplace(forward.log_density, posterior.dimension, sampler.seed)
    position, value = starts(forward.log_density, fit, sampler, dtype)
    # The fit's gradient serves until a chain first moves: one transition of a warm-up, a compilation spared.
    d = posterior.dimension
    step = 1.0 / d**0.25 if sampler.kind == "nuts" else 0.3 * d**0.5
    state = start_state(position, value, fit.gradient(position), step, sampler.seed)
    return Run(
        state=state,
        inverse_mass=fit.covariance.astype(dtype),
        window=no_draws(*position.shape, dtype),
        draws=no_draws(*position.shape, dtype),
        quantities=np.zeros((sampler.chains, 0, len(posterior.quantity_names)), dtype),
        fit=fit,
        length=trajectory(sampler, d, step),
    )


def trajectory(sampler: Sampler, dimension: int, step: float) -> float:
    """What a transition is told of a trajectory's length: in whitened coordinates, or as a number of steps.

    A posterior of unit covariance is a ball of radius sqrt(d), which a walk at unit speed crosses in a length
    of that order.
    """
    length = sampler.length * dimension**0.5
    return max(length / step, 1.0) if sampler.kind == "adjusted-mclmc" else length


def starts(evaluate: Callable, fit: Laplace, sampler: Sampler, dtype):
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


def adapt_block(run: Run, block: Draws, sampler: Sampler) -> None:
    """Ends a warm-up block: at the end of a window, a metric from its draws and one step size for all
    chains.
    """
    run.window = append(run.window, block)
    ends = np.cumsum(sampler.warmup)
    over = run.blocks in ends
    size = run.state.step_size
    if sampler.kind == "mclmc":
        log_step = float(size.log_step_size_avg[0])
        log_step += energy_change(block.acceptance[~block.divergent], sampler.energy_variance)
    elif over:
        log_step = float(np.mean(size.log_step_size_avg))
    else:
        return
    fresh = fresh_step_size(sampler.chains, log_step, size.log_step_size.dtype)
    run.state = run.state._replace(step_size=fresh)
    run.length = trajectory(sampler, run.inverse_mass.shape[0], float(np.exp(log_step)))
    if not over:
        return
    if run.blocks != ends[-1]:
        run.inverse_mass = learnt_metric(run.window.position, run.inverse_mass)
        run.window = Draws(*(leaf[:, :0] for leaf in run.window))
    else:
        run.warmup_gradients = run.gradients


def energy_change(errors, wanted: float) -> float:
    """What to add to ln step so that the squared energy error becomes `wanted`: it grows as step^6.

    errors: (n,) mean squared energy errors a dimension. Their mean without the largest tenth, which single
    steps into a steep corner would rule; at most a factor of 1.5 at a time.
    """
    found = np.sort(np.asarray(errors, np.float64))
    found = found[: max(int(0.9 * len(found)), 1)] if len(found) else np.array([64.0 * wanted])
    return float(np.clip(np.log(wanted / max(found.mean(), 1e-12)) / 6.0, -np.log(1.5), np.log(1.5)))


def learnt_metric(position, previous) -> np.ndarray:
    """Covariance of all chains' draws (chains, draws, d), shrunk towards the previous metric.

    The weight of the previous one is that of 5 d draws: a window holds some hundred correlated draws in d =
    12 dimensions, and the fit's metric is already good to a factor of order one.
    """
    flat = position.reshape(-1, position.shape[-1]).astype(np.float64)
    weight = len(flat) / (len(flat) + 5.0 * flat.shape[1])
    return (weight * np.cov(flat, rowvar=False) + (1.0 - weight) * previous).astype(previous.dtype)
