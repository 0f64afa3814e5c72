"""Files made wrong: bits, lengths, shapes, counts, links, attributes. A number gives one file, always."""

import contextlib
import re
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from tests.data.writers import CATALOGUE, GADGET, SWIFT, particles, write_binary, write_hdf5

HOSTILE = (
    "text",
    -1,
    0,
    2**62,
    np.inf,
    np.nan,
    1e308,
    np.array([], np.float64),
    np.array([[1, 2], [3, 4]]),
    np.full(6, 2**31 - 1, np.int64),
    np.full(6, -5, np.int32),
    np.bytes_(b"\xff\xfe"),
    "x" * 40_000,
    np.zeros(6, np.float64),
    h5py.Empty("f8"),
)


def originals(folder: Path) -> list[tuple[Path, str, int]]:
    """(file, how it is opened, bytes of its decoded arrays) of one whole file of each format."""
    blosc = dict(hdf5plugin.Blosc(cname="lz4")) | {"chunks": True}
    made = [
        (GADGET, "snapshot"),
        (SWIFT, "snapshot"),
        (CATALOGUE, "catalogue"),
        (write_hdf5(folder / "camels.hdf5", particles(7, 400, 500, 20), filters=blosc), "snapshot"),
    ]
    for order in "<>":
        for style in (1, 2):
            name = f"binary{style}{'le' if order == '<' else 'be'}"
            made.append((write_binary(folder / name, particles(8, 300, 400, 20), order, style), "binary"))
    rng = np.random.default_rng(0)
    np.save(folder / "Maps_T_SIMBA_CV_z=0.00.npy", rng.normal(size=(30, 32, 32)).astype(np.float32))
    np.save(folder / "Grids_T_SIMBA_CV_16_z=0.00.npy", rng.normal(size=(4, 16, 16, 16)).astype(np.float32))
    made += [
        (folder / "Maps_T_SIMBA_CV_z=0.00.npy", "maps"),
        (folder / "Grids_T_SIMBA_CV_16_z=0.00.npy", "grids"),
    ]
    return [(path, kind, decoded(path, kind)) for path, kind in made]


def decoded(path: Path, kind: str) -> int:
    """Bytes of all arrays in a whole file."""
    if kind not in ("snapshot", "catalogue"):
        return path.stat().st_size
    total = 0

    def count(_, item):
        nonlocal total
        total += item.nbytes if isinstance(item, h5py.Dataset) else 0

    with h5py.File(path) as file:
        file.visititems(count)
    return total


def mutate(source: Path, kind: str, number: int, target: Path) -> str:
    """Write a damaged copy of `source`; return what was done to it."""
    rng = np.random.default_rng([number, len(source.name)])
    ways = [flip, flip, truncate, overwrite]
    if kind in ("snapshot", "catalogue"):
        ways += [
            flip_structure,
            flip_structure,
            flip_structure,
            attribute,
            attribute,
            reshape,
            remove,
            poison,
            link,
        ]
    elif kind == "binary":
        ways += [flip_header, flip_header]
    else:
        ways += [text, text]
    way = ways[rng.integers(len(ways))]
    target.write_bytes(source.read_bytes())
    with contextlib.suppress(KeyError, ValueError, OSError, RuntimeError, TypeError):
        return f"{way.__name__}: {way(target, rng)}"
    return f"{way.__name__}: half done"


def flip(path: Path, rng) -> str:
    """Flip 1 to 64 bits anywhere."""
    data = bytearray(path.read_bytes())
    count = int(rng.integers(1, 65))
    for at in rng.integers(0, len(data), count):
        data[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return f"{count} bits"


def flip_structure(path: Path, rng) -> str:
    """Flip bits where HDF5 keeps its structure: behind a signature, or in the first kilobyte."""
    data = bytearray(path.read_bytes())
    places = [0] + [
        m.start() for m in re.finditer(rb"OHDR|OCHK|TREE|SNOD|HEAP|FRHP|BTHD|BTLF|FADB|GCOL", data)
    ]
    start = places[int(rng.integers(len(places)))]
    for _ in range(int(rng.integers(1, 9))):
        at = min(start + int(rng.integers(0, 400)), len(data) - 1)
        data[at] = int(rng.integers(256)) if rng.integers(2) else data[at] ^ (1 << int(rng.integers(8)))
    path.write_bytes(data)
    return f"behind byte {start}"


def truncate(path: Path, rng) -> str:
    """Cut a file short, or make it longer."""
    data = path.read_bytes()
    if rng.integers(4) == 0:
        path.write_bytes(data + rng.bytes(int(rng.integers(1, 5000))))
        return "longer"
    length = int(rng.integers(0, len(data)))
    path.write_bytes(data[:length])
    return f"to {length}"


def overwrite(path: Path, rng) -> str:
    """Zeros, ones, noise or another part of the file over a part of it."""
    data = bytearray(path.read_bytes())
    size = int(rng.integers(1, max(2, len(data) // 8)))
    at, other = (int(rng.integers(0, len(data) - size)) for _ in range(2))
    data[at : at + size] = (bytes(size), b"\xff" * size, rng.bytes(size), bytes(data[other : other + size]))[
        int(rng.integers(4))
    ]
    path.write_bytes(data)
    return f"{size} bytes at {at}"


def flip_header(path: Path, rng) -> str:
    """Put extreme integers into the header or a record's marker."""
    data = bytearray(path.read_bytes())
    at = int(rng.integers(0, 70)) * 4
    value = [0, 1, 2**31 - 1, 2**32 - 1, 2**31, 2**30, int(rng.integers(2**32))][int(rng.integers(7))]
    data[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    return f"{value} at {at}"


def text(path: Path, rng) -> str:
    """Another text in the header of a .npy file."""
    data = path.read_bytes()
    shapes = [
        b"(99999999999, 32, 32)",
        b"(-1, 32, 32)",
        b"((1,), 2)",
        b"(" * 60,
        b"()",
        b"(30, 32, 33)",
        b"'a'",
    ]
    kinds = [b"'|O'", b"'<f16'", b"[('a','<f4')]", b"'<f8'", b"'|S9'", b"'<U99999999'", b"{1:2}"]
    if rng.integers(2):
        changed = re.sub(
            rb"\(\d[\d, ]*\)", lambda m: shapes[int(rng.integers(len(shapes)))], data[:128], count=1
        )
    else:
        changed = data[:128].replace(b"'<f4'", kinds[int(rng.integers(len(kinds)))])
    path.write_bytes(changed[:10] + changed[10:128].rstrip(b"\n ").ljust(117) + b"\n" + data[128:])
    return changed[20:80].decode("latin-1")


def attribute(path: Path, rng) -> str:
    """A hostile value in an attribute that a reader uses, or no value."""
    with h5py.File(path, "a") as file:
        group = [name for name in ("Header", "Header", "Parameters", "Cosmology", "Units") if name in file]
        owner = file[group[int(rng.integers(len(group)))]]
        if rng.integers(4) == 0:
            columns = [f"{g}/{n}" for g in file if g.startswith(("PartType", "Group")) for n in file[g]]
            owner = file[columns[int(rng.integers(len(columns)))]]
        names = sorted(owner.attrs) or ["to_cgs"]
        name = names[int(rng.integers(len(names)))]
        value = HOSTILE[int(rng.integers(len(HOSTILE)))]
        if rng.integers(6) == 0:
            del owner.attrs[name]
            return f"{owner.name}.{name} removed"
        owner.attrs[name] = value
        return f"{owner.name}.{name}={str(value)[:30]}"


def _column(file, rng) -> str:
    columns = [f"{g}/{n}" for g in file if g.startswith(("PartType", "Group", "Subhalo")) for n in file[g]]
    return columns[int(rng.integers(len(columns)))]


def reshape(path: Path, rng) -> str:
    """Another shape, type or storage of a dataset: also ones that claim terabytes."""
    with h5py.File(path, "a") as file:
        name = _column(file, rng)
        data = file[name][()]
        del file[name]
        way = int(rng.integers(8))
        if way == 0:
            file.create_dataset(
                name, (10**12,) + data.shape[1:], data.dtype, chunks=(10**6,) + data.shape[1:]
            )
        elif way == 1:
            file.create_dataset(
                name, data.shape, data.dtype, chunks=(7,) + data.shape[1:], compression="gzip"
            )
        elif way == 2:
            file[name] = data[: len(data) // 2]
        elif way == 3:
            file[name] = data.reshape(1, -1)
        elif way == 4:
            file[name] = np.array([b"text"] * len(data))
        elif way == 5:
            file[name] = np.zeros(len(data), [("x", "f4"), ("y", "i4")])
        elif way == 6:
            file.create_dataset(name, data=data.astype(np.int64) if data.dtype.kind == "f" else data * 1.5)
        else:
            file[name] = np.float32(1.0)
        return f"{name} way {way}"


def remove(path: Path, rng) -> str:
    """A group or dataset that is not there, or is the other of the two."""
    with h5py.File(path, "a") as file:
        name = _column(file, rng) if rng.integers(2) else list(file)[int(rng.integers(len(file)))]
        del file[name]
        if rng.integers(3) == 0:
            file.create_group(name)
        return name


def poison(path: Path, rng) -> str:
    """NaN, infinity and numbers far outside in the data."""
    with h5py.File(path, "a") as file:
        name = _column(file, rng)
        data = file[name][()]
        value = [np.nan, np.inf, -1e30, 3e38][int(rng.integers(4))]
        if data.dtype.kind != "f":
            value = np.iinfo(data.dtype).max
        data[int(rng.integers(len(data)))] = value
        file[name][...] = data
        return f"{name}: {value}"


def link(path: Path, rng) -> str:
    """Links in circles and out of the file, virtual and external storage, an endless chain of groups."""
    with h5py.File(path, "a") as file:
        name = _column(file, rng)
        shape = file[name].shape
        del file[name]
        way = int(rng.integers(6))
        if way == 0:
            file[name] = h5py.SoftLink(f"/{name}")
        elif way == 1:
            file[name] = h5py.ExternalLink("/dev/zero", "/x")
        elif way == 2:
            file[name] = file["/"]
        elif way == 3:
            file.create_dataset(name, shape, np.float32, external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])
        elif way == 4:
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[...] = h5py.VirtualSource("/dev/zero", "x", shape)
            file.create_virtual_dataset(name, layout)
        else:
            group = file["/"]
            for _ in range(300):
                group = group.create_group("d")
        return f"{name} way {way}"
