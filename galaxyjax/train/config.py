"""How long and how fast one network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from galaxyjax.core.errors import ConfigError

# Of a field that changes how a run is computed and not what: a checkpoint goes on whatever its value.
HOW = {"identity": False}


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


@dataclass(frozen=True)
class FieldFitConfig(FitConfig):
    """Optimisation of a network of fields: `batch` counts the fields of a step on the whole mesh."""

    steps: int = 10_000
    batch: int = 8
    learning_rate: float = 1e-3
    evaluate_every: int = 100
    warmup: int = 100  # steps of linearly rising learning rate
    accumulate: int = 1  # parts in which each device takes its fields, one after the other
    compute: str | None = None  # "bfloat16" for the network; weights, loss and sums stay float32
    clip: float = 1.0  # largest global norm of the gradient; 0 for none
    compress: bool = False  # gradient sums as bfloat16 with error feedback
    fsdp: bool = False  # large tensors lie in shards over the mesh's data axis
    remat: bool = False  # recompute activations in the backward pass
    save_every: int = 500  # steps between checkpoints
    # Into which the pipeline cuts the part of the batch of each "data"; 0 for as many as there are stages.
    microbatches: int = field(default=0, metadata=HOW)

    def __post_init__(self):
        super().__post_init__()
        for name in ("accumulate", "save_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training: {name} = {getattr(self, name)} must be positive")
        if not 0 <= self.warmup < self.steps:
            raise ConfigError(f"training: warmup = {self.warmup} must lie in 0..{self.steps - 1} (steps - 1)")
        if self.microbatches < 0:
            raise ConfigError(f"training: microbatches = {self.microbatches} must not be negative")
        if self.clip < 0.0:
            raise ConfigError(f"training: clip = {self.clip} must not be negative; 0 switches clipping off")
        if self.compute not in (None, "float32", "bfloat16"):
            raise ConfigError(f"training: compute = {self.compute!r} must be 'float32', 'bfloat16' or None")
