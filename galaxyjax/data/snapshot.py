"""Snapshots in the project's units: `open_snapshot(path).read("gas", ["positions", "temperature"])`.

GADGET-2, 3 and 4 (HDF5 and binary), AREPO and IllustrisTNG, SWIFT, CAMELS and Quijote, in one file or many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from galaxyjax.core.box import Particles
from galaxyjax.core.errors import ConfigError, DataError, FileError, GalaxyjaxError, unknown_name
from galaxyjax.data import field_names, gas
from galaxyjax.data.field_names import GADGET_SPECIES, SWIFT_SPECIES
from galaxyjax.data.header import Described, Given, interpret
from galaxyjax.data.particle_files import ParticleFiles
from galaxyjax.data.sorted_copy import SortedCopy
from galaxyjax.data.source_units import SourceUnits, factor, scaled, stated
from galaxyjax.data.window import Window

ROWS = 1 << 20
"""Particles in one piece of a stream."""


def open_snapshot(
    path: str | Path,
    *,
    units: str | SourceUnits | None = None,
    h: float | None = None,
    Omega_m: float | None = None,
    Omega_lambda: float | None = None,
    Omega_b: float | None = None,
    scale_factor: float | None = None,
    box_size: float | None = None,
) -> Snapshot:
    """Return a snapshot, header read and checked, particles not yet read.

    Args:
        path: a file, any file of several, their common name, or the folder that holds them.
        units: for files that do not say (Gadget-II binary, old HDF5): "kpc/h" (CAMELS, TNG, Quijote) or
            "Mpc/h", GADGET's conventions with either; or `SourceUnits`.
        h, Omega_m, Omega_lambda, Omega_b, scale_factor, box_size (Mpc/h): what the file leaves open.

    Raises:
        FileError: missing, cut short, altered, or no snapshot.
        ConfigError: the file leaves something open, named as the argument to give; or contradicts one.
    """
    given = Given(h, Omega_m, Omega_lambda, Omega_b, scale_factor, box_size, units)
    facts = None

    def files(piece) -> int:
        nonlocal facts
        facts = interpret(piece.path, piece.header, piece.attributes, given)
        return facts.files

    source = ParticleFiles(path, files)
    return Snapshot(source, facts)


class Snapshot(Described):
    """A snapshot; made by `open_snapshot`.

    path: its first file. header: the source's, as it stands. attributes: of all its HDF5 groups. code:
    "GADGET" (and AREPO) or "SWIFT". scale_factor, redshift. box_size: Mpc/h. cosmology: what the file says.
    units: the source's. counts: species -> particles. bytes_read: from its files, and from sorted copies.
    """

    def __init__(self, source: ParticleFiles, facts):
        self._source, self._facts = source, facts
        self.path = source.path
        self.header = dict(source.pieces[0].header)
        self.attributes = source.pieces[0].attributes
        self.code: str = facts.code
        super().__init__(facts)
        self._species = SWIFT_SPECIES if facts.code == "SWIFT" else GADGET_SPECIES
        self._sorted: dict[int, SortedCopy] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Particles of each species that there are any of."""
        names = {number: name for name, number in self._species.items()}
        return {names.get(t, f"PartType{t}"): n for t, n in enumerate(self._source.counts) if n}

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the files and sorted copies so far; of compressed data, the stored chunks."""
        return self._source.meter.bytes

    def fields(self, species: str | int) -> list[str]:
        """Return the fields that `read` can give of a species."""
        number = self._number(species)
        found = [
            name
            for name, known in field_names.FIELDS.items()
            if any(self._source.has(number, source) for source in known.names) or self._mass(number, name)
        ]
        has_temperature = "stored_temperature" in found or "internal_energy" in found
        return sorted({*found, *(["temperature"] if has_temperature else [])})

    def read(
        self,
        species: str | int,
        fields: str | Sequence[str] = ("positions", "velocities", "masses"),
        window: Window | None = None,
        *,
        mean_molecular_weight: float | None = None,
        hydrogen_fraction: float = gas.HYDROGEN_FRACTION,
    ) -> Particles | np.ndarray:
        """Return fields of a species in the project's units: `Particles`, or one array for one name.

        Shapes (n, 3) or (n,), dtypes as stored (float32 or float64; ids unsigned). positions comoving Mpc/h
        in [0, box_size], velocities peculiar km/s, masses 1e10 Msun/h, density comoving
        (1e10 Msun/h)/(Mpc/h)^3, internal_energy (km/s)^2, temperature K, star_formation_rate Msun/yr.

        Args:
            species: a name of `counts`, or a particle type's number.
            fields: names of `fields(species)`.
            window: only particles in it; their order is then that of the sorted copy, which is built on first
                use in the cache folder.
            mean_molecular_weight: for temperatures of files that store no electrons.
            hydrogen_fraction: mass fraction X of the formula with electrons (`data.gas`).

        Raises:
            UnknownName: nobody knows, or the file has not, the species or field.
            FileError, DataError: naming file and dataset; NaN and positions outside the box among them.
        """
        number = self._number(species)
        wanted = [fields] if isinstance(fields, str) else list(fields)
        options = {"mu": mean_molecular_weight, "hydrogen_fraction": hydrogen_fraction}
        if window is None:
            rows = _Whole(self._source, number, 0, self._source.counts[number])
        else:
            rows = self._sorted_copy(number).select(window)
        self._prepare(number, wanted, rows)
        columns = {name: self._column(number, name, rows, options) for name in wanted}
        if isinstance(fields, str):
            return columns[fields]
        return Particles(columns, self.box, str(species))

    def stream(
        self,
        species: str | int,
        fields: Sequence[str] = ("positions", "masses"),
        window: Window | None = None,
        rows: int = ROWS,
        **options,
    ) -> Iterator[Particles]:
        """Yield `read` in pieces of at most `rows` particles, so that memory holds one piece only."""
        number = self._number(species)
        known = {"mu": options.pop("mean_molecular_weight", None)}
        known["hydrogen_fraction"] = options.pop("hydrogen_fraction", gas.HYDROGEN_FRACTION)
        if options:
            raise unknown_name("option", next(iter(options)), ["mean_molecular_weight", "hydrogen_fraction"])
        if window is None:
            total = self._source.counts[number]
            parts = (
                _Whole(self._source, number, low, min(low + rows, total)) for low in range(0, total, rows)
            )
        else:
            parts = self._sorted_copy(number).pieces(window, rows)
        for part in parts:
            self._prepare(number, list(fields), part)
            columns = {name: self._column(number, name, part, known) for name in fields}
            yield Particles(columns, self.box, str(species))

    def raw(self, species: str | int, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows of a column under its own name, as stored: no units, no checks of the numbers."""
        return self._source.read(self._number(species), name, start, stop)

    def raw_fields(self, species: str | int) -> list[str]:
        """Return the names of a species' columns in the file."""
        return self._source.names(self._number(species))

    def raw_attributes(self, species: str | int, name: str) -> dict:
        """Return the attributes of a column: what the source says of its units."""
        return dict(self._source.info(self._number(species), name)[2])

    def index(self, species: str | int, fields: Sequence[str] = ("positions",)) -> None:
        """Build the sorted copy of some fields now; windows build what is missing when they need it."""
        number = self._number(species)
        copy = self._sorted_copy(number)
        for name in fields:
            for part in ("internal_energy", "electron_abundance") if name == "temperature" else (name,):
                source = self._source_name(number, part)
                if source is not None:
                    copy.column(source)

    def balanced_windows(self, species: str | int, parts: int, halo: float = 0.0) -> list[Window]:
        """Return `parts` windows with about equally many particles, each read by one process, say.

        They cover the box once, cut between cells of the sorted copy (built when it is not there), and are
        the same in every process. halo: Mpc/h around each. Raises ConfigError when the cells are too few.
        """
        counts = self._sorted_copy(self._number(species)).cell_counts()
        return Window.balanced(self.box, counts, parts, halo)

    def _number(self, species: str | int) -> int:
        number = field_names.species_number(species, self._species, len(self._source.counts))
        if number >= len(self._source.counts) or not self._source.counts[number]:
            raise unknown_name(f"species of {self.path}", species, self.counts)
        return number

    def _sorted_copy(self, number: int) -> SortedCopy:
        if number not in self._sorted:
            side = self.box.size / self._factor(number, "positions", "Coordinates")
            self._sorted[number] = SortedCopy(self._source, number, side, self.box)
        return self._sorted[number]

    def _prepare(self, number: int, wanted: list[str], rows) -> None:
        names = [self._source_name(number, name) for name in wanted]
        rows.prepare([name for name in names if name])

    def _source_name(self, number: int, name: str) -> str | None:
        """The file's name of a field, None when it has none."""
        if name == "temperature":
            return self._source_name(number, "stored_temperature")
        names = field_names.field(name).names
        return next((n for n in names if self._source.has(number, n)), None)

    def _mass(self, number: int, name: str) -> float:
        table = self._facts.mass_table
        return table[number] if name == "masses" and number < len(table) else 0.0

    def _factor(self, number: int, name: str, source: str) -> float:
        """What a stored number is multiplied with."""
        kind = field_names.field(name).kind
        if kind in ("number", "temperature"):
            return 1.0
        attributes = self._source.info(number, source)[2]
        scaling = stated(attributes) or self.units.exponents(kind)
        try:
            return factor(kind, scaling, self.scale_factor, self.cosmology.h)
        except GalaxyjaxError as error:
            raise type(error)(f"{self.path}: PartType{number}/{source}: {error}") from None

    def _column(self, number: int, name: str, rows, options: dict) -> np.ndarray:
        source = self._source_name(number, name)
        if name == "temperature" and source is None:
            return self._temperature(number, rows, options)
        kept = "stored_temperature" if name == "temperature" else name
        if source is None:
            if self._mass(number, name):
                return np.full(rows.count, self._mass(number, name), np.float32)
            raise unknown_name(f"field of {self.path}, PartType{number}", name, self.fields(number))
        data = rows.read(source)
        return self._converted(number, kept, source, data)

    def _converted(self, number: int, name: str, source: str, data: np.ndarray) -> np.ndarray:
        known, where = field_names.field(name), f"{self.path}: PartType{number}/{source}"
        if name == "metallicity" and data.ndim == 2:
            raise FileError(f"{where} has {data.shape[1]} metals a particle; read it with raw()")
        if data.shape[1:] != ((known.width,) if known.width > 1 else ()):
            raise FileError(
                f"{where} has shape {data.shape}; {known.width} number(s) a particle are wanted; altered"
            )
        if name == "ids":
            if data.dtype.kind not in "iu":
                raise FileError(f"{where} has dtype {data.dtype}; ids are integers; altered")
            return data
        if data.dtype.kind != "f":
            raise FileError(f"{where} has dtype {data.dtype}; real numbers are wanted; altered")
        low, high = scaled(data, self._factor(number, name, source))
        self._sound(name, where, data, low, high)
        return data

    def _sound(self, name: str, where: str, data: np.ndarray, low: float, high: float) -> None:
        """Refuse NaN, infinity, and positions that are not in the box."""
        if not (np.isfinite(low) and np.isfinite(high)):
            row = int(np.argmin(np.isfinite(data).reshape(len(data), -1).all(axis=1)))
            raise DataError(f"{where} is not finite at row {row}; altered, fetch or make it again")
        # A particle may sit a rounding error outside; a file in other units is outside by far.
        if name == "positions" and not (low >= -0.01 * self.box.size and high <= 1.01 * self.box.size):
            raise DataError(
                f"{where} lies between {low:.6g} and {high:.6g} Mpc/h but the box is {self.box.size:.6g}; "
                "altered, or other units: give units="
            )

    def _temperature(self, number: int, rows, options: dict) -> np.ndarray:
        mu, electrons = options["mu"], self._source_name(number, "electron_abundance")
        if mu is None and electrons is None:
            raise ConfigError(
                f"mean_molecular_weight: {self.path} stores neither temperature nor electrons; give "
                "mean_molecular_weight= (0.59 fully ionised, 1.22 neutral)"
            )
        energy = self._column(number, "internal_energy", rows, options)
        if mu is None:
            x = self._column(number, "electron_abundance", rows, options)
            mu = gas.mean_molecular_weight(x, options["hydrogen_fraction"])
        return gas.temperature(energy, mu)


class _Whole:
    """Rows [start, stop) of a species in the order of the files."""

    def __init__(self, source: ParticleFiles, number: int, start: int, stop: int):
        self.source, self.number, self.start, self.stop = source, number, start, stop
        self.count = stop - start

    def prepare(self, names: list[str]) -> None:
        self.source.prepare(self.number, names)

    def read(self, name: str) -> np.ndarray:
        return self.source.read(self.number, name, self.start, self.stop)
