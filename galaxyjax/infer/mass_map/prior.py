"""What a convergence map looks like before there are data: Gaussian, or shifted log-normal.

kappa = shift (exp(g - var / 2) - 1), g Gaussian of variance var (Hilbert, Hartlap & Schneider 2011, A&A 536,
A85): never below -shift, with the tail of haloes that a Gaussian lacks. Its spectrum is the same as that of
the Gaussian prior, for the correlations of g are ln(1 + xi_kappa / shift^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class MapGrid:
    """A flat patch. shape: (ny, nx) pixels. pixel: their side, radian."""

    shape: tuple[int, int]
    pixel: float

    def __post_init__(self):
        if min(self.shape) < 4 or not self.pixel > 0:
            raise ConfigError(f"map: shape {self.shape} (4 or more) and pixel {self.pixel} rad (positive)")

    @property
    def size(self) -> tuple[float, float, float]:
        """Sides for the FFT of a map one cell deep, radian; the depth counts for nothing."""
        return (self.shape[0] * self.pixel, self.shape[1] * self.pixel, 1.0)

    def ell(self) -> np.ndarray:
        """|l| of every mode of the full FFT, (ny, nx)."""
        y, x = (2.0 * np.pi * np.fft.fftfreq(n, self.pixel) for n in self.shape)
        return np.hypot(y[:, None], x[None, :])


def gaussian_spectrum(grid: MapGrid, ell: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return the variance of every mode, per mode of white noise of unit variance in pixels, (ny, nx).

    ell, power: (n,) rising multipoles and C_l of the convergence; interpolated in logarithms, flat below the
    first and as a power law above the last. The mean has none. Raises DataError for anything else.
    """
    ell, power = np.asarray(ell, float), np.asarray(power, float)
    if ell.ndim != 1 or ell.shape != power.shape or len(ell) < 2 or (np.diff(ell) <= 0).any():
        raise DataError(f"spectrum: ell {ell.shape} must rise, with as many powers {power.shape}")
    if not (power > 0).all() or not ell[0] > 0:
        raise DataError("spectrum: ell and power must be positive")
    wanted = grid.ell()
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(wanted > 0, wanted, ell[0]))
    found = np.interp(logs, np.log(ell), np.log(power))
    slope = np.log(power[-1] / power[-2]) / np.log(ell[-1] / ell[-2])
    found = np.where(wanted > ell[-1], np.log(power[-1]) + slope * (logs - np.log(ell[-1])), found)
    return np.where(wanted > 0, np.exp(found), 0.0) / grid.pixel**2


def lognormal_spectrum(variance: np.ndarray, shift: float) -> tuple[np.ndarray, float]:
    """Return the modes' variances (ny, nx) of g, and its variance, for those of kappa and a shift.

    What of the spectrum no log-normal field can have, a per cent at the pixel's scale, is cut at 0. Raises
    ConfigError when the shift is not positive.
    """
    if not shift > 0:
        raise ConfigError(f"log-normal map: shift = {shift} must be positive")
    xi = np.fft.ifft2(variance).real
    logs = np.log1p(np.maximum(xi / shift**2, -0.99))
    found = np.maximum(np.fft.fft2(logs).real, 0.0)
    return found, float(np.fft.ifft2(found).real[0, 0])


def spectrum_of(kappa: np.ndarray, grid: MapGrid, bins: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return ell and C_l of a map (ny, nx) in logarithmic bins: of a simulation that teaches a prior."""
    kappa = np.asarray(kappa, float)
    ell = grid.ell().ravel()
    power = (np.abs(np.fft.fft2(kappa - kappa.mean())) ** 2).ravel() * grid.pixel**2 / kappa.size
    edges = np.geomspace(ell[ell > 0].min() * 0.99, ell.max() * 1.01, bins + 1)
    index = np.digitize(ell, edges) - 1
    inside = (index >= 0) & (ell > 0)
    count = np.bincount(index[inside], minlength=bins)[:bins]
    full = count > 0
    mean = lambda v: np.bincount(index[inside], v[inside], minlength=bins)[:bins][full] / count[full]  # noqa: E731
    return mean(ell), mean(power)


def shift_of(kappa: np.ndarray) -> float:
    """Return the shift about the mean that makes ln(1 + (kappa - mean) / shift) symmetric: of a simulation.

    The smallest one that a map allows is the depth of its deepest pixel.
    """
    off = np.asarray(kappa, float).ravel()
    off = off - off.mean()
    low, high = -off.min() * 1.0001, 50.0 * off.std()

    def skewness(shift: float) -> float:
        logs = np.log1p(off / shift)
        return float(np.mean((logs - logs.mean()) ** 3) / logs.std() ** 3)

    if skewness(low) > 0:
        return low
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if skewness(middle) < 0 else (low, middle)
    return 0.5 * (low + high)
