"""The loader beside plain NumPy: batches of augmented fields a second, and what a process reads of them.

    python benchmarks/loader.py [--cells 64] [--examples 64] [--batch 8] [--steps 20]

The plain loop does the same by `np.load(mmap)`, `transpose`, `flip` and `roll` of whole fields, one after the
other. Bytes are of the window of one of eight processes (2 x 2 x 2 in batch, x, y), counted by the reader.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from galaxyjax.data.augment import symmetries
from galaxyjax.data.examples import ArrayExamples, FileExamples
from galaxyjax.data.loader import Loader


def main() -> int:
    """Print the table; return 1 when two processes do not make the batch of one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("cells", 64), ("examples", 64), ("batch", 8), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        shape = (options.examples, *(options.cells,) * 3, 3)
        np.save(Path(folder) / "all.npy", rng.normal(size=shape).astype(np.float32))
        values = np.load(Path(folder) / "all.npy", mmap_mode="r")
        examples = ArrayExamples({"velocity": values}, {"velocity": "vector"}, range(options.examples))
        megabytes = options.steps * options.batch * values[0].nbytes / 1e6
        loops = {
            "plain loop": lambda: plain(values, options.steps, options.batch),
            **{
                f"loader, {threads} thread{'s' * (threads > 1)}": lambda t=threads: drain(
                    Loader(examples, options.batch, 1, threads=t), options.steps
                )
                for threads in (1, 2, 4)
            },
        }
        seconds = {name: [] for name in loops}
        for _ in range(3):  # in turns, so that a busy machine slows all of them
            for name, loop in loops.items():
                begin = time.perf_counter()
                loop()
                seconds[name].append(time.perf_counter() - begin)
        base = np.median(seconds["plain loop"])
        print(f"{options.steps} batches of {options.batch} fields ({options.cells}^3 x 3), medians of 3")
        for name, times in seconds.items():
            median = np.median(times)
            print(f"  {name:18} {megabytes / median:7.0f} MB/s   {base / median:5.2f} of the plain loop")
        share = read_share(Path(folder), values, options.batch)
        print(f"  bytes read by one of 8 processes: {share:.4f} of the batch (1/8 = 0.125)")
        return int(not same(examples, options.batch))


def plain(values: np.ndarray, steps: int, batch: int) -> None:
    """The same work without the loader, in whole fields."""
    rng, known = np.random.default_rng(0), symmetries(3)
    for _ in range(steps):
        rows = []
        for index in rng.integers(0, len(values), batch):
            turn, n = known[rng.integers(48)], values.shape[1]
            field = np.roll(np.asarray(values[index]), rng.integers(0, n, 3), (0, 1, 2))
            field = np.flip(field.transpose(*turn.axes, 3), np.flatnonzero(turn.flips))
            rows.append(field[..., list(turn.axes)] * np.where(turn.flips, -1, 1).astype(np.float32))
        np.stack(rows)


def drain(loader: Loader, steps: int) -> None:
    """Take every batch."""
    for _ in loader.batches(steps=steps):
        pass


def read_share(folder: Path, values: np.ndarray, batch: int) -> float:
    """Bytes that one of 2 x 2 x 2 processes reads of a batch, over the batch's."""
    paths = []
    for index in range(batch):
        paths.append(folder / f"{index}.npy")
        np.save(paths[-1], values[index])
    examples = FileExamples({"velocity": paths}, {"velocity": "vector"})
    loader = Loader(examples, batch, 1)
    for row in range(batch // 2):
        loader.row(row, window=((1, 2), (0, 2)))
    read = sum(grid.bytes_read for grid in examples._open.values())
    return read / (batch * values[0].nbytes)


def same(examples, batch: int) -> bool:
    """Whether two processes make the batch of one."""
    loader = Loader(examples, batch, 1)
    whole = next(loader.batches(start=5))["velocity"]
    parts = [next(loader.batches(start=5, process=p, processes=2))["velocity"] for p in range(2)]
    return bool(np.array_equal(whole, np.concatenate(parts)))


if __name__ == "__main__":
    sys.exit(main())
