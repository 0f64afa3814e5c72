"""What the sharded V-Net may send and hold, read off its compiled gradient: a budget for every change."""

import jax
import jax.numpy as jnp
import pytest

from galaxyjax.mesh import budget
from galaxyjax.mesh.aot import placed
from galaxyjax.mesh.halo import surface_factor
from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED, build_mesh
from galaxyjax.models.vnet import VNet

MODEL = VNet(inputs=3, outputs=3, widths=(4, 8), blocks=(1, 1), style=2)


def compiled_gradient(model, mesh, cells, batch=1):
    """The gradient for the parameters, whose result every device holds whole, as in training."""
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    params = placed(jax.eval_shape(model.init, jax.random.key(0)), mesh, REPLICATED)
    x = placed(shape(batch, cells, cells, cells, model.inputs), mesh, FIELD)
    style = placed(shape(batch, model.style), mesh, BATCH)
    loss = lambda p, x, s: jnp.mean(model.apply(p, x, s, mesh) ** 2)  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(params, x, style).compile()


def parameter_bytes(model):
    return sum(4 * leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))


def counted_by_hand(cells, sizes):
    """Bytes of MODEL's gradient on one device, written out: entry once; the other six convolutions twice.

    A convolution of c channels on a block (nx, ny, nz) sends 2 ny nz c numbers along x and 2 (nx + 2) nz c
    along y: the 2 are the corners.
    """

    def one(nx, ny, nz, c):
        along_x = 2 * ny * nz * c if sizes["x"] > 1 else 0
        along_y = 2 * (nx + 2) * nz * c if sizes["y"] > 1 else 0
        return 4 * (along_x + along_y)

    nx, ny, nz = cells // sizes["x"], cells // sizes["y"], cells
    fine = one(nx, ny, nz, 4)  # encoder and decoder, two each
    coarse = one(nx // 2, ny // 2, nz // 2, 8)  # trunk, two
    return one(nx, ny, nz, 3) + 2 * (4 * fine + 2 * coarse)


@pytest.mark.parametrize("shape, cells", [("x=2,y=2", 32), ("data=2,x=2,y=2", 32), ("x=4,y=2", 64)])
def test_gradient_gathers_nothing_and_permutes_exactly_its_halos(shape, cells):
    mesh = build_mesh(shape)
    sizes = dict(mesh.shape)
    found = budget.collectives(compiled_gradient(MODEL, mesh, cells, sizes["data"]))
    assert all(c.exact for c in found)
    assert {c.kind for c in found} == {"collective-permute", "all-reduce"}
    permuted = budget.total(found, "collective-permute")
    assert permuted == counted_by_hand(cells, sizes)
    block = (cells // sizes["x"], cells // sizes["y"], cells)
    assert permuted == MODEL.permuted_bytes(block, sizes)[1]
    # The gradients are summed once, whole.
    assert budget.total(found, "all-reduce") == parameter_bytes(MODEL)


def test_a_forward_pass_sends_each_halo_once():
    mesh = build_mesh("x=2,y=2")
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    arguments = jax.eval_shape(MODEL.init, jax.random.key(0)), shape(1, 32, 32, 32, 3), shape(1, 2)
    found = budget.collectives(jax.jit(lambda *a: MODEL.apply(*a, mesh)).lower(*arguments).compile())
    assert {c.kind for c in found} == {"collective-permute"}
    assert budget.total(found) == MODEL.permuted_bytes((16, 16, 32), dict(mesh.shape))[0]


def test_rematerialised_blocks_send_their_halos_up_to_three_times():
    model, mesh = VNet(widths=(2,), blocks=(1,), remat=True), build_mesh("x=2")
    found = budget.collectives(compiled_gradient(model, mesh, 8))
    entry, inner = 4 * 2 * 8 * 8 * 3, 4 * 2 * 8 * 8 * 2
    assert entry + 4 * inner < budget.total(found, "collective-permute") <= entry + 6 * inner
    assert model.permuted_bytes((4, 8, 8), dict(mesh.shape)) == (entry + 2 * inner, entry + 6 * inner)


def test_temporary_memory_shrinks_with_the_devices():
    """64 cells a side, the same batch: an eighth of one device's, times the halos' surface."""
    sharded, one = build_mesh("x=2,y=4"), build_mesh("x=1")
    allowed = budget.temp_bytes(compiled_gradient(MODEL, one, 64)) / 8 * surface_factor((32, 16, 64))
    held = budget.temp_bytes(compiled_gradient(MODEL, sharded, 64))
    assert held <= 1.3 * allowed + parameter_bytes(MODEL)
