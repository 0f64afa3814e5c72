"""Folds: training, validation and test, split by simulation and never by crop.

Two crops of one simulation, its maps along three axes, or two runs from the same initial conditions look
alike; with one of them in training and the other in the test the error comes out too small.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.data.keyed import keyed_bits

FOLDS = ("train", "validation", "test")


def split(
    simulations: Sequence[Hashable], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the indices (sorted int64) of the examples of each fold; all of a simulation are in one.

    simulations: (n,) which simulation each example is of; what shares initial conditions must have the same
    entry. fractions: of simulations, for train, validation and test; they sum to 1. A simulation's place
    depends on its entry and the seed, not on the order. Raises ConfigError for fractions that are none,
    or that leave a fold empty which should not be.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ConfigError(f"fractions {tuple(fractions)} must be three, not negative, of sum 1")
    groups = _ordered(simulations, seed)
    edges = [round(edge * len(groups)) for edge in np.cumsum([0.0, *fractions]).tolist()]
    parts = {name: groups[edges[i] : edges[i + 1]] for i, name in enumerate(FOLDS)}
    for (name, part), fraction in zip(parts.items(), fractions, strict=True):
        if fraction > 0 and not part:
            raise ConfigError(
                f"{len(groups)} simulations leave no {name}, which is to be {fraction:g} of them; give more"
            )
    return {name: _indices(simulations, part) for name, part in parts.items()}


def k_fold(simulations: Sequence[Hashable], k: int, fold: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return {"train", "validation"}: the indices of part `fold` of k as validation, of the others to train.

    Raises ConfigError unless 0 <= fold < k <= number of simulations and k > 1.
    """
    groups = _ordered(simulations, seed)
    if not (1 < k <= len(groups) and 0 <= fold < k):
        raise ConfigError(f"fold {fold} of {k}: {len(groups)} simulations allow 2 to {len(groups)} parts")
    return {
        "train": _indices(simulations, [g for i, g in enumerate(groups) if i % k != fold]),
        "validation": _indices(simulations, groups[fold::k]),
    }


def check_folds(folds: Mapping[str, np.ndarray], simulations: Sequence[Hashable]) -> None:
    """Raise DataError when two folds share a simulation (or an example)."""
    owner: dict[Hashable, str] = {}
    for name, indices in folds.items():
        for simulation in {_key(simulations[i]) for i in indices}:
            if owner.setdefault(simulation, name) != name:
                raise DataError(
                    f"simulation {simulation} is in {owner[simulation]} and in {name}; split by simulation"
                )


def _ordered(simulations: Sequence[Hashable], seed: int) -> list[Hashable]:
    groups = {_key(one) for one in simulations}
    return sorted(groups, key=lambda one: (keyed_bits(seed, one), str(one)))


def _key(simulation: Hashable) -> int | str:
    """NumPy's numbers and Python's are the same simulation."""
    return simulation.item() if isinstance(simulation, np.generic) else simulation


def _indices(simulations: Sequence[Hashable], groups: Sequence[Hashable]) -> np.ndarray:
    wanted = set(groups)
    return np.array([i for i, one in enumerate(simulations) if _key(one) in wanted], dtype=np.int64)
