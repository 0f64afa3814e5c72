"""The cost model: its bytes are those of compiled programs, its times those of a calculation by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding

from galaxyjax.core.errors import ConfigError
from galaxyjax.mesh import fft
from galaxyjax.mesh.budget import collectives, total
from galaxyjax.mesh.cost import H100, H200, MACHINES, V5P, Assumptions, Work, cost, fft_bytes
from galaxyjax.mesh.topology import GRID, MeshShape, build_mesh

IDEAL = Assumptions(compute=1, memory=1, link=1, latency=0)


def work(shape, **changes):
    sharded = {axis: 1e9 if getattr(shape, axis) > 1 else 0.0 for axis in ("x", "y")}
    messages = {axis: 100 if getattr(shape, axis) > 1 else 0 for axis in ("x", "y")}
    base = Work(1e13, 1e10, sharded, messages, 1e8, (1024, 1024, 1024), transforms=4)
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize("text", ["x=4", "y=4", "x=2,y=4"])
def test_fft_bytes_are_those_of_the_compiled_transform(text):
    mesh, shape, cells = build_mesh(text), MeshShape.parse(text), (16, 24, 18)
    grid = jax.ShapeDtypeStruct(cells, jnp.float32, sharding=NamedSharding(mesh, GRID))
    found = collectives(jax.jit(lambda f: fft.forward(f, mesh).values).lower(grid).compile())
    assert sum(fft_bytes(cells, shape).values()) == total(found, "all-to-all") == total(found)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_one_device_sends_nothing(machine):
    alone = cost(work(MeshShape()), machine, MeshShape())
    assert alone.halo == alone.transforms == alone.gradient == 0
    assert alone.step == alone.arithmetic and alone.efficiency == 1


def test_arithmetic_is_flops_or_bytes_over_the_peak():
    shape = MeshShape()
    busy = cost(work(shape, flops=989e12, transforms=0), H100, shape, IDEAL)
    assert busy.compute == pytest.approx(1.0) and busy.arithmetic == busy.compute
    heavy = cost(work(shape, flops=1.0, convolved=3.35e12, transforms=0), H100, shape, IDEAL)
    assert heavy.arithmetic == pytest.approx(9.0)
    assert heavy.held == 2 * 3.35e12


def test_halos_go_over_nvlink_in_a_node_and_infiniband_beyond():
    inside, across = MeshShape(x=2, y=4), MeshShape(x=4, y=8)
    both = cost(work(inside), H100, inside, IDEAL).halo
    assert both == pytest.approx(2e9 / 450e9)
    # y fills the node; x goes from node to node.
    assert cost(work(across), H100, across, IDEAL).halo == pytest.approx(1e9 / 450e9 + 1e9 / 50e9)
    # A torus sends along both directions of both axes at once, each over a link of its own.
    assert cost(work(across), V5P, across, IDEAL).halo == pytest.approx(2 * 1e9 / 200e9)


def test_all_reduce_by_hand():
    shape = MeshShape(data=2, y=8)
    seconds = cost(work(shape), H200, shape, IDEAL).gradient
    assert seconds == pytest.approx(2 * 1e8 * (7 / 8) / 450e9 + 2 * (1e8 / 8) * (1 / 2) / 50e9)


def test_all_to_all_by_hand():
    """Four of a ring of eight on a node: a quarter stays; two nodes: half goes out."""
    assert H100.all_to_all(8e9, 4, 1) == pytest.approx(6e9 / 450e9)
    assert H100.all_to_all(8e9, 16, 1) == pytest.approx(4e9 / 50e9)
    # A ring of eight: two hops on average over two links.
    assert V5P.all_to_all(8e9, 8, 1) == pytest.approx(8e9 * 2 / 200e9)


@given(
    st.sampled_from(MACHINES),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([1, 2, 4, 8]),
    st.floats(1.1, 10),
)
def test_faster_links_and_fewer_bytes_never_cost_more(machine, x, y, factor):
    shape = MeshShape(x=x, y=y)
    before = cost(work(shape), machine, shape)
    faster = dataclasses.replace(machine, inside=machine.inside * factor, outside=machine.outside * factor)
    assert cost(work(shape), faster, shape).step <= before.step
    smaller = work(shape, halo={axis: sent / factor for axis, sent in work(shape).halo.items()})
    assert cost(smaller, machine, shape).step <= before.step
    assert 0 < before.efficiency <= 1


def test_stages_are_not_modelled():
    with pytest.raises(ConfigError, match="stage=2"):
        cost(work(MeshShape()), H100, MeshShape(stage=2))
