"""What a header says of box, time, cosmology and units; what it leaves open is asked for by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from galaxyjax.core.box import Box
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.data.limits import MAX_COUNT
from galaxyjax.data.source_units import SourceUnits, factor, named

_SWIFT_LENGTH, _SWIFT_MASS, _SWIFT_TIME = (
    f"Unit {what} in cgs ({letter})" for what, letter in (("length", "U_L"), ("mass", "U_M"), ("time", "U_t"))
)


@dataclass(frozen=True)
class SnapshotCosmology:
    """What a file (or its reader's caller) says of the cosmology; None where nobody said.

    `require` gives a number or asks for it by name; `complete` makes a `core.Cosmology` with what is missing.
    Amplitude and tilt are never taken from a file: GADGET-4 keeps PrimordialIndex = 1 and Sigma8 in its
    parameters also when the spectrum came from a table.
    """

    Omega_m: float | None = None
    Omega_lambda: float | None = None
    Omega_b: float | None = None
    h: float | None = None

    def require(self, name: str) -> float:
        """Return a parameter. Raises ConfigError when the file does not say it."""
        value = getattr(self, name)
        if value is None:
            raise ConfigError(f"{name}: the file does not say it; give {name}= to open_snapshot")
        return value

    def complete(self, **others: float) -> Cosmology:
        """Return a `core.Cosmology` from this and what a snapshot lacks (n_s, ln10A_s, m_nu ...).

        Raises ConfigError when one is still missing, or given twice.
        """
        known = {"h": self.h, "Omega_m": self.Omega_m, "Omega_b": self.Omega_b}
        return Cosmology.from_mapping({**{k: v for k, v in known.items() if v is not None}, **others})


@dataclass(frozen=True)
class Facts:
    """A header, read: box_size in Mpc/h, mass_table in 1e10 Msun/h, the rest as it says."""

    code: str
    scale_factor: float
    box_size: float
    cosmology: SnapshotCosmology
    units: SourceUnits
    mass_table: tuple[float, ...]
    files: int


class Described:
    """What a snapshot and a catalogue both tell of themselves, from their header."""

    def __init__(self, facts: Facts):
        self.scale_factor: float = facts.scale_factor
        self.box = Box(facts.box_size)
        self.cosmology: SnapshotCosmology = facts.cosmology
        self.units: SourceUnits = facts.units

    @property
    def redshift(self) -> float:
        """1 / a - 1."""
        return 1.0 / self.scale_factor - 1.0

    @property
    def box_size(self) -> float:
        """Side of the box in comoving Mpc/h."""
        return self.box.size


@dataclass(frozen=True)
class Given:
    """What the caller says, for what the file does not: see `open_snapshot`."""

    h: float | None = None
    Omega_m: float | None = None
    Omega_lambda: float | None = None
    Omega_b: float | None = None
    scale_factor: float | None = None
    box_size: float | None = None
    units: str | SourceUnits | None = None


def number(path: Path, header: Mapping, name: str) -> float | None:
    """Return a finite number of a header, None when it is not there. Raises FileError on anything else."""
    value = header.get(name)
    while isinstance(value, list) and value:
        if any(entry != value[0] for entry in value):  # a box that is no cube
            raise FileError(f"{path}: header: {name}={value} has different entries; one number is wanted")
        value = value[0]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FileError(f"{path}: header: {name}={str(value)[:60]} is not a finite number; altered")
    return float(value)


def counts_of(path: Path, header: Mapping, name: str) -> list[int]:
    """Return the particles of each type. Raises FileError when they are missing, negative or absurd."""
    counts = header.get(name)
    if not isinstance(counts, list) or not 1 <= len(counts) <= 16:
        raise FileError(f"{path}: header: {name}={str(counts)[:60]} is not a list of counts; altered")
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) or n != n or n % 1 for n in counts):
        raise FileError(f"{path}: header: {name}={str(counts)[:60]} are not integers; altered")
    if min(counts) < 0 or sum(counts) > MAX_COUNT:
        raise FileError(f"{path}: header: {name}={str(counts)[:80]} cannot be; altered")
    return [int(n) for n in counts]


def totals(path: Path, header: Mapping, types: int) -> list[int]:
    """Return the particles of each type in all files; 0 where an old header does not count."""
    if header.get("NumPart_Total") is None:
        return [0] * types
    low = counts_of(path, header, "NumPart_Total")
    high = header.get("NumPart_Total_HighWord")
    if high is None or len(low) != len(high if isinstance(high, list) else ()):
        return low
    return [
        a + (b << 32) for a, b in zip(low, counts_of(path, header, "NumPart_Total_HighWord"), strict=True)
    ]


def interpret(path: Path, header: Mapping, groups: Mapping[str, Mapping], given: Given) -> Facts:
    """Return what a header means. Raises ConfigError for what is missing, by the name to give it under."""
    swift = _is_swift(header, groups)
    reader = _Reader(path, header, groups, given)
    return reader.swift() if swift else reader.gadget()


def _is_swift(header: Mapping, groups: Mapping) -> bool:
    return header.get("Code") == "SWIFT" or groups.get("/Code", {}).get("Code") == "SWIFT"


class _Reader:
    def __init__(self, path, header, groups, given: Given):
        self.path, self.header, self.groups, self.given = path, header, groups, given

    def find(self, *names: str, groups: tuple[str, ...] = ("/Header", "/Parameters")) -> float | None:
        """The first of these numbers in the header, then in the run's parameters."""
        places = [self.header] + [self.groups.get(group, {}) for group in groups if group != "/Header"]
        for place in places:
            for name in names:
                value = number(self.path, place, name)
                if value is not None:
                    return value
        return None

    def either(self, name: str, found: float | None) -> float | None:
        """What the file says, or else the caller; a contradiction is an error."""
        said = getattr(self.given, name)
        if said is None or found is None:
            return found if said is None else float(said)
        if not math.isclose(said, found, rel_tol=1e-4):
            raise ConfigError(
                f"{self.path}: {name}={said} was given but the file says {found:.8g}; leave it out"
            )
        return found

    def required(self, name: str, found: float | None, low: float, high: float) -> float:
        value = self.either(name, found)
        if value is None:
            raise ConfigError(f"{self.path}: the file does not say {name}; give {name}= to open_snapshot")
        if not low < value <= high:
            raise FileError(f"{self.path}: {name}={value:.6g} must lie in ({low:g}, {high:g}]; altered")
        return value

    def cosmology(self, Omega_m, Omega_lambda, Omega_b, h) -> SnapshotCosmology:
        found = {"Omega_m": Omega_m, "Omega_lambda": Omega_lambda, "Omega_b": Omega_b, "h": h}
        # Old headers have zeros where nothing was filled in.
        found = {name: value if name == "Omega_lambda" else value or None for name, value in found.items()}
        if not found["Omega_m"]:
            found["Omega_lambda"] = found["Omega_lambda"] or None
        found = {name: self.either(name, value) for name, value in found.items()}
        for name, most in (("h", 10.0), ("Omega_m", 10.0), ("Omega_b", 10.0)):
            if found[name] is not None and not 0.0 < found[name] < most:
                raise FileError(
                    f"{self.path}: header: {name}={found[name]:.6g} must lie in (0, {most:g}); altered"
                )
        return SnapshotCosmology(**found)

    def gadget(self) -> Facts:
        comoving = self.find("ComovingIntegrationOn")
        if comoving == 0:
            raise FileError(f"{self.path}: ComovingIntegrationOn=0: a run without expansion has no redshift")
        scale_factor = self.required("scale_factor", self._gadget_time(), 1e-4, 10.0)
        cosmology = self.cosmology(
            self.find("Omega0", "OmegaMatter"),
            self.find("OmegaLambda"),
            self.find("OmegaBaryon"),
            self.find("HubbleParam"),
        )
        units = self._gadget_units()
        unit = factor("length", units.exponents("length"), 1.0, cosmology.h)
        stored = number(self.path, self.header, "BoxSize")
        box = self.required("box_size", stored * unit if stored else None, 0.0, 1e6)
        return Facts(
            "GADGET",
            scale_factor,
            box,
            cosmology,
            units,
            self._mass_table(units, cosmology.h),
            self._files("NumFilesPerSnapshot"),
        )

    def _gadget_time(self) -> float | None:
        time, redshift = number(self.path, self.header, "Time"), number(self.path, self.header, "Redshift")
        if time is None or redshift is None:
            return time if redshift is None else 1.0 / (1.0 + redshift) if redshift > -1 else -1.0
        if not (redshift > -1 and math.isclose(time * (1.0 + redshift), 1.0, rel_tol=1e-3)):
            if self.given.scale_factor is not None:
                return None
            raise ConfigError(
                f"{self.path}: header: Time={time:.6g} is not 1 / (1 + Redshift), "
                f"Redshift={redshift:.6g}; give scale_factor="
            )
        return time

    def _gadget_units(self) -> SourceUnits:
        length, mass, velocity = (
            self.find(f"Unit{what}") for what in ("Length_in_cm", "Mass_in_g", "Velocity_in_cm_per_s")
        )
        if self.given.units is not None:
            return named(self.given.units)
        if not (length and mass and velocity):
            raise ConfigError(
                f"{self.path}: the file does not say its units; give units='kpc/h' (CAMELS, TNG, Quijote) or "
                "units='Mpc/h' to open_snapshot, or data.SourceUnits"
            )
        if not (1e15 < length < 1e30 and 1e20 < mass < 1e60 and 1 < velocity < 3e10):
            raise FileError(
                f"{self.path}: units of {length:.3g} cm, {mass:.3g} g, {velocity:.3g} cm/s cannot be; altered"
            )
        name = f"{length:.7g} cm/h comoving, {mass:.7g} g/h, {velocity:.7g} cm/s with sqrt(a)"
        return SourceUnits(length, mass, velocity, True, 0.5, 0.0, name)

    def _mass_table(self, units: SourceUnits, h: float | None) -> tuple[float, ...]:
        table = self.header.get("MassTable")
        if table is None:
            return ()
        if not isinstance(table, list) or any(
            isinstance(m, bool) or not isinstance(m, (int, float)) or not 0 <= m < 1e30 for m in table
        ):
            raise FileError(f"{self.path}: header: MassTable={str(table)[:80]} are not masses; altered")
        scale = factor("mass", units.exponents("mass"), 1.0, h)
        return tuple(float(m) * scale for m in table)

    def _files(self, name: str) -> int:
        files = number(self.path, self.header, name)
        if files is None:
            return 1
        if not 1 <= files <= 65_536 or files % 1:
            raise FileError(f"{self.path}: header: {name}={files:g} must be an integer in 1..65536; altered")
        return int(files)

    def swift(self) -> Facts:
        cosmology, units = self.groups.get("/Cosmology", {}), self.groups.get("/Units", {})
        if number(self.path, cosmology, "Cosmological run") == 0:
            raise FileError(f"{self.path}: /Cosmology: a run without expansion has no redshift")
        found = self.cosmology(
            *(number(self.path, cosmology, n) for n in ("Omega_m", "Omega_lambda", "Omega_b", "h"))
        )
        a = number(self.path, self.header, "Scale-factor")
        z = number(self.path, self.header, "Redshift")
        a = 1.0 / (1.0 + z) if a is None and z is not None and z > -1 else a
        scale_factor = self.required("scale_factor", a, 1e-4, 10.0)
        length, mass, time = (number(self.path, units, n) for n in (_SWIFT_LENGTH, _SWIFT_MASS, _SWIFT_TIME))
        if not (length and mass and time and min(length, mass, time) > 0):
            raise FileError(f"{self.path}: /Units does not say length, mass and time; altered")
        if found.h is None:
            raise ConfigError(
                f"{self.path}: lengths are in units without h and the file does not say h; give h="
            )
        source = SourceUnits(
            length, mass, length / time, False, 0.0, -2.0, f"comoving {length:.7g} cm, {mass:.7g} g, peculiar"
        )
        scale = factor("length", source.exponents("length"), 1.0, found.h)
        stored = number(self.path, self.header, "BoxSize")
        box = self.required("box_size", stored * scale if stored else None, 0.0, 1e6)
        files = 1 if number(self.path, self.header, "Virtual") == 1 else self._files("NumFilesPerSnapshot")
        return Facts("SWIFT", scale_factor, box, found, source, (), files)
