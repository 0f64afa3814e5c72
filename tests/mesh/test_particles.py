"""Particles on a sharded grid: mass, transposes, one device against eight, and strays that are counted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.budget import collectives, total
from galaxyjax.mesh.particles import gather, gather_block, pad, reduce_halo, scatter
from galaxyjax.mesh.topology import GRID, LATTICE, build_mesh

N, WIDTH = 16, 4
CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def cloud(positions, corner):
    """Cell and weight of one corner of every particle's cloud (Hockney & Eastwood 1981, CIC)."""
    cell = jnp.floor(positions)
    part = positions - cell
    return cell.astype(jnp.int32) + corner, jnp.prod(jnp.where(corner == 1, part, 1 - part), axis=-1)


def deposit(positions, shape):
    grid = jnp.zeros(shape, positions.dtype)
    for corner in CORNERS:
        cell, weight = cloud(positions, corner)
        grid = grid.at[tuple((cell % jnp.array(shape)).T)].add(weight)
    return grid


def interpolate(grid, positions):
    values = 0.0
    for corner in CORNERS:
        cell, weight = cloud(positions, corner)
        read = grid[tuple((cell % jnp.array(grid.shape[:3])).T)]
        values = values + read * weight.reshape(weight.shape + (1,) * (grid.ndim - 3))
    return values


def displacement(scale=2.9, n=N):
    return np.random.default_rng(6).uniform(-scale, scale, size=(n, n, n, 3)).astype(np.float32)


def placed(array, mesh, spec=LATTICE):
    return jax.device_put(array, NamedSharding(mesh, spec))


def numpy_deposit(moved, refine=1):
    """Particle by particle, in float64, on the whole periodic grid, displacements in its cells."""
    n = refine * len(moved)
    lattice = np.stack(np.meshgrid(*(np.arange(0, n, refine),) * 3, indexing="ij"), axis=-1)
    positions = (lattice + moved.astype(np.float64)).reshape(-1, 3)
    cell, grid = np.floor(positions).astype(int), np.zeros((n, n, n))
    for corner in CORNERS:
        part = positions - cell
        weight = np.prod(np.where(corner == 1, part, 1 - part), axis=-1)
        np.add.at(grid, tuple(((cell + corner) % n).T), weight)
    return grid


@pytest.mark.parametrize("shape", ["x=1", "x=4", "x=2,y=4", "data=2,x=2,y=2"])
def test_painted_mass_is_conserved_and_equals_a_loop_over_particles(shape):
    mesh = build_mesh(shape)
    grid = scatter(deposit, placed(displacement(), mesh), mesh, WIDTH)
    np.testing.assert_allclose(np.asarray(grid, np.float64).sum(), N**3, rtol=1e-6)
    np.testing.assert_allclose(grid, numpy_deposit(displacement()), atol=1e-5)
    assert grid.sharding.is_equivalent_to(NamedSharding(mesh, GRID), 3)


def test_pad_and_reduce_are_transposes(float64):
    """<pad(x), y> = <x, reduce(y)>, with y different on every device."""
    mesh, halo = build_mesh("x=2,y=4"), 3
    rng = np.random.default_rng(7)
    x = placed(rng.normal(size=(8, 16, 5)), mesh, GRID)
    y = placed(rng.normal(size=(2 * (4 + 2 * halo), 4 * (4 + 2 * halo), 5)), mesh, GRID)
    run = partial(jax.shard_map, mesh=mesh, in_specs=GRID, out_specs=GRID)
    grown = jax.jit(run(lambda b: pad(b, halo)))(x)
    back = jax.jit(run(lambda b: reduce_halo(b, halo)))(y)
    np.testing.assert_allclose(np.vdot(grown, y), np.vdot(x, back), rtol=1e-13)
    # JAX's own transpose of `pad` says the same, element by element.
    (transposed,) = jax.jit(lambda y: jax.vjp(run(lambda b: pad(b, halo)), x)[1](y))(y)
    np.testing.assert_allclose(transposed, back, rtol=1e-13)


def test_pad_brings_the_periodic_neighbours():
    mesh = build_mesh("x=2,y=4")
    x = np.arange(8 * 8 * 2.0).reshape(8, 8, 2)
    grown = jax.jit(jax.shard_map(lambda b: pad(b, 2), mesh=mesh, in_specs=GRID, out_specs=GRID))(x)
    for shard in grown.addressable_shards:
        _, i, j = np.argwhere(mesh.devices == shard.device)[0]
        rows, columns = np.arange(4 * i - 2, 4 * i + 6) % 8, np.arange(2 * j - 2, 2 * j + 4) % 8
        np.testing.assert_array_equal(shard.data, x[np.ix_(rows, columns)])


def test_values_and_gradients_of_eight_devices_equal_one():
    """A force read from what the particles painted: both transfers and both their transposes."""
    weights = np.random.default_rng(8).normal(size=(N, N, N, 2)).astype(np.float32)

    def loss(moved, mesh):
        density = scatter(deposit, moved, mesh, WIDTH, cell=0.5)
        field = jnp.stack([density, density**2], axis=-1)
        return jnp.sum(weights * gather(interpolate, field, moved, mesh, WIDTH, cell=0.5))

    results = []
    for shape in ("x=1", "x=4,y=2"):
        mesh = build_mesh(shape)
        run = jax.jit(jax.value_and_grad(partial(loss, mesh=mesh)))
        results.append(run(placed(0.5 * displacement(), mesh)))
    (one, slope), (eight, slopes) = results
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert np.linalg.norm(np.asarray(slopes) - slope) <= 1e-5 * np.linalg.norm(slope)


def test_halo_bytes_are_those_of_the_slabs():
    """Along x 2 H ny nz cells, along y 2 H (nx + 2 H) nz: the corners ride along."""
    mesh = build_mesh("x=2,y=4")
    moved = jax.ShapeDtypeStruct((N, N, N, 3), jnp.float32, sharding=NamedSharding(mesh, LATTICE))
    program = jax.jit(lambda m: scatter(deposit, m, mesh, WIDTH)).lower(moved).compile()
    found = collectives(program)
    nx, ny = N // 2, N // 4
    assert {c.kind for c in found} <= {"collective-permute", "all-reduce"}
    assert total(found, "collective-permute") == 4 * 2 * WIDTH * N * (ny + nx + 2 * WIDTH)
    assert total(found, "all-reduce") <= 8  # the count of strays and the halo they need


def test_strays_are_counted_outside_jit_and_nan_inside():
    mesh = build_mesh("x=2,y=4")
    moved = 0.1 * displacement()
    moved[3, 4, 5, 0], moved[8, 1, 2, 1], moved[0, 0, 0, 2] = 3.5, -5.2, 9.0  # along z nothing strays
    with pytest.raises(
        DataError, match=r"particles: 2 strayed beyond the halo of 4 cells; width=7 holds the"
    ):
        scatter(deposit, placed(moved, mesh), mesh, WIDTH)
    with pytest.raises(DataError, match="2 strayed"):
        gather(interpolate, jnp.ones((N, N, N)), placed(moved, mesh), mesh, WIDTH)
    inside = jax.jit(lambda m: scatter(deposit, m, mesh, WIDTH))
    assert np.all(np.isnan(inside(placed(moved, mesh))))
    moved[3, 4, 5, 0], moved[8, 1, 2, 1] = 3.0, -3.0  # exactly the halo less the cloud's reach
    grid = inside(placed(moved, mesh))
    np.testing.assert_allclose(np.asarray(grid, np.float64).sum(), N**3, rtol=1e-6)
    moved[3, 4, 5, 0] = np.nan
    with pytest.raises(DataError, match="1 strayed"):
        scatter(deposit, placed(moved, mesh), mesh, WIDTH)


def test_the_suggested_halo_suffices():
    mesh, moved = build_mesh("x=2"), 0.1 * displacement()
    moved[3, 4, 5, 0] = 5.5
    grid = scatter(deposit, placed(moved, mesh), mesh, 7)
    np.testing.assert_allclose(grid, numpy_deposit(moved), atol=1e-5)


def test_a_halo_wider_than_a_block_is_an_error_with_the_numbers():
    mesh = build_mesh("x=2,y=4")
    with pytest.raises(
        ConfigError, match=r"width=5 must lie in 0\.\.4, the cells of a block along y with y=4"
    ):
        scatter(deposit, placed(displacement(), mesh), mesh, 5)
    with pytest.raises(ConfigError, match="9 cells along x do not divide over x=2"):
        scatter(deposit, jnp.zeros((9, 8, 8, 3)), mesh, 2)


def test_block_form_says_how_many_strayed():
    mesh = build_mesh("x=2,y=4")
    moved = 0.1 * displacement()
    moved[:, 0, 0, 0] = 4.0
    block = partial(gather_block, interpolate, width=WIDTH)
    run = jax.jit(jax.shard_map(block, mesh=mesh, in_specs=(GRID, LATTICE), out_specs=(GRID, P(), P())))
    _, strays, needed = run(jnp.ones((N, N, N)), placed(moved, mesh))
    assert (int(strays), int(needed)) == (N, 5)


@pytest.mark.parametrize("shape, refine", [("x=1", 3), ("x=2,y=4", 2)])
def test_a_grid_finer_than_the_lattice(shape, refine):
    """Mass by a loop over particles; a force linear in x read back at where the particles are; transposes."""
    mesh, moved = build_mesh(shape), displacement(2.9, 8)
    cell = 0.5  # of the grid, in the unit of the displacement
    grid = scatter(deposit, placed(cell * moved, mesh), mesh, WIDTH, cell, refine=refine)
    assert grid.shape == (8 * refine,) * 3 and grid.sharding.is_equivalent_to(NamedSharding(mesh, GRID), 3)
    np.testing.assert_allclose(grid, numpy_deposit(moved, refine), atol=1e-5)
    field = np.random.default_rng(9).normal(size=(8 * refine,) * 3 + (2,)).astype(np.float32)
    read = gather(interpolate, field, placed(cell * moved, mesh), mesh, WIDTH, cell, refine=refine)
    lattice = refine * np.stack(np.meshgrid(*(np.arange(8),) * 3, indexing="ij"), -1).astype(np.float32)
    expected = interpolate(field, jnp.asarray(lattice + moved).reshape(-1, 3)).reshape(8, 8, 8, 2)
    np.testing.assert_allclose(read, expected, atol=2e-5)
    np.testing.assert_allclose(np.vdot(np.asarray(grid), field[..., 0]), np.sum(read[..., 0]), rtol=1e-4)


def test_along_an_axis_of_one_device_a_particle_may_go_anywhere():
    """Around the box, twice; but nowhere is no place, there as well."""
    mesh = build_mesh("y=4")
    moved = 0.1 * displacement()
    moved[3, 4, 5, 0], moved[1, 1, 1, 2] = 2.5 * N, -1.25 * N
    grid = scatter(deposit, placed(moved, mesh), mesh, WIDTH)
    np.testing.assert_allclose(grid, numpy_deposit(moved), atol=1e-5)
    for shape in ("y=4", "x=1"):
        lost = moved.copy()
        lost[3, 4, 5, 0] = np.nan
        mesh = build_mesh(shape)
        with pytest.raises(DataError, match="1 strayed"):
            scatter(deposit, placed(lost, mesh), mesh, WIDTH)
