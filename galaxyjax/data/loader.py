"""Batches for training: a pure function of (seed, step), whatever the number of processes.

Every pass over the fold (an epoch) has its own order; row r of batch s is example number s * batch + r of the
endless sequence of epochs, moved by a symmetry and a shift of its own. So a batch can be made at any step, by
any process, in part: nothing is remembered, and a run resumes by naming the step. grain reads ahead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.data.augment import Move, draw, moved, still
from galaxyjax.data.examples import Examples
from galaxyjax.data.keyed import keyed_bits, keyed_numbers, permutation
from galaxyjax.data.normalise import Normalisation
from galaxyjax.mesh.topology import BATCH, SPATIAL

Window = tuple[tuple[int, int], ...]
"""The part of a field that is wanted: (which, of how many equal parts) along its first axes."""


@dataclass(frozen=True)
class Order:
    """Which example comes when: epochs of `count`, each in its own order."""

    count: int
    seed: int

    def index(self, position: int) -> int:
        """Return the example (0..count - 1) at a position of the endless sequence."""
        epoch, place = divmod(position, self.count)
        return int(_epoch_order(self.count, self.seed, epoch)[place])


@lru_cache(maxsize=8)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return permutation(keyed_bits(seed, "order", epoch), count)


@dataclass(frozen=True, eq=False)
class Loader:
    """Draws batches of `batch` examples. indices: those of a fold; all when None.

    rotate, shift: whether each example is moved by one of the 48 symmetries of the cube (8 of a square) and
    by whole cells. normalisation: applied after that. threads, ahead: of grain's readers, and batches that
    they keep ready.
    """

    examples: Examples
    batch: int
    seed: int
    indices: Sequence[int] | None = None
    rotate: bool = True
    shift: bool = True
    normalisation: Normalisation | None = None
    threads: int = 4
    ahead: int = 2

    def __post_init__(self):
        indices = np.arange(len(self.examples)) if self.indices is None else np.asarray(self.indices, int)
        if self.batch < 1 or not len(indices):
            raise ConfigError(
                f"a batch of {self.batch} from {len(indices)} examples: give at least one of both"
            )
        if indices.min() < 0 or indices.max() >= len(self.examples):
            raise ConfigError(f"indices reach {indices.max()}; there are {len(self.examples)} examples")
        object.__setattr__(self, "indices", indices)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(name for name, kind in self.examples.kinds.items() if kind != "label")

    def example(self, position: int) -> int:
        """Return the number of the example at a position: row r of step s has position s * batch + r."""
        return int(self.indices[Order(len(self.indices), self.seed).index(position)])

    def move(self, position: int) -> Move:
        """Return how the example at a position is moved."""
        sides = {name: self.examples.sides(name) for name in self.fields}
        if not (self.rotate or self.shift):
            return still(len(next(iter(sides.values()))))
        bits = keyed_numbers(keyed_bits(self.seed, "move"), np.arange(4 * position, 4 * position + 4))
        return draw([int(b) for b in bits], sides, self.rotate, self.shift)

    def row(self, position: int, window: Window | None = None) -> dict[str, np.ndarray]:
        """Return one example of the sequence, or the part of it in a window: fields and labels by name.

        Fields (cells..., channels), labels (p,). Of the files, only what lies in the window is read.
        """
        index, row = self.example(position), {}
        move = self.move(position) if self.fields else None
        for name, kind in self.examples.kinds.items():
            if kind == "label":
                row[name] = self.examples.label(index, name)
                continue
            sides = self.examples.sides(name)
            low, high = _cells(window, sides)

            def read(low, high, name=name):
                return self.examples.read(index, name, low, high)

            row[name] = moved(read, sides, kind, move, low, high)
        return row if self.normalisation is None else self.normalisation.apply(row)

    def batches(
        self, start: int = 0, steps: int | None = None, process: int = 0, processes: int = 1
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield this process's rows of the batches from step `start` on, stacked: name -> (rows, ...).

        Process p of P has rows p * batch / P to (p + 1) * batch / P. Raises ConfigError when P does not
        divide the batch.
        """
        if not 0 <= process < processes or self.batch % processes:
            raise ConfigError(f"process {process} of {processes}: {processes} must divide batch={self.batch}")
        mine = self.batch // processes
        tasks = [(process * mine + r, None) for r in range(mine)]
        for rows in self._parts(tasks, start, steps):
            yield {name: np.stack([row[name] for row in rows]) for name in self.examples.kinds}

    def on_mesh(self, mesh, start: int = 0, steps: int | None = None) -> Iterator[dict]:
        """Yield global arrays on a mesh with axes data, x, y: fields P("data", "x", "y"), labels P("data").

        Each process reads the blocks of its own devices and no others. Raises ConfigError when the mesh does
        not divide batch and fields.
        """
        import jax
        from jax.sharding import NamedSharding
        from jax.sharding import PartitionSpec as P

        field = P("data", *SPATIAL)
        specs = {name: BATCH if kind == "label" else field for name, kind in self.examples.kinds.items()}
        shardings = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
        self._check_mesh(dict(mesh.shape))
        tasks = sorted(set(_local_tasks(mesh, self.batch, jax.process_index())))
        for blocks in self._parts(tasks, start, steps):
            ready = dict(zip(tasks, blocks, strict=True))
            yield {name: self._global(name, shardings[name], ready, jax) for name in self.examples.kinds}

    def _parts(self, tasks, start: int, steps: int | None) -> Iterator[list[dict[str, np.ndarray]]]:
        """For every step, what `row` gives for each (row, window) of `tasks`, read ahead by grain."""
        import grain

        last = 1 << 40 if steps is None else start + steps  # of steps; grain counts in 64 bits
        count = len(tasks)

        def make(number: int) -> dict[str, np.ndarray]:
            step, task = divmod(int(number), count)
            return self.row(step * self.batch + tasks[task][0], tasks[task][1])

        numbers = grain.MapDataset.range(start * count, last * count)
        # Rows, not batches, are what the threads share out.
        options = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=self.ahead * count)
        return iter(numbers.map(make).to_iter_dataset(options).batch(count, batch_fn=list))

    def _check_mesh(self, shape: Mapping[str, int]) -> None:
        if self.batch % shape["data"]:
            raise ConfigError(f"mesh: data={shape['data']} does not divide batch={self.batch}")
        for name in self.fields:
            for axis, n in zip(SPATIAL, self.examples.sides(name), strict=False):
                if n % shape[axis]:
                    raise ConfigError(f"mesh: {axis}={shape[axis]} does not divide the {n} cells of {name}")

    def _global(self, name: str, sharding, ready: Mapping, jax):
        """One global array from the blocks of this process's devices."""
        some = next(iter(ready.values()))[name]
        label = self.examples.kinds[name] == "label"
        sides = () if label else self.examples.sides(name)
        shape = (self.batch, *(some.shape if label else (*sides, *some.shape[len(sides) :])))
        parts = [dict(sharding.mesh.shape)[axis] for axis in SPATIAL]
        any_window = {row: window for row, window in ready}

        def block(where: tuple[slice, ...]) -> np.ndarray:
            rows = range(*where[0].indices(self.batch))
            if label:
                return np.stack([ready[row, any_window[row]][name] for row in rows])
            first = [s.indices(n)[0] for s, n in zip(where[1:3], sides, strict=False)]
            window = tuple((a * k // n, k) for a, k, n in zip(first, parts, sides, strict=False))
            return np.stack([ready[row, window][name] for row in rows])

        return jax.make_array_from_callback(shape, sharding, block)


def _local_tasks(mesh, batch: int, process: int) -> Iterator[tuple[int, Window]]:
    """Rows of the batch, and the windows in x and y, of the devices of a process."""
    shape = dict(mesh.shape)
    mine = batch // shape["data"]
    for place, device in np.ndenumerate(mesh.devices):
        if device.process_index == process:
            at = dict(zip(mesh.axis_names, place, strict=True))
            window = tuple((int(at[axis]), shape[axis]) for axis in SPATIAL)
            for row in range(at["data"] * mine, (at["data"] + 1) * mine):
                yield row, window


def _cells(window: Window | None, sides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and last cells of a window; axes that it does not name are whole."""
    parts = [*(window or ()), *[(0, 1)] * (len(sides) - len(window or ()))]
    low = tuple(n * i // k for (i, k), n in zip(parts, sides, strict=True))
    return low, tuple(n * (i + 1) // k for (i, k), n in zip(parts, sides, strict=True))
