"""Names: the project's for species and fields, and those of GADGET, AREPO, SWIFT and Gadget-II blocks."""

from __future__ import annotations

from dataclasses import dataclass

from galaxyjax.core.errors import unknown_name

GADGET_SPECIES = {
    "gas": 0,
    "dark_matter": 1,
    "low_resolution": 2,
    "tracers": 3,
    "stars": 4,
    "black_holes": 5,
}
SWIFT_SPECIES = {
    "gas": 0,
    "dark_matter": 1,
    "low_resolution": 2,
    "sinks": 3,
    "stars": 4,
    "black_holes": 5,
    "neutrinos": 6,
}


@dataclass(frozen=True)
class Field:
    """A quantity: its kind (for the units), width of a row, and its names in the files, first found wins."""

    kind: str
    width: int
    names: tuple[str, ...]


FIELDS = {
    "positions": Field("length", 3, ("Coordinates",)),
    "velocities": Field("velocity", 3, ("Velocities",)),
    "masses": Field("mass", 1, ("Masses", "DynamicalMasses")),
    "ids": Field("number", 1, ("ParticleIDs",)),
    "density": Field("density", 1, ("Density", "Densities")),
    "internal_energy": Field("energy", 1, ("InternalEnergy", "InternalEnergies")),
    "electron_abundance": Field("number", 1, ("ElectronAbundance",)),
    "neutral_hydrogen_abundance": Field("number", 1, ("NeutralHydrogenAbundance",)),
    "metallicity": Field("number", 1, ("GFM_Metallicity", "Metallicity", "MetalMassFractions")),
    "smoothing_length": Field("length", 1, ("SmoothingLength", "SmoothingLengths")),
    "star_formation_rate": Field("rate", 1, ("StarFormationRate", "StarFormationRates")),
    "formation_scale_factor": Field(
        "number", 1, ("GFM_StellarFormationTime", "StellarFormationTime", "BirthScaleFactors")
    ),
    "stored_temperature": Field("temperature", 1, ("Temperatures", "Temperature")),
}
DERIVED = ("temperature",)

# Gadget-2 user guide, table of block labels; and the same in the order of unlabelled files.
LABELS = {
    "POS ": "Coordinates",
    "VEL ": "Velocities",
    "ID  ": "ParticleIDs",
    "MASS": "Masses",
    "U   ": "InternalEnergy",
    "RHO ": "Density",
    "NE  ": "ElectronAbundance",
    "NH  ": "NeutralHydrogenAbundance",
    "HSML": "SmoothingLength",
    "SFR ": "StarFormationRate",
    "AGE ": "StellarFormationTime",
    "Z   ": "Metallicity",
    "POT ": "Potential",
    "ACCE": "Acceleration",
    "ENDT": "RateOfChangeOfEntropy",
    "TSTP": "TimeStep",
}


def species_number(name: str | int, table: dict[str, int], types: int) -> int:
    """Return the particle type of a species: a name, a number, or "PartType3". Raises UnknownName."""
    known = {**table, **{f"PartType{i}": i for i in range(types)}}
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < types:
        return name
    if name not in known:
        raise unknown_name("species", name, known)
    return known[name]


def field(name: str) -> Field:
    """Return what is known of a field. Raises UnknownName."""
    if name not in FIELDS:
        raise unknown_name("field", name, [*FIELDS, *DERIVED])
    return FIELDS[name]
