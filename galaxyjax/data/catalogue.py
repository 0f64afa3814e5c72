"""FOF groups and SUBFIND subhaloes of GADGET-4, AREPO, IllustrisTNG and CAMELS, in the project's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.box import Particles
from galaxyjax.core.errors import DataError, FileError, unknown_name
from galaxyjax.data.hdf5 import Hdf5File
from galaxyjax.data.header import Described, Given, interpret, number
from galaxyjax.data.limits import MAX_COUNT, Meter
from galaxyjax.data.particle_files import first_file, siblings
from galaxyjax.data.source_units import SourceUnits, factor


@dataclass(frozen=True)
class Column:
    """A quantity of the catalogue: its kind for the units, and its name in the file."""

    kind: str
    name: str


# Stored velocities of groups are a x peculiar, those of subhaloes peculiar: IllustrisTNG's data release
# (Nelson et al. 2019) says so, and GADGET-4's files agree with the mean of their own particles.
GROUPS = {
    "positions": Column("length", "GroupPos"),
    "velocities": Column("group velocity", "GroupVel"),
    "masses": Column("mass", "GroupMass"),
    "masses_by_type": Column("mass", "GroupMassType"),
    "counts": Column("number", "GroupLen"),
    "counts_by_type": Column("number", "GroupLenType"),
    "offsets_by_type": Column("number", "GroupOffsetType"),
    "first_subhalo": Column("number", "GroupFirstSub"),
    "subhaloes": Column("number", "GroupNsubs"),
    "m200c": Column("mass", "Group_M_Crit200"),
    "r200c": Column("length", "Group_R_Crit200"),
    "m500c": Column("mass", "Group_M_Crit500"),
    "r500c": Column("length", "Group_R_Crit500"),
    "m200m": Column("mass", "Group_M_Mean200"),
    "r200m": Column("length", "Group_R_Mean200"),
    "star_formation_rate": Column("rate", "GroupSFR"),
}
SUBHALOES = {
    "positions": Column("length", "SubhaloPos"),
    "velocities": Column("peculiar", "SubhaloVel"),
    "masses": Column("mass", "SubhaloMass"),
    "masses_by_type": Column("mass", "SubhaloMassType"),
    "counts": Column("number", "SubhaloLen"),
    "counts_by_type": Column("number", "SubhaloLenType"),
    "offsets_by_type": Column("number", "SubhaloOffsetType"),
    "group": Column("number", "SubhaloGrNr"),
    "half_mass_radius": Column("length", "SubhaloHalfmassRad"),
    "vmax": Column("peculiar", "SubhaloVmax"),
    "velocity_dispersion": Column("peculiar", "SubhaloVelDisp"),
    "star_formation_rate": Column("rate", "SubhaloSFR"),
}
_ALSO = {"SubhaloGrNr": "SubhaloGroupNr"}  # GADGET-4's name
_KINDS = {
    "groups": ("Group", GROUPS, ("Ngroups_Total", "Ngroups_ThisFile")),
    "subhaloes": ("Subhalo", SUBHALOES, ("Nsubhalos_Total", "Nsubgroups_Total")),
}
_THIS = {"groups": ("Ngroups_ThisFile",), "subhaloes": ("Nsubhalos_ThisFile", "Nsubgroups_ThisFile")}
_FILES = ("NumFiles", "NumFilesPerSnapshot")


def open_catalogue(path: str | Path, *, units: str | SourceUnits | None = None, **said: float) -> Catalogue:
    """Return a catalogue of groups and subhaloes, header read and checked.

    path: a file, any file of several, their common name, or their folder. units, and `said` (h, Omega_m,
    Omega_lambda, Omega_b, scale_factor, box_size): what the file leaves open, as for `open_snapshot`. Raises
    FileError and ConfigError as that does.
    """
    return Catalogue(Path(path), Given(units=units, **said))


class Catalogue(Described):
    """Groups and subhaloes; made by `open_catalogue`. Attributes as those of a `Snapshot`."""

    def __init__(self, path: Path, given: Given):
        self._meter = Meter()
        first = Hdf5File(first_file(path), self._meter)
        known = first.groups.get("/Header", {})
        if not {"Ngroups_Total", "Ngroups_ThisFile"} & set(known):
            raise FileError(f"{first.path}: its /Header counts no groups; not a catalogue, or altered")
        self.path, self.header, self.attributes = first.path, dict(first.groups["/Header"]), first.groups
        # AREPO's catalogues write Omega0, HubbleParam and Redshift, and no MassTable.
        facts = interpret(first.path, {**self.header, "NumFilesPerSnapshot": 1}, first.groups, given)
        files = next((number(first.path, self.header, n) for n in _FILES if n in self.header), None) or 1.0
        if not 1 <= files <= 65_536 or files % 1:
            raise FileError(f"{first.path}: header: NumFiles={files:g} must lie in 1..65536; altered")
        self._files = [first, *(Hdf5File(p, self._meter) for p in siblings(first.path, int(files)))]
        super().__init__(facts)
        self._counts = {kind: self._count(kind) for kind in _KINDS}

    @property
    def counts(self) -> dict[str, int]:
        """Groups and subhaloes in the catalogue."""
        return {kind: sum(counts) for kind, counts in self._counts.items()}

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the files so far."""
        return self._meter.bytes

    def fields(self, kind: str = "groups") -> list[str]:
        """Return the fields that `read` can give of groups or subhaloes."""
        group, table, _ = self._kind(kind)
        return sorted(
            n for n, c in table.items() if self._name(group, c.name) in self._holding(kind).datasets
        )

    def read(
        self, kind: str = "groups", fields: str | Sequence[str] = ("positions", "velocities", "masses")
    ) -> Particles | np.ndarray:
        """Return fields of "groups" or "subhaloes" in the project's units, as `Snapshot.read` does.

        Positions and radii comoving Mpc/h, masses 1e10 Msun/h, velocities (and vmax, dispersions) peculiar
        km/s, `..._by_type` (n, types). Raises UnknownName, FileError and DataError naming file and dataset.
        """
        wanted = [fields] if isinstance(fields, str) else list(fields)
        columns = {name: self._column(kind, name) for name in wanted}
        return columns[fields] if isinstance(fields, str) else Particles(columns, self.box, kind)

    def raw(self, kind: str, name: str) -> np.ndarray:
        """Return a column under its own name, as stored."""
        group, _, _ = self._kind(kind)
        path = self._name(group, name)
        parts = []
        for file, count in zip(self._files, self._counts[kind], strict=True):
            if not count:
                continue
            found = file.dataset(path)
            if not found.shape or found.shape[0] != count:
                raise FileError(
                    f"{file.path}: {path} has shape {found.shape} but the header says {count}; altered"
                )
            file.verify(path)
            parts.append(file.read(path))
        if not parts:
            raise unknown_name(
                f"kind with entries in {self.path}", kind, [k for k, n in self.counts.items() if n]
            )
        try:
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        except ValueError:
            raise FileError(f"{self.path}: {path} has rows of different shapes; altered") from None

    def _kind(self, kind: str):
        if kind not in _KINDS:
            raise unknown_name("kind of a catalogue", kind, _KINDS)
        return _KINDS[kind]

    def _holding(self, kind: str) -> Hdf5File:
        return next((f for f, n in zip(self._files, self._counts[kind], strict=True) if n), self._files[0])

    def _name(self, group: str, name: str) -> str:
        path = f"/{group}/{name}"
        other = f"/{group}/{_ALSO.get(name, name)}"
        return other if all(path not in f.datasets for f in self._files) else path

    def _count(self, kind: str) -> list[int]:
        counts = []
        for file in self._files:
            header = file.groups.get("/Header", {})
            found = next((number(file.path, header, n) for n in _THIS[kind] if n in header), None)
            if found is None:
                found = 0.0
            if not 0 <= found <= MAX_COUNT or found % 1:
                raise FileError(f"{file.path}: header: {_THIS[kind][0]}={found:g} cannot be; altered")
            counts.append(int(found))
        totals = _KINDS[kind][2]
        told = next((number(self.path, self.header, n) for n in totals if n in self.header), None)
        if told is not None and told != sum(counts):
            raise FileError(
                f"{self.path}: {totals[0]} says {told:g} {kind} but {len(counts)} file(s) hold {sum(counts)}"
            )
        return counts

    def _column(self, kind: str, name: str) -> np.ndarray:
        group, table, _ = self._kind(kind)
        if name not in table:
            raise unknown_name(f"field of {kind}", name, table)
        column = table[name]
        if self._name(group, column.name) not in self._holding(kind).datasets:
            raise unknown_name(f"field of {kind} in {self.path}", name, self.fields(kind))
        data = self.raw(kind, column.name)
        if column.kind == "number":
            return data
        where = f"{self.path}: {group}/{column.name}"
        if data.dtype.kind != "f":
            raise FileError(f"{where} has dtype {data.dtype}; real numbers are wanted; altered")
        with np.errstate(over="ignore", invalid="ignore"):
            data = data * data.dtype.type(self._factor(column.kind))
        if not np.isfinite(data).all():
            row = int(np.argmin(np.isfinite(data).reshape(len(data), -1).all(axis=1)))
            raise DataError(f"{where} is not finite at row {row}; altered, fetch or make it again")
        return data

    def _factor(self, kind: str) -> float:
        h = self.cosmology.h
        if kind in ("group velocity", "peculiar"):
            speed = factor("velocity", (self.units.velocity_cm_s, 0.0, 0.0), 1.0, h)
            return speed / self.scale_factor if kind == "group velocity" else speed
        if kind == "rate":
            return 1.0  # Msun/yr in all of these files
        return factor(kind, self.units.exponents(kind), self.scale_factor, h)
