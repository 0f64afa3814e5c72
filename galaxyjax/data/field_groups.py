"""Fields to look at, out of grids and maps in .npy files or of snapshots, grouped by kind and shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import FileError
from galaxyjax.core.progress import track
from galaxyjax.data.coverage import Flag

_SIDE = 64


@dataclass
class FieldGroup:
    """Fields of one kind and shape. read: number -> field."""

    kind: str
    names: list[str]
    read: Callable[[int], np.ndarray]
    cells: int
    box_size: float


def array_groups(paths: Sequence[str], box_size: float | None) -> list[FieldGroup]:
    """Groups of grids or maps; files of one field each, of the same shape, are one group."""
    from galaxyjax.data.grids import parse_name
    from galaxyjax.data.npy import NpyFile

    groups: dict[tuple, FieldGroup] = {}
    for path in paths:
        values, named = NpyFile(path).map(), parse_name(path)
        shape, stem = values.shape, Path(path).stem
        # (n, c, c, c) are n grids; (c, c, c, 3) is one grid of vectors.
        grids = len(shape) == 4 and len(set(shape[1:])) == 1
        channels = 0 if grids or len(shape) < 4 or shape[-1] > 9 or shape[-2] != shape[-3] else shape[-1]
        space = shape[: len(shape) - bool(channels)]
        maps = (named is not None and named.kind == "Maps") or (len(space) == 3 and len(set(space)) > 1)
        dimensions = 2 if maps or len(space) == 2 else 3
        if len(space) not in (dimensions, dimensions + 1) or len(set(space[-dimensions:])) != 1:
            raise FileError(f"{path}: shape {shape} is no grid (n, n, n) or map (n, n), nor many of them")
        several = len(space) > dimensions
        side = box_size or (25.0 if named else 1.0)
        for channel in range(max(1, channels)):
            kind = (named.field if named else stem if several else "field") + f"[{channel}]" * bool(channels)
            key = (kind, space[-dimensions:])
            group = groups.setdefault(key, FieldGroup(kind, [], None, int(np.prod(key[1])), side))
            view = values[..., channel] if channels else values
            entries = [(view, i) for i in range(space[0])] if several else [(view, None)]
            group.names += [f"{stem}[{i}]" if several else stem for _, i in entries]
            earlier = getattr(group.read, "entries", [])
            group.read = _reader(earlier + entries)
    return list(groups.values())


def _reader(entries: list[tuple[np.ndarray, int | None]]) -> Callable[[int], np.ndarray]:
    def read(number: int) -> np.ndarray:
        values, index = entries[number]
        return np.asarray(values if index is None else values[index])

    read.entries = entries
    return read


def snapshot_groups(paths: Sequence[str], flags: list[Flag]) -> list[FieldGroup]:
    """One group for each species: its mass on a grid, cloud in cell."""
    from galaxyjax.data import open_snapshot

    made: dict[str, list[tuple[str, np.ndarray]]] = {}
    boxes = set()
    for path in track(paths, "reading snapshots", unit="files"):
        snapshot, name = open_snapshot(path), Path(path).stem
        boxes.add(float(f"{snapshot.box_size:.5g}"))  # a file without h gives the same box to its own digits
        most = max(snapshot.counts.values())
        # A cell for a particle of the species that has most.
        side = int(np.clip(2 ** round(np.log2(max(most, 1)) / 3), 8, _SIDE))
        for species, count in snapshot.counts.items():
            if count:
                grid, found = _painted(snapshot, species, side, name)
                flags += found
                made.setdefault(f"{species} mass", []).append((name, grid))
    if len(boxes) > 1:
        flags.append(
            Flag("bias", f"boxes of different sizes: {', '.join(f'{b:g}' for b in sorted(boxes))} Mpc/h")
        )
    side = min(boxes, default=1.0)
    groups = []
    for kind, grids in made.items():
        for shape in sorted({g.shape for _, g in grids}):
            same = [(n, g) for n, g in grids if g.shape == shape]
            read = _reader([(g, None) for _, g in same])
            title = kind if len(same) == len(grids) else f"{kind} on {shape[0]}^3"
            groups.append(FieldGroup(title, [n for n, _ in same], read, int(np.prod(shape)), side))
    return groups


def _painted(snapshot, species: str, side: int, name: str) -> tuple[np.ndarray, list[Flag]]:
    """Mass of a species on side^3 cells, by blocks of particles, and what is wrong with these."""
    grid, outside, broken = np.zeros(side**3), 0, 0
    for particles in snapshot.stream(species, ["positions", "masses"]):
        positions = np.asarray(particles["positions"], np.float64)
        masses = np.asarray(particles["masses"], np.float64)
        whole = np.isfinite(positions).all(axis=1) & np.isfinite(masses)
        inside = ((positions >= 0) & (positions <= snapshot.box_size)).all(axis=1)
        broken, outside = broken + int((~whole).sum()), outside + int((whole & ~inside).sum())
        place = positions[whole] * (side / snapshot.box_size)
        low = np.floor(place).astype(np.int64)
        rest = place - low
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, rest, 1.0 - rest), axis=1) * masses[whole]
            cell = (low + corner) % side
            grid += np.bincount((cell[:, 0] * side + cell[:, 1]) * side + cell[:, 2], weight, side**3)
    text = {"not finite": broken, "outside the box": outside}
    flags = [Flag("broken", f"{n} {species} particles are {what}", (name,)) for what, n in text.items() if n]
    return grid.reshape((side,) * 3), flags
