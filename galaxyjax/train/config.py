"""How long and how fast one network is trained."""

from __future__ import annotations

from dataclasses import dataclass

from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class FitConfig:
    """Optimisation of one network. The batch of a step is a pure function of (seed, step)."""

    steps: int = 20_000
    batch: int = 512
    learning_rate: float = 1e-2  # peak of a cosine that ends at zero
    ema: float = 0.999  # decay of the averaged weights, which are the ones kept
    evaluate_every: int = 500
    patience: int = 40  # evaluations without a better validation loss before stopping
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "learning_rate", "evaluate_every", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training: {name} = {getattr(self, name)} must be positive")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"training: ema = {self.ema} must be in [0, 1)")
