"""Log density and columns of many points through one compiled program."""

from __future__ import annotations

import jax
import numpy as np

from galaxyjax.infer.fit import points_at_once
from galaxyjax.infer.posterior import Posterior


class Forward:
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
        return self._each(positions)[1]

    def densities(self, positions) -> np.ndarray:
        """Coordinates (chains, draws, d) -> log densities (chains, draws)."""
        return self._each(positions)[0]

    def _each(self, positions) -> tuple[np.ndarray, np.ndarray]:
        flat = positions.reshape(-1, positions.shape[-1])
        padded = np.concatenate([flat, np.repeat(flat[-1:], -len(flat) % self.batch, axis=0)])
        parts = [self._compiled(part) for part in np.split(padded, len(padded) // self.batch)]
        values, quantities = (np.concatenate(leaves)[: len(flat)] for leaves in zip(*parts, strict=True))
        shape = positions.shape[:2]
        return values.reshape(shape), quantities.reshape(*shape, -1)
