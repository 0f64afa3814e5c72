"""A batch is a pure function of (seed, step): no process count, mesh or history matters."""

import itertools
from types import SimpleNamespace

import h5py
import jax
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.data.augment import moved
from galaxyjax.data.examples import ArrayExamples, FileExamples
from galaxyjax.data.folds import split
from galaxyjax.data.loader import Loader, _local_tasks
from galaxyjax.data.normalise import measure
from galaxyjax.mesh.topology import build_mesh

N, CELLS = 13, 4


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(1)
    arrays = {
        "density": rng.lognormal(size=(N, CELLS, CELLS, CELLS)).astype(np.float32),
        "velocity": rng.normal(size=(N, CELLS, CELLS, CELLS, 3)).astype(np.float32),
        "cosmology": np.arange(2.0 * N).reshape(N, 2),
    }
    kinds = {"density": "scalar", "velocity": "vector", "cosmology": "label"}
    return ArrayExamples(arrays, kinds, [f"LH_{i // 2}" for i in range(N)])


def mix(z):
    """SplitMix64, with Python's integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def slow_batches(loader, examples, steps):
    """Batches one after the other, by lists and loops, moved whole and cell by cell through the matrix."""
    from galaxyjax.data.keyed import keyed_bits

    def numbers(key, counters):
        return [mix((key + (c + 1) * 0x9E3779B97F4A7C15) % 2**64) for c in counters]

    indices, sequence, epoch = list(loader.indices), [], 0
    while len(sequence) < steps * loader.batch:
        keys = numbers(keyed_bits(loader.seed, "order", epoch), range(len(indices)))
        sequence += [indices[i] for i in sorted(range(len(indices)), key=lambda i: keys[i])]
        epoch += 1
    perms = list(itertools.permutations(range(3)))
    for step in range(steps):
        rows = []
        for position in range(step * loader.batch, (step + 1) * loader.batch):
            bits = numbers(keyed_bits(loader.seed, "move"), range(4 * position, 4 * position + 4))
            which = bits[0] % 48
            matrix = np.zeros((3, 3))
            for a, axis in enumerate(perms[which // 8]):
                matrix[a, axis] = -1 if which >> (2 - a) & 1 else 1
            row = {}
            for name in examples.arrays:
                x = examples.arrays[name][sequence[position]]
                if name != "cosmology":
                    y = np.empty_like(x)
                    for cell in np.ndindex(CELLS, CELLS, CELLS):
                        place = (np.array(cell) + [b % CELLS for b in bits[1:]]) % CELLS - (CELLS - 1) / 2
                        goes = tuple(np.rint(matrix @ place + (CELLS - 1) / 2).astype(int))
                        y[goes] = x[cell] if name == "density" else matrix @ x[cell]
                    x = y[..., None] if name == "density" else y
                row[name] = x
            rows.append(row if loader.normalisation is None else loader.normalisation.apply(row))
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def same(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), err_msg=name)


def test_batches_are_those_of_a_slow_plain_loader_over_several_epochs(examples):
    train = split(examples.simulations, (0.6, 0.2, 0.2), seed=2)["train"]
    normal = measure(({"density": a[..., None]} for a in examples.arrays["density"]), {"density": "scalar"})
    loader = Loader(examples, batch=4, seed=7, indices=train, normalisation=normal)
    for fast, slow in zip(loader.batches(steps=8), slow_batches(loader, examples, 8), strict=True):
        same(fast, slow)


@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_makes_the_same_global_batch(examples, processes):
    loader = Loader(examples, batch=8, seed=3)
    parts = [loader.batches(steps=3, process=p, processes=processes) for p in range(processes)]
    for whole, *of_each in zip(loader.batches(steps=3), *parts, strict=True):
        assert all(len(part["density"]) == 8 // processes for part in of_each)
        same(whole, {name: np.concatenate([part[name] for part in of_each]) for name in whole})


@pytest.mark.parametrize("step", [1, 5, 1000, 10**7])
def test_resuming_at_a_step_is_having_come_there(examples, step):
    loader = Loader(examples, batch=3, seed=3)
    resumed = next(loader.batches(start=step))
    if step <= 5:
        same(resumed, next(itertools.islice(loader.batches(), step, None)))
    fresh = Loader(examples, batch=3, seed=3, threads=1, ahead=1)
    rows = [fresh.row(step * 3 + r) for r in range(3)]
    same(resumed, {name: np.stack([row[name] for row in rows]) for name in resumed})


def test_an_epoch_has_every_example_once_and_the_next_another_order(examples):
    loader = Loader(examples, batch=1, seed=0)
    epochs = [[loader.example(e * N + i) for i in range(N)] for e in range(3)]
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_is_pinned_for_all_versions(examples):
    """Another order would make every earlier run impossible to repeat."""
    loader = Loader(examples, batch=1, seed=20261)
    assert [loader.example(i) for i in range(N)] == [11, 5, 7, 3, 10, 6, 0, 8, 1, 12, 2, 4, 9]


def test_seed_and_switches_matter(examples):
    plain = Loader(examples, batch=2, seed=0, rotate=False, shift=False)
    row = plain.row(0)
    np.testing.assert_array_equal(row["velocity"], examples.arrays["velocity"][plain.example(0)])
    turned = {Loader(examples, 1, 0, shift=False).move(i).symmetry for i in range(400)}
    assert len(turned) == 48
    shifts = {Loader(examples, 1, 0, rotate=False).move(i).shift for i in range(600)}
    assert len(shifts) == 64
    first, second = (next(Loader(examples, 4, seed).batches())["density"] for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("shape", ["data=8", "data=2,x=2,y=2", "data=1,x=4,y=2", "data=4,x=2"])
def test_on_a_mesh_it_is_the_same_batch_in_blocks(examples, shape):
    mesh = build_mesh(shape)
    loader = Loader(examples, batch=8, seed=5)
    for made, plain in zip(loader.on_mesh(mesh, start=2, steps=2), loader.batches(2, 2), strict=True):
        same(made, plain)
        assert made["velocity"].sharding.shard_shape(made["velocity"].shape)[1] == CELLS // mesh.shape["x"]
        assert isinstance(made["cosmology"], jax.Array)


@pytest.mark.parametrize("shape", [(4, 2, 1), (2, 2, 2), (1, 4, 2)])
@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_processes_share_rows_and_blocks_out_without_overlap(shape, processes):
    """Of a mesh over several machines each process reads what its own devices hold."""
    owner = np.arange(8) * processes // 8
    devices = np.array([SimpleNamespace(process_index=p) for p in owner]).reshape(shape)
    mesh = SimpleNamespace(
        devices=devices,
        axis_names=("data", "x", "y"),
        shape=dict(zip(("data", "x", "y"), shape, strict=True)),
    )
    tasks = [list(_local_tasks(mesh, 8, p)) for p in range(processes)]
    every = [task for one in tasks for task in one]
    assert len(every) == len(set(every)) == 8 * shape[1] * shape[2]
    assert {len(one) for one in tasks} == {len(every) // processes}


@pytest.mark.parametrize("suffix", ["npy", "hdf5"])
def test_files_give_what_arrays_give_and_only_a_block_is_read(examples, tmp_path, suffix):
    files = {"density": [], "velocity": []}
    for name, paths in files.items():
        for i, array in enumerate(examples.arrays[name]):
            paths.append(tmp_path / f"{name}_{i}.{suffix}")
            if suffix == "npy":
                np.save(paths[-1], array)
            else:
                with h5py.File(paths[-1], "w") as file:
                    file["grid"] = array
    kinds = {"density": "scalar", "velocity": "vector"}
    labels = {"cosmology": examples.arrays["cosmology"]}
    datasets = {} if suffix == "npy" else dict.fromkeys(kinds, "grid")
    from_files = FileExamples(files, kinds, labels, examples.simulations, datasets)
    one, other = Loader(examples, 4, 9), Loader(from_files, 4, 9)
    same(next(one.batches()), next(other.batches()))
    window = ((1, 2), (0, 4))
    part, whole = other.row(17, window), one.row(17)
    np.testing.assert_array_equal(part["velocity"], whole["velocity"][2:, :1])


def test_a_memory_map_is_read_by_blocks_and_maps_turn_in_the_plane(tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 6, 6)).astype(np.float32)
    np.save(tmp_path / "maps.npy", values)
    maps = ArrayExamples(
        {"map": np.load(tmp_path / "maps.npy", mmap_mode="r")}, {"map": "scalar"}, np.arange(30) // 15
    )
    loader = Loader(maps, batch=5, seed=1)
    assert next(loader.batches())["map"].shape == (5, 6, 6, 1)
    move, index = loader.move(3), loader.example(3)
    expected = moved(lambda a, b: values[index, a[0] : b[0], a[1] : b[1], None], (6, 6), "scalar", move)
    np.testing.assert_array_equal(loader.row(3)["map"], expected)
    assert len({loader.move(i).symmetry for i in range(100)}) == 8


def test_what_does_not_fit_says_so(examples):
    with pytest.raises(ConfigError, match="3 must divide batch=8"):
        next(Loader(examples, 8, 0).batches(processes=3))
    with pytest.raises(ConfigError, match="data=8 does not divide batch=4"):
        next(Loader(examples, 4, 0).on_mesh(build_mesh("data=8")))
    with pytest.raises(ConfigError, match="x=8 does not divide the 4 cells of density"):
        next(Loader(examples, 8, 0).on_mesh(build_mesh("x=8")))
    with pytest.raises(ConfigError, match="indices reach 13; there are 13"):
        Loader(examples, 4, 0, indices=[13])
    with pytest.raises(ConfigError, match="a batch of 0"):
        Loader(examples, 0, 0)
    with pytest.raises(DataError, match="density: 13 examples, 2 simulations"):
        ArrayExamples({"density": examples.arrays["density"]}, {"density": "scalar"}, [0, 1])
    with pytest.raises(DataError, match="different numbers of examples"):
        FileExamples({"a": ["x.npy"]}, {"a": "scalar"}, {"b": np.zeros((2, 1))})
