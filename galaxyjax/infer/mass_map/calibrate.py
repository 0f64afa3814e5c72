"""Posteriors of convergence for `field_level.calibrate`: of maps drawn from the prior, masked and noisy."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from galaxyjax.fields.shear import shear_of
from galaxyjax.infer.mass_map.marginal import Marginal
from galaxyjax.infer.mass_map.posterior import PROBES, SHELLS, MassMap, Sky, mass_map
from galaxyjax.infer.mass_map.prior import MapGrid


@dataclass(frozen=True, eq=False)
class MapFamily:
    """Posteriors of convergence maps (`MassMap`).

    noise_std: of both components of shear, (ny, nx), 0 where nothing is seen. variance, marginal: of the
    prior, as in `mass_map`.
    """

    grid: MapGrid
    noise_std: np.ndarray
    variance: np.ndarray
    mesh: Mesh
    marginal: Marginal | None = None

    def draw(self, key: jax.Array):
        """A posterior of a mock whose convergence is drawn from the prior, and that draw."""
        of_map, *of_noise = jax.random.split(key, 3)
        blank = np.zeros(self.grid.shape)
        empty = self._posterior((blank, blank))
        white = jax.random.normal(of_map, (*self.grid.shape, 1), empty.shear[0].dtype)
        shear = [
            np.asarray(one[..., 0] + self.noise_std * jax.random.normal(k, self.grid.shape))
            for one, k in zip(_lensed(empty, white), of_noise, strict=True)
        ]
        return self._posterior(shear), lambda of: _sky(of, white)

    def _posterior(self, shear) -> MassMap:
        std = (self.noise_std, self.noise_std)
        return mass_map(self.grid, tuple(shear), std, self.variance, self.mesh, self.marginal)

    def names(self, target: MassMap) -> tuple[str, ...]:
        """Shells of l from the largest wave on, pixels."""
        return (*(f"power, shell {i}" for i in range(SHELLS)), *(f"pixel {i}" for i in range(PROBES)))

    def identity(self) -> str:
        """Grid, noise and prior."""
        blank = np.zeros(self.grid.shape)
        return self._posterior((blank, blank)).identity()


@jax.jit
def _lensed(target: MassMap, white):
    """Shear of the convergence that white noise stands for."""
    return shear_of(target._modes(target._kappa(target._modes(white))), target.mesh)


@jax.jit
def _sky(target: MassMap, white) -> Sky:
    return target.sky(white)
