"""Everything that changes while sampling, in memory and in one file, so that a killed run goes on as if it
had not been.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.infer.fit import Laplace
from galaxyjax.infer.kernel import ChainState, Draws, start_state

COUNTERS = {"blocks": int, "gradients": int, "warmup_gradients": int, "wall_s": float, "length": float}


@dataclass
class Run:
    """The state of all chains, the metric, the draws so far; NumPy on the host."""

    state: ChainState
    inverse_mass: np.ndarray  # (d, d)
    length: float = 0.0  # of trajectories, see `kernel.Tuned`
    window: Draws | None = None  # of the present warm-up window
    draws: Draws | None = None  # after the warm-up
    quantities: np.ndarray | None = None  # (chains, draws, q) of those draws
    fit: Laplace | None = None
    blocks: int = 0  # done, warm-up included
    gradients: int = 0
    warmup_gradients: int = 0
    wall_s: float = 0.0


def no_draws(chains: int, dimension: int, dtype) -> Draws:
    """Draws of length zero."""
    kinds = Draws(dtype, dtype, dtype, np.int32, bool, bool)
    empty = Draws(*(np.zeros((chains, 0), kind) for kind in kinds))
    return empty._replace(position=np.zeros((chains, 0, dimension), dtype))


def append(draws: Draws, block: Draws) -> Draws:
    """Draws with a block's behind them."""
    return Draws(*(np.concatenate([a, b], axis=1) for a, b in zip(draws, block, strict=True)))


def save_run(path: Path, run: Run, identity: str) -> None:
    """Writes the whole state to one npz file, atomically."""
    arrays = {
        "identity": np.asarray(identity),
        "inverse_mass": run.inverse_mass,
        "quantities": run.quantities,
    }
    arrays |= {f"draws/{name}": leaf for name, leaf in run.draws._asdict().items()}
    arrays |= {f"window/{name}": leaf for name, leaf in run.window._asdict().items()}
    arrays |= {f"state/{i}": leaf for i, leaf in enumerate(jax.tree.leaves(run.state))}
    arrays |= {f"fit/{f.name}": np.asarray(getattr(run.fit, f.name)) for f in fields(Laplace)}
    arrays |= {name: np.asarray(getattr(run, name)) for name in COUNTERS}
    write_npz(path, arrays)


def load_run(path: Path, identity: str) -> Run:
    """The state that `save_run` wrote.

    Raises ConfigError when it is of another posterior or sampler, FileError when the file is cut short or no
    state.
    """
    arrays = read_npz(path)
    try:
        if str(arrays["identity"]) != identity:
            raise ConfigError(
                f"{path} holds a run of another posterior, sampler or device count: give another folder, "
                "or remove it to start afresh"
            )
        structure = jax.tree.structure(start_state(np.zeros((1, 1)), np.zeros(1), np.zeros((1, 1)), 1.0))
        leaves = [arrays[f"state/{i}"] for i in range(structure.num_leaves)]
        fit = {f.name: arrays[f"fit/{f.name}"] for f in fields(Laplace)}
        scalars = {"log_density": float, "evaluations": int, "converged": bool}
        return Run(
            state=jax.tree.unflatten(structure, leaves),
            inverse_mass=arrays["inverse_mass"],
            window=Draws(*(arrays[f"window/{name}"] for name in Draws._fields)),
            draws=Draws(*(arrays[f"draws/{name}"] for name in Draws._fields)),
            quantities=arrays["quantities"],
            fit=Laplace(**{name: scalars.get(name, np.asarray)(value) for name, value in fit.items()}),
            **{name: kind(arrays[name]) for name, kind in COUNTERS.items()},
        )
    except KeyError as missing:
        raise FileError(
            f"{path}: {missing} is missing; no state of a run, remove it to start afresh"
        ) from None
