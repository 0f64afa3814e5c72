"""From a file's units to the project's: comoving Mpc/h, peculiar km/s, 1e10 Msun/h, K."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError, FileError, unknown_name

MPC_CM = 3.0856775814913673e24
"""One megaparsec in cm (IAU 2015)."""

MSUN_G = 1.98841e33
"""One solar mass in g: (GM)_sun of IAU 2015 over G of CODATA 2018."""

YEAR_S = 3.15576e7
"""One Julian year in s."""

_PART = 1 << 16  # numbers

# kind: powers of length, mass and time; powers of a and h that make the project's unit physical.
_KINDS = {
    "length": (1, 0, 0, 1.0, -1.0),
    "mass": (0, 1, 0, 0.0, -1.0),
    "velocity": (1, 0, -1, 0.0, 0.0),
    "density": (-3, 1, 0, -3.0, 2.0),
    "energy": (2, 0, -2, 0.0, 0.0),
    "rate": (0, 1, -1, 0.0, 0.0),
    "temperature": (0, 0, 0, 0.0, 0.0),
    "number": (0, 0, 0, 0.0, 0.0),
}
_OURS = {
    "length": MPC_CM,
    "mass": 1e10 * MSUN_G,
    "velocity": 1e5,
    "density": 1e10 * MSUN_G / MPC_CM**3,
    "energy": 1e10,
    "rate": MSUN_G / YEAR_S,
    "temperature": 1.0,
    "number": 1.0,
}
UNITS = {
    "length": "comoving Mpc/h",
    "mass": "1e10 Msun/h",
    "velocity": "peculiar km/s",
    "density": "comoving (1e10 Msun/h) / (Mpc/h)^3",
    "energy": "(km/s)^2, physical",
    "rate": "Msun/yr",
    "temperature": "K",
    "number": "",
}
"""The project's unit of each kind of quantity, in words."""


@dataclass(frozen=True)
class SourceUnits:
    """The units of a file: cgs values, and what its numbers must be multiplied with to be physical.

    length_cm, mass_g, velocity_cm_s: size of one unit. little_h: lengths and masses are per h. velocity_a:
    peculiar velocity = stored x a^velocity_a (GADGET 1/2, SWIFT 0). energy_a: the same for specific energies
    (GADGET 0, SWIFT -2). name: in words, for messages.
    """

    length_cm: float
    mass_g: float
    velocity_cm_s: float
    little_h: bool
    velocity_a: float
    energy_a: float
    name: str

    def exponents(self, kind: str) -> tuple[float, float, float]:
        """Return (cgs, a, h): physical cgs value = stored x cgs x a^a x h^h, for a kind of quantity."""
        length, mass, time, a, h = _KINDS[kind]
        cgs = self.length_cm**length * self.mass_g**mass * (self.velocity_cm_s / self.length_cm) ** (-time)
        a = {"velocity": self.velocity_a, "energy": self.energy_a}.get(kind, a)
        return cgs, a, h if self.little_h else 0.0


GADGET_KPC = SourceUnits(
    MPC_CM / 1e3, 1e10 * MSUN_G, 1e5, True, 0.5, 0.0, "comoving kpc/h, 1e10 Msun/h, km/s with sqrt(a)"
)
GADGET_MPC = SourceUnits(
    MPC_CM, 1e10 * MSUN_G, 1e5, True, 0.5, 0.0, "comoving Mpc/h, 1e10 Msun/h, km/s with sqrt(a)"
)
NAMED = {"kpc/h": GADGET_KPC, "Mpc/h": GADGET_MPC}
"""What `units=` takes: GADGET's conventions with either unit of length."""


def named(units: str | SourceUnits) -> SourceUnits:
    """Return the units with a name of `NAMED`. Raises UnknownName."""
    if isinstance(units, SourceUnits):
        return units
    if units not in NAMED:
        raise unknown_name("units of a snapshot", units, NAMED)
    return NAMED[units]


def stated(attributes: Mapping[str, object]) -> tuple[float, float, float] | None:
    """Return (cgs, a, h) that a dataset's own attributes state, None when they do not.

    GADGET-4, AREPO and TNG write to_cgs, a_scaling, h_scaling (to_cgs = 0 where it was not filled in); SWIFT
    writes a conversion factor and the exponents of a and h.
    """
    for names in (
        ("to_cgs", "a_scaling", "h_scaling"),
        (
            "Conversion factor to CGS (not including cosmological corrections)",
            "a-scale exponent",
            "h-scale exponent",
        ),
    ):
        values = [attributes.get(name) for name in names]
        values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
        plain = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        if plain and all(math.isfinite(v) for v in values) and values[0] > 0 and abs(values[1]) < 20:
            return float(values[0]), float(values[1]), float(values[2])
    return None


def factor(kind: str, scaling: tuple[float, float, float], a: float, h: float | None) -> float:
    """Return what a stored number is multiplied with to be in the project's unit of its kind.

    scaling: (cgs, a, h) as `stated` or `SourceUnits.exponents` give it. Within 1e-3 of a power of ten it is
    that power: codes disagree on the Sun's mass by 3e-4 and mean the same "1e10 Msun/h". Raises ConfigError
    that asks for h where a number depends on it and it is unknown.
    """
    cgs, power_a, power_h = scaling
    *_, ours_a, ours_h = _KINDS[kind]
    number = cgs / _OURS[kind]
    if not 1e-100 < number < 1e100:
        raise FileError(f"a {kind} in units of {cgs:.3g} cgs cannot be; altered")
    near = 10.0 ** round(math.log10(number))
    number = near if abs(number / near - 1.0) < 1e-3 else number
    rest = round(power_h - ours_h, 6)
    if rest and h is None:
        raise ConfigError(f"h: the file stores a {kind} without h and does not say h; give h=")
    return number * a ** round(power_a - ours_a, 6) * (h**rest if rest else 1.0)


def scaled(data: np.ndarray, scale: float) -> tuple[float, float]:
    """Multiply in place; return the smallest and largest number, NaN if one is.

    In parts that stay in the processor's cache: one pass over memory instead of three.
    """
    flat, low, high = data.reshape(-1), 0.0, 0.0
    scale = data.dtype.type(scale)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(flat), _PART):
            part = flat[start : start + _PART]
            if scale != 1.0:
                np.multiply(part, scale, out=part)
            # Not min() of Python, which would lose a NaN.
            low, high = np.minimum(low, part.min()), np.maximum(high, part.max())
    return float(low), float(high)
