"""Reading snapshots beside plain h5py: time for the same bytes, and bytes read by one of eight processes.

    python benchmarks/reading.py [--particles 2000000] [--repeats 15]

Times: warm cache, files open on both sides, turns taken, medians; positions and velocities (float32), stored
plain, under gzip with shuffle as GADGET-4 writes them, and under Blosc (hdf5plugin). "raw" is the stored
numbers, asked at most 1.1 times h5py's time; "units" is the project's units with the checks of NaN and of the
box, asked at most 1.5. "cpu" is the same ratio of processor time, which a busy machine disturbs less (Blosc
is undone in another process, whose time is not in it, while this one copies: that wants a second core).
Opening is timed apart.

Bytes: blocks of a box cut x=4, y=2. Grids (.npy, HDF5) asked at most 1.05 / 8 of the file, halo not counted;
particles, after the sorted copy is built, at most 1.5 / 8, spread evenly and, with GALAXYJAX_DATA set, in the
clustered runs in it. There a block of equal volume may itself hold more than 1.5 / 8 of the particles: it is
asked to read at most 1.5 times what it holds, and balanced windows (equal shares, not volumes) at most
1.5 / 8, what they read to know the cuts included.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.data import Window, open_snapshot
from galaxyjax.data.grids import GridFile

RAW, UNITS, GRID, PARTICLES = 1.1, 1.5, 1.05, 1.5
SIDE = 25000.0


def main() -> int:
    """Print the tables; return 1 when a limit is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--particles", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GALAXYJAX_CACHE"] = str(Path(folder) / "cache")
        missed = times(Path(folder), arguments.particles, arguments.repeats)
        missed |= grid_bytes(Path(folder))
        missed |= particle_bytes(Path(folder), arguments.particles)
    return int(missed)


def write(path: Path, count: int, **filters) -> Path:
    """A GADGET-4 file of random dark matter."""
    rng = np.random.default_rng(2)
    with h5py.File(path, "w") as file:
        head = file.create_group("Header").attrs
        head["NumPart_ThisFile"] = head["NumPart_Total"] = np.array([0, count, 0, 0, 0, 0], np.uint64)
        head["MassTable"] = np.array([0, 1.0, 0, 0, 0, 0])
        said = {"Time": 0.5, "Redshift": 1.0, "BoxSize": SIDE, "NumFilesPerSnapshot": 1, "Omega0": 0.3}
        said |= {"UnitLength_in_cm": 3.085678e21, "UnitMass_in_g": 1.989e43, "UnitVelocity_in_cm_per_s": 1e5}
        for name, value in said.items():
            head[name] = value
        positions = rng.uniform(0, SIDE, (count, 3)).astype(np.float32)
        # As codes write them: near in space, near in the file; so that compressors have something to do.
        positions = positions[np.lexsort(np.floor(positions / (SIDE / 64)).T)]
        file.create_dataset("PartType1/Coordinates", data=positions, **filters)
        velocities = rng.normal(0, 200, (count, 3)).astype(np.float32).round(1)
        file.create_dataset("PartType1/Velocities", data=velocities, **filters)
    return path


def times(folder: Path, count: int, repeats: int) -> bool:
    """Time both sides on each kind of storage."""
    kinds = {"plain": {}, "gzip": {"chunks": (32768, 3), "compression": 4, "shuffle": True}}
    try:
        import hdf5plugin

        kinds["blosc"] = {**hdf5plugin.Blosc(cname="lz4"), "chunks": (32768, 3)}
    except ImportError:
        print("without hdf5plugin: no Blosc")
    heads = f"{'h5py ms':>9} {'raw ms':>9} {'ratio':>6} {'cpu':>6} {'units ms':>9} {'ratio':>6} {'cpu':>6}"
    print(f"{count} particles, medians of {repeats} turns; asked: raw {RAW}, units {UNITS}")
    print(f"{'':8} {heads} {'open ms':>9} {'h5py open':>9}")
    missed = False
    for kind, filters in kinds.items():
        path = write(folder / f"{kind}.hdf5", count, **filters)
        snapshot, file = open_snapshot(path), h5py.File(path)
        sides = {
            "h5py": lambda f=file: [f["PartType1"][name][()] for name in ("Coordinates", "Velocities")],
            "raw": lambda s=snapshot: [s.raw("dark_matter", name) for name in ("Coordinates", "Velocities")],
            "units": lambda s=snapshot: s.read("dark_matter", ["positions", "velocities"]),
            "open": lambda p=path: open_snapshot(p),
            "h5py open": lambda p=path: h5py.File(p).close(),
        }
        took, work = alternate(sides, repeats)
        ratios = took["raw"] / took["h5py"], took["units"] / took["h5py"]
        bad = ratios[0] > RAW or ratios[1] > UNITS
        missed |= bad
        print(
            f"{kind:8} {took['h5py']:9.1f} {took['raw']:9.1f} {ratios[0]:6.2f}"
            f" {work['raw'] / work['h5py']:6.2f} {took['units']:9.1f} {ratios[1]:6.2f}"
            f" {work['units'] / work['h5py']:6.2f} {took['open']:9.1f} {took['h5py open']:9.1f}"
            f"{'  MISSED' if bad else ''}"
        )
        file.close()
    return missed


def alternate(sides: dict, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of each side, called in turn: by the clock, and of the processor."""
    for side in sides.values():
        side()
    took, work = ({name: [] for name in sides} for _ in range(2))
    for _ in range(repeats):
        for name, side in sides.items():
            began, busy = time.perf_counter(), time.process_time()
            side()
            work[name].append(1e3 * (time.process_time() - busy))
            took[name].append(1e3 * (time.perf_counter() - began))
    clock, processor = ({name: float(np.median(v)) for name, v in d.items()} for d in (took, work))
    return clock, processor


def grid_bytes(folder: Path) -> bool:
    """Bytes of one block of a grid of 128^3, as a part of the file."""
    grid = np.random.default_rng(3).normal(size=(128, 128, 128)).astype(np.float32)
    np.save(folder / "grid.npy", grid)
    with h5py.File(folder / "grid.hdf5", "w") as file:
        file["plain"] = grid
        file.create_dataset("gzip", data=grid, chunks=(16, 16, 128), compression=1)
    print(f"\nbytes read by one of 8 (x=4, y=2), times 8 over the file{'':12}asked {GRID}")
    missed = False
    for name, dataset in (("grid.npy", None), ("grid.hdf5", "plain"), ("grid.hdf5", "gzip")):
        stored = grid.nbytes
        if dataset == "gzip":
            with h5py.File(folder / name) as file:
                stored = file[dataset].id.get_storage_size()
        worst = 0.0
        for x, y in np.ndindex(4, 2):
            reader = GridFile(folder / name, dataset)
            reader.block((32 * x, 64 * y, 0), (32, 64, 128))
            worst = max(worst, 8 * reader.bytes_read / stored)
        halo = GridFile(folder / name, dataset)
        halo.block((32, 64, 0), (32, 64, 128), (1, 1, 0))
        bad = worst > GRID
        missed |= bad
        print(
            f"{name} {dataset or '':6} {worst:8.3f}   (with a halo of one cell "
            f"{8 * halo.bytes_read / stored:.3f}){'  MISSED' if bad else ''}"
        )
    return missed


def particle_bytes(folder: Path, count: int) -> bool:
    """Bytes of one block of particles, as a part of the columns and of what lies in the block."""
    print(f"\nparticles, positions and velocities, times 8 over the columns; asked {PARTICLES}: * of these")
    print(f"{'':34} {'windows':10} {'largest':>8} {'its share':>10} {'read/held':>10}")
    runs = [("spread evenly", folder / "plain.hdf5")]
    root = Path(os.environ.get("GALAXYJAX_DATA", ""))
    for name in ("g4_dmo_L25N32_fid/snapshot_001.hdf5", "g4_dmo_L25N32_fid/snapshot_004.hdf5"):
        if os.environ.get("GALAXYJAX_DATA") and (root / name).is_file():
            runs.append((name, root / name))
    missed = False
    fields = ["positions", "velocities"]
    for name, path in runs:
        open_snapshot(path).index("dark_matter", fields)
        for kind in ("blocks", "balanced"):
            costs, held = [], []
            for number, place in enumerate(np.ndindex(4, 2, 1)):
                snapshot = open_snapshot(path)  # each process finds its window by itself
                before = snapshot.bytes_read
                if kind == "balanced":
                    window = snapshot.balanced_windows("dark_matter", 8)[number]
                else:
                    window = Window.block(snapshot.box, (4, 2, 1), place)
                held.append(len(snapshot.read("dark_matter", fields, window)))
                costs.append(snapshot.bytes_read - before)
            total = sum(held)
            assert total == snapshot.counts["dark_matter"]  # each particle once
            largest = int(np.argmax(costs))
            worst = max(cost / (24 * n) for cost, n in zip(costs, held, strict=True))
            read, share = 8 * costs[largest] / (24 * total), 8 * held[largest] / total
            crowded = kind == "blocks" and share > 1.2
            bad = (worst if crowded else read) > PARTICLES
            missed |= bad
            marks = " *" if crowded else "* "
            print(
                f"{name:34} {kind:10} {read:8.3f}{marks[0]}{share:9.3f} {worst:10.3f}{marks[1]}"
                f"{'  MISSED' if bad else ''}"
            )
    return missed


if __name__ == "__main__":
    sys.exit(main())
