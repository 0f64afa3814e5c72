"""Halo exchange: what a block sees of its neighbours, what travels back, and the bytes that it takes."""

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import galaxyjax
from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import budget
from galaxyjax.mesh.halo import exchange, halo_bytes, surface_factor
from galaxyjax.mesh.topology import FIELD, GRID, build_mesh

SHAPE = (2, 8, 12, 3, 2)
MESHES = ("x=1", "data=2,x=2,y=2", "x=4,y=2", "x=2,y=4", "y=4", "x=8")
# Eight blocks along x have one cell each, and no halo of two.
CASES = [(shape, width) for shape in MESHES for width in (1, 2) if (shape, width) != ("x=8", 2)]


def field(seed, shape=SHAPE):
    """Small integers, so that float32 sums are exact and blocks can be compared bit for bit."""
    return np.random.default_rng(seed).integers(-50, 50, shape).astype(np.float32)


def blocks_of(mesh, array, width):
    """NumPy's answer: the periodic pad of the whole field, cut into overlapping blocks, laid side by side."""
    d, sx, sy = mesh.devices.shape
    padded = np.pad(array, ((0, 0), (width,) * 2, (width,) * 2, (width,) * 2, (0, 0)), mode="wrap")
    nx, ny = array.shape[1] // sx, array.shape[2] // sy
    rows = [
        np.concatenate(
            [
                padded[:, i * nx : (i + 1) * nx + 2 * width, j * ny : (j + 1) * ny + 2 * width]
                for j in range(sy)
            ],
            axis=2,
        )
        for i in range(sx)
    ]
    return np.concatenate(rows, axis=1)


def sharded(mesh, width, spec=FIELD, **options):
    return jax.shard_map(
        partial(exchange, width=width, **options), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=True
    )


@pytest.mark.parametrize("shape, width", CASES)
def test_every_block_sees_its_periodic_neighbours(shape, width):
    mesh, x = build_mesh(shape), field(0)
    np.testing.assert_array_equal(jax.jit(sharded(mesh, width))(x), blocks_of(mesh, x, width))


@pytest.mark.parametrize("shape", MESHES)
def test_gradient_is_the_exact_transpose(shape):
    """<exchange(x), y> = <x, exchange^T(y)> for every unit vector's worth of y, in exact integers."""
    mesh, x = build_mesh(shape), field(1)
    out, transpose = jax.vjp(jax.jit(sharded(mesh, 1)), x)
    y = field(2, out.shape)
    (back,) = transpose(y)
    index = np.arange(x.size, dtype=np.int64).reshape(x.shape)  # which cell each cell of the halo is
    expected = np.zeros(x.size)
    np.add.at(expected, blocks_of(mesh, index, 1).ravel(), y.ravel())
    np.testing.assert_array_equal(back, expected.reshape(x.shape))


def test_a_whole_field_wraps_without_a_mesh():
    x = field(3)
    expected = np.pad(x, ((0, 0), (2, 2), (2, 2), (2, 2), (0, 0)), mode="wrap")
    np.testing.assert_array_equal(exchange(jnp.asarray(x), 2, ()), expected)
    np.testing.assert_array_equal(exchange(jnp.asarray(x), 0, ()), x)


def test_grids_without_batch_have_x_first():
    mesh, x = build_mesh("x=2,y=2"), field(4, (4, 6, 3))
    grown = jax.jit(sharded(mesh, 1, GRID, first=0))(x)
    np.testing.assert_array_equal(grown, blocks_of(mesh, x[None, ..., None], 1)[0, ..., 0])


@pytest.mark.parametrize("shape, width", CASES)
def test_bytes_are_those_counted_by_hand(shape, width):
    """Forward and transpose each permute exactly the two slabs a sharded axis, corners included."""
    mesh = build_mesh(shape)
    sizes = dict(mesh.shape)
    block = (SHAPE[0] // sizes["data"], SHAPE[1] // sizes["x"], SHAPE[2] // sizes["y"], *SHAPE[3:])
    expected = halo_bytes(block[1:4], width, 4 * block[4], sizes, batch=block[0])
    forward = sharded(mesh, width)
    out = jax.eval_shape(forward, jnp.zeros(SHAPE))
    backward = lambda y: jax.linear_transpose(forward, jnp.zeros(SHAPE))(y)  # noqa: E731
    for function, like in ((forward, SHAPE), (backward, out.shape)):
        found = budget.collectives(jax.jit(function).lower(jnp.zeros(like)).compile())
        assert {c.kind for c in found} <= {"collective-permute"}
        assert budget.total(found) == expected
        assert len(found) == 2 * ((sizes["x"] > 1) + (sizes["y"] > 1))


def test_the_count_written_out_for_one_block():
    """4 x 5 x 6 cells of 8 bytes: 5 x 6 and (4 + 2) x 6 cells, each in both directions."""
    assert halo_bytes((4, 5, 6), 1, 8, {"x": 2, "y": 2}) == 2 * 8 * (30 + 36)
    assert halo_bytes((4, 5, 6), 1, 8, {"x": 2}) == 2 * 8 * 30
    assert halo_bytes((4, 5, 6), 1, 8, {"data": 8}) == 0
    assert surface_factor((32, 16)) == (34 / 32) * (18 / 16)


def test_a_block_thinner_than_its_halo_is_refused_with_the_numbers():
    mesh = build_mesh("x=8")
    with pytest.raises(ConfigError, match=r"1 cells along x on mesh axis 'x' of 8 devices.*halo of 2"):
        jax.eval_shape(sharded(mesh, 2), jnp.zeros(SHAPE))
    with pytest.raises(ConfigError, match=r"block of 3 cells along z is thinner than its halo of 4"):
        exchange(jnp.zeros(SHAPE), 4, ())
    with pytest.raises(ConfigError, match="width=-1"):
        exchange(jnp.zeros(SHAPE), -1, ())


def test_a_replicated_batch_stays_replicated():
    """Fields that do not differ along "data" may leave `shard_map` as such: nothing was mixed over it."""
    mesh, x = build_mesh("data=2,x=2,y=2"), field(5)
    spec = P(None, "x", "y", None, None)
    np.testing.assert_array_equal(jax.jit(sharded(mesh, 1, spec))(x), blocks_of(mesh, x, 1))


def test_no_file_switches_the_check_of_varying_axes_off():
    """With it off, the gradient of a mean over devices is silently wrong."""
    package = Path(galaxyjax.__file__).parent
    off = re.compile(r"check_(vma|rep)\s*=\s*(?!True\b)|[\"']check_(vma|rep)[\"']")
    assert [f.name for f in package.rglob("*.py") if off.search(f.read_text())] == []
