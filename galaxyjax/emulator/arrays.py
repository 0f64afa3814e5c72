"""The NumPy door: an emulator for programs that know floats and arrays only (SciPy, emcee, a notebook)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from numpy.typing import ArrayLike

from galaxyjax.core.errors import ConfigError
from galaxyjax.emulator.emulator import Emulator


@dataclass(frozen=True)
class ArrayEmulator:
    """An emulator whose answers are NumPy arrays; compiled once for each shape. `Emulator.numpy` makes one.

    double: compute in float64, whatever JAX is set to elsewhere; float32 otherwise. Names, units, shapes and
    errors are the emulator's own.
    """

    emulator: Emulator
    double: bool = True

    def predict(self, theta: Mapping[str, ArrayLike], *, k: ArrayLike, z: ArrayLike, output: str):
        """Return the named output, (..., nz, nk), as `Emulator.predict`."""
        return self._numpy(self.emulator.predict, self._arrays(theta), k=self._array(k), z=z, output=output)

    def sigma8(self, theta: Mapping[str, ArrayLike], z: ArrayLike = 0.0) -> np.ndarray:
        """Return sigma_8 of total matter, (..., nz)."""
        return self._numpy(self.emulator.sigma8, self._arrays(theta), self._array(z))

    def derived(self, theta: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Return {"sigma_8", "S8", "Omega_m"} today."""
        return self._numpy(self.emulator.derived, self._arrays(theta))

    def gradient(
        self, theta: Mapping[str, float], *, k: ArrayLike, z: ArrayLike, output: str
    ) -> dict[str, np.ndarray]:
        """Return name -> d output / d name, (nz, nk), for every scalar in theta, by forward derivatives.

        Raises as `predict`, ConfigError for values that are not scalars.
        """
        for name, value in theta.items():
            if np.ndim(value):
                raise ConfigError(f"{name} has shape {np.shape(value)}; a gradient is taken at one cosmology")
        self.predict(theta, k=k, z=z, output=output)  # its checks: numbers under a derivative cannot raise
        return self._numpy(
            _gradient, self.emulator, self._arrays(theta), self._array(k), self._array(z), output
        )

    def error(self, output: str, *, k: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Return the measured root-mean-square error of ln(output), (nz, nk); k (nk,) in h/Mpc, z (nz,).

        Raises ConfigError for an emulator that came without one.
        """
        return self._error().spread(output, k, z)

    def error_covariance(self, output: str, *, k: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Return the covariance of the error of ln(output), (nz nk, nz nk), redshift by redshift."""
        modes = self._error().modes(output, k, z).reshape(-1, np.size(z) * np.size(k))
        return modes.T @ modes

    def _error(self):
        if self.emulator.error is None:
            raise ConfigError(
                f"{self.emulator.contract.name} has no measured error: its folder has no error.npz"
            )
        return self.emulator.error

    def _array(self, values: ArrayLike) -> np.ndarray:
        return np.asarray(values, np.float64 if self.double else np.float32)

    def _arrays(self, theta: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        if not isinstance(theta, Mapping):
            return theta  # the emulator says what is wrong with it
        return {name: self._array(value) for name, value in theta.items()}

    def _numpy(self, function, *arguments, **options):
        # A scope of this thread: the precision that the caller's own JAX code has chosen stays as it is.
        with jax.enable_x64(self.double):
            return jax.tree.map(np.asarray, function(*arguments, **options))


@partial(jax.jit, static_argnames="output")
def _gradient(emulator: Emulator, theta: dict, k, z, output: str) -> dict:
    return jax.jacfwd(lambda theta: emulator.predict(theta, k=k, z=z, output=output))(theta)
