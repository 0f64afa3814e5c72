"""Grid and power of a convergence map before there are data, and what simulated maps teach about them.

Pixels are averages of what lies in them, so that the power of a map is not that of the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError

ALIASES = 3  # turns of the grid's waves that are folded back; beyond is 1% of the shortest for C_l ~ 1/l


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


def gaussian_spectrum(
    grid: MapGrid, ell: np.ndarray, power: np.ndarray, averaged: bool = False
) -> np.ndarray:
    """Return the variance of every mode, per mode of white noise of unit variance in pixels, (ny, nx).

    ell, power: (n,) rising multipoles and C_l of the convergence; interpolated in logarithms, flat below the
    first and as a power law above the last. The mean has none. averaged: pixels are means over their area, as
    those of binned galaxies are, and power is that of the sky: it loses what is smaller than a pixel and
    gains what a grid takes for larger waves. Raises DataError for anything else.
    """
    ell, power = np.asarray(ell, float), np.asarray(power, float)
    if ell.ndim != 1 or ell.shape != power.shape or len(ell) < 2 or (np.diff(ell) <= 0).any():
        raise DataError(f"spectrum: ell {ell.shape} must rise, with as many powers {power.shape}")
    if not (power > 0).all() or not ell[0] > 0:
        raise DataError("spectrum: ell and power must be positive")
    slope = np.log(power[-1] / power[-2]) / np.log(ell[-1] / ell[-2])

    def at(wanted):
        logs = np.log(np.where(wanted > 0, wanted, ell[0]))
        found = np.interp(logs, np.log(ell), np.log(power))
        return np.exp(np.where(wanted > ell[-1], np.log(power[-1]) + slope * (logs - np.log(ell[-1])), found))

    if averaged:
        found = np.zeros(grid.shape)
        for y in range(-ALIASES, ALIASES + 1):
            for x in range(-ALIASES, ALIASES + 1):
                waves = [np.fft.fftfreq(n) + turn for n, turn in zip(grid.shape, (y, x), strict=True)]
                window = np.square(np.sinc(waves[0]))[:, None] * np.square(np.sinc(waves[1]))
                length = np.hypot(waves[0][:, None], waves[1]) * (2.0 * np.pi / grid.pixel)
                found += window * at(length)
    else:
        found = at(grid.ell())
    return np.where(grid.ell() > 0, found, 0.0) / grid.pixel**2


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
