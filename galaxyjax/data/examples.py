"""Examples that a loader draws from: fields on grids, in memory, memory-mapped or in files read by blocks."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from galaxyjax.core.errors import DataError, unknown_name
from galaxyjax.data.augment import KINDS


class Examples(Protocol):
    """Random access to n examples, each some fields (cells..., channels) and labels (p,).

    kinds: name -> "scalar", "vector", "pseudovector" (fields) or "label". simulations: (n,) which simulation
    each example is of, for `folds.split`.
    """

    kinds: Mapping[str, str]
    simulations: Sequence[Hashable]

    def __len__(self) -> int: ...

    def sides(self, name: str) -> tuple[int, ...]:
        """Cells of a field along each axis."""

    def read(self, index: int, name: str, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        """Cells [low, high) of a field of an example, channels last."""

    def label(self, index: int, name: str) -> np.ndarray:
        """A label of an example, (p,)."""


@dataclass(frozen=True, eq=False)
class ArrayExamples:
    """Examples in arrays, of which `np.load(mmap_mode="r")` and `open_maps(...).values` are some.

    arrays: name -> (n, cells..., channels), or (n, cells...) for a scalar field of one channel, or (n, p) for
    a label. kinds: of each array. Raises DataError when lengths or shapes do not go together.
    """

    arrays: Mapping[str, np.ndarray]
    kinds: Mapping[str, str]
    simulations: Sequence[Hashable]
    _dimensions: int = field(default=0, init=False)

    def __post_init__(self):
        if set(self.arrays) != set(self.kinds):
            raise DataError(
                f"arrays {sorted(self.arrays)} and kinds {sorted(self.kinds)} are not of the same"
            )
        for name, array in self.arrays.items():
            if self.kinds[name] not in KINDS:
                raise unknown_name(f"kind of {name}", self.kinds[name], KINDS)
            if len(array) != len(self.simulations):
                raise DataError(f"{name}: {len(array)} examples, {len(self.simulations)} simulations")
        ranks = {n: a.ndim - 1 for n, a in self.arrays.items() if self.kinds[n] != "label"}
        # Scalar fields may leave out their one channel, so the lowest rank may be the number of axes itself.
        vectors = [rank - 1 for n, rank in ranks.items() if self.kinds[n] != "scalar"]
        dimensions = vectors[0] if vectors else min([3, *ranks.values()])
        for name, rank in ranks.items():
            if rank not in (dimensions, dimensions + 1) or dimensions not in (2, 3):
                raise DataError(f"{name}: shape {self.arrays[name].shape} is no field beside {ranks}")
        object.__setattr__(self, "_dimensions", dimensions)

    def __len__(self) -> int:
        return len(self.simulations)

    def sides(self, name: str) -> tuple[int, ...]:
        """Cells of a field along each axis."""
        return tuple(self.arrays[name].shape[1 : 1 + self._dimensions])

    def read(self, index: int, name: str, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        """Cells [low, high) of a field of an example, channels last; of a memory map no others are read."""
        block = self.arrays[name][(index, *(slice(a, b) for a, b in zip(low, high, strict=True)))]
        return np.asarray(block if block.ndim > self._dimensions else block[..., None])

    def label(self, index: int, name: str) -> np.ndarray:
        """A label of an example, (p,)."""
        return np.asarray(self.arrays[name][index])


class FileExamples:
    """Examples in files, one a simulation and field: `.npy`, or the dataset `datasets[name]` of HDF5 files.

    files: name -> n paths of grids (cells..., channels) or (nx, ny, nz). labels: name -> (n, p). simulations:
    (n,), the file's number when None. Files are opened when first read; only the asked block is.
    """

    def __init__(
        self,
        files: Mapping[str, Sequence[str | Path]],
        kinds: Mapping[str, str],
        labels: Mapping[str, np.ndarray] | None = None,
        simulations: Sequence[Hashable] | None = None,
        datasets: Mapping[str, str] | None = None,
    ):
        counts = {name: len(paths) for name, paths in files.items()}
        counts |= {name: len(values) for name, values in (labels or {}).items()}
        if len(set(counts.values())) != 1:
            raise DataError(f"different numbers of examples: {counts}")
        self.kinds = {**kinds, **{name: "label" for name in labels or {}}}
        self.simulations = range(next(iter(counts.values()))) if simulations is None else simulations
        self._files, self._labels, self._datasets = dict(files), dict(labels or {}), dict(datasets or {})
        self._open: dict[tuple[str, int], object] = {}

    def __len__(self) -> int:
        return len(self.simulations)

    def _grid(self, name: str, index: int):
        from galaxyjax.data.grids import GridFile

        key = (name, index)
        grid = self._open.get(key)  # other threads open and drop files meanwhile
        if grid is None:
            if len(self._open) > 256:  # a process may have about 1000 files open
                self._open.clear()
            grid = self._open[key] = GridFile(self._files[name][index], self._datasets.get(name))
        return grid

    def sides(self, name: str) -> tuple[int, ...]:
        """Cells of a field along each axis."""
        return tuple(self._grid(name, 0).shape[:3])

    def read(self, index: int, name: str, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        """Cells [low, high) of a field of an example, channels last; no others are read."""
        grid = self._grid(name, index)
        if tuple(grid.shape[:3]) != self.sides(name):
            raise DataError(f"{grid.path}: shape {grid.shape}, where the first has {self.sides(name)}")
        block = grid.block(low, [b - a for a, b in zip(low, high, strict=True)])
        return block if block.ndim > 3 else block[..., None]

    def label(self, index: int, name: str) -> np.ndarray:
        """A label of an example, (p,)."""
        return np.asarray(self._labels[name][index])
