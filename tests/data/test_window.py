"""Windows of particle files: the right particles, through a sorted copy that is built once, for few bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxyjax.core.box import Box
from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.data import Window, open_snapshot
from tests.data.writers import particles, write_binary, write_hdf5


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "cache"))


def many(tmp_path, count=40_000, seed=5, order=None):
    found = {1: particles(seed, gas=0, dark=count, stars=0)[1]}
    if order is not None:  # clustered in the file, as codes write groups first
        keys = order(found[1]["Coordinates"])
        found[1] = {name: column[keys] for name, column in found[1].items()}
    return found, write_hdf5(tmp_path / "s.hdf5", found, filters={"chunks": True, "compression": "gzip"})


def test_each_particle_is_in_one_of_eight_blocks(tmp_path):
    found, path = many(tmp_path)
    snapshot, seen, full = open_snapshot(path), [], 40_000 * (12 + 12 + 4)
    snapshot.index("dark_matter", ["positions", "velocities", "ids"])
    for x in range(4):
        for y in range(2):
            window = Window.block(snapshot.box, (4, 2, 1), (x, y, 0))
            before = snapshot.bytes_read
            part = snapshot.read("dark_matter", ["positions", "velocities", "ids"], window)
            assert snapshot.bytes_read - before <= 1.5 / 8 * full
            assert np.all(window.contains(part.positions, snapshot.box))
            rows = part.ids.astype(int) - 1001  # the file's row of each particle
            order = np.argsort(found[1]["ParticleIDs"])[rows]
            np.testing.assert_allclose(part.positions, found[1]["Coordinates"][order] / 1e3, rtol=2e-7)
            np.testing.assert_allclose(part.velocities, found[1]["Velocities"][order] * 0.5**0.5, rtol=2e-7)
            seen.append(part.ids)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.sort(found[1]["ParticleIDs"]))


def test_a_halo_wraps_around_the_box(tmp_path):
    _, path = many(tmp_path, 5000)
    snapshot = open_snapshot(path)
    everyone = snapshot.read("dark_matter", ["positions", "ids"])
    for index, halo in (((0, 0, 0), 2.0), ((3, 1, 0), 0.7), ((1, 0, 0), 20.0)):
        window = Window.block(snapshot.box, (4, 2, 1), index, halo)
        inside = np.ones(5000, bool)
        for axis, (low, high) in enumerate(zip(window.low, window.high, strict=True)):
            x = everyone.positions[:, axis].astype(float)
            images = [(x + shift >= low) & (x + shift < high) for shift in (-50, -25, 0, 25, 50)]
            inside &= np.any(images, axis=0)
        part = snapshot.read("dark_matter", "ids", window)
        assert np.array_equal(np.sort(part), np.sort(everyone.ids[inside]))
        streamed = [p.ids for p in snapshot.stream("dark_matter", ["ids"], window, rows=300)]
        assert np.array_equal(np.concatenate(streamed), part)


def test_the_copy_is_built_once_and_again_when_the_file_changes(tmp_path):
    _, path = many(tmp_path, 3000)
    window = Window((0, 0, 0), (5, 5, 5))
    first = open_snapshot(path).read("dark_matter", "ids", window)
    folders = sorted((tmp_path / "cache" / "sorted").glob("[0-9a-f]*[0-9a-f]"))
    stamp = (folders[0] / "Coordinates.npy").stat().st_mtime_ns
    again = open_snapshot(path).read("dark_matter", "ids", window)
    assert np.array_equal(first, again)
    assert (folders[0] / "Coordinates.npy").stat().st_mtime_ns == stamp
    many(tmp_path, 3000, seed=6)
    changed = open_snapshot(path)
    other = changed.read("dark_matter", ["ids", "positions"], window)
    assert len([f for f in (tmp_path / "cache" / "sorted").iterdir() if f.is_dir()]) == 2
    assert np.all(window.contains(other.positions, changed.box))


def test_a_damaged_copy_is_named(tmp_path):
    _, path = many(tmp_path, 3000)
    window = Window((0, 0, 0), (5, 5, 5))
    open_snapshot(path).read("dark_matter", "ids", window)
    (copy,) = (tmp_path / "cache" / "sorted").glob("*/ParticleIDs.npy")
    copy.write_bytes(copy.read_bytes()[:-8])
    with pytest.raises(FileError, match="ParticleIDs.npy"):
        open_snapshot(path).read("dark_matter", "ids", window)


def test_sorting_in_small_pieces_gives_the_same(tmp_path, monkeypatch):
    found = {1: particles(2, gas=0, dark=2000, stars=0)[1]}
    path = write_binary(tmp_path / "snap", found)
    window = Window((3, 0, 0), (9, 25, 25))
    whole = open_snapshot(path, units="kpc/h").read("dark_matter", "ids", window)
    monkeypatch.setattr("galaxyjax.data.sorted_copy.ROWS", 77)
    monkeypatch.setenv("GALAXYJAX_CACHE", str(tmp_path / "other"))
    assert np.array_equal(open_snapshot(path, units="kpc/h").read("dark_matter", "ids", window), whole)


def test_balanced_windows_share_out_a_cluster(tmp_path):
    """Half of all particles in a corner: windows read 1.5 / 8 at most, where a block reads half."""
    found, _ = many(tmp_path)
    rng = np.random.default_rng(7)
    crowd = rng.normal((3000, 20_000, 6000), 1500, (20_000, 3)).astype(np.float32) % 25_000
    found[1]["Coordinates"][:20_000] = crowd
    path = write_hdf5(tmp_path / "crowd.hdf5", found)
    open_snapshot(path).index("dark_matter", ["positions", "velocities", "ids"])
    full, seen = 40_000 * (12 + 12 + 4), []
    for number in range(8):
        snapshot = open_snapshot(path)  # as another process would
        window = snapshot.balanced_windows("dark_matter", 8)[number]
        part = snapshot.read("dark_matter", ["positions", "velocities", "ids"], window)
        assert snapshot.bytes_read <= 1.5 / 8 * full + 4096  # the header
        seen.append(part.ids)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.sort(found[1]["ParticleIDs"]))
    blocks = [Window.block(snapshot.box, (2, 2, 2), index) for index in np.ndindex(2, 2, 2)]
    assert max(len(snapshot.read("dark_matter", "ids", block)) for block in blocks) > 0.5 * 40_000
    grown = snapshot.balanced_windows("dark_matter", 8, halo=0.5)[3]
    plain = snapshot.balanced_windows("dark_matter", 8)[3]
    np.testing.assert_allclose(np.subtract(grown.low, plain.low), -0.5)
    np.testing.assert_allclose(np.subtract(grown.high, plain.high), 0.5)


@settings(max_examples=60)
@given(st.integers(1, 24), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 1000))
def test_balanced_windows_cover_every_cell_once(parts, shape, seed):
    """Any number of parts, any counts (empty cells among them): each cell's centre lies in one window."""
    box, rng = Box(10.0), np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0, 3), shape) * rng.integers(1, 50, shape)
    try:
        windows = Window.balanced(box, counts, parts)
    except ConfigError as error:
        assert parts > max(shape) and "ask for fewer windows" in str(error)
        return
    assert len(windows) == parts
    centres = (np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3) + 0.5) * (
        10.0 / np.array(shape)
    )
    held = np.array([window.contains(centres, box) for window in windows])
    assert np.all(held.sum(0) == 1) and np.all(held.any(1))


def test_balanced_windows_of_an_even_box_are_its_blocks():
    windows = Window.balanced(Box(8.0), np.full((8, 8, 8), 5), 8)
    assert {(w.low, w.high) for w in windows} == {
        (b.low, b.high) for b in (Window.block(Box(8.0), (2, 2, 2), i) for i in np.ndindex(2, 2, 2))
    }
    with pytest.raises(ConfigError, match="parts=0"):
        Window.balanced(Box(8.0), np.ones((2, 2, 2)), 0)


def test_a_window_must_have_a_volume():
    with pytest.raises(ConfigError, match="low=.* must lie below high="):
        Window((0, 0, 0), (1, 0, 1))
    with pytest.raises(ConfigError, match="block 4 along x"):
        Window.block(Box(25.0), (4, 2, 1), (4, 0, 0))
