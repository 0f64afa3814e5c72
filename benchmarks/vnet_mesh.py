"""The V-Net on meshes: equality with one device, messages, memory, beside automatic sharding; one run.

    python benchmarks/vnet_mesh.py [--width 8] [--tpu]

On 8 host devices, against one: relative global L2 of the field and of the gradients (parameters, field and
style together) in float32 and float64. Then what the compiled gradient of a 64-cell field sends from each
device, beside the count by hand and beside the same network under `jit` with named shardings, where XLA
decides: that one pads with `jnp.pad(mode="wrap")`. Last, the temporary memory of a device on 1 x 2 x 4,
beside an eighth of one device's times the surface factor of the halos, plus the replicated gradients. --tpu
compiles for 8 TPU v5p as well (pip install libtpu). Exit status 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.mesh import aot, budget
from galaxyjax.mesh.halo import surface_factor
from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED, build_mesh
from galaxyjax.models.vnet import VNet

MESHES = ("data=2,x=2", "x=2,y=2", "data=2,x=2,y=2")
LIMITS = {"float32": (1e-6, 1e-5), "float64": (1e-12, 1e-12)}  # forward, gradient
MEMORY = 1.3


def main() -> int:
    """Print the tables; return 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=8, help="channels at the finest level")
    parser.add_argument("--tpu", action="store_true", help="compile for 8 TPU v5p too")
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 8)
    model = VNet(widths=(args.width, 2 * args.width), blocks=(1, 1))
    kept = [equality(model), messages(model, args.tpu), memory(model)]
    return 0 if all(kept) else 1


def equality(model: VNet) -> bool:
    """Field and gradients on meshes against one device."""
    kept = True
    print(f"{'against one device':32} {'forward':>10} {'asked':>8} {'gradient':>10} {'asked':>8}")
    for dtype, limits in LIMITS.items():
        with jax.enable_x64(dtype == "float64"):
            arguments = problem(model, jnp.dtype(dtype))
            gradient, out = evaluate(model, None)(*arguments)
            for shape in MESHES:
                got, sharded = evaluate(model, build_mesh(shape))(*arguments)
                errors = distance(sharded, out), distance(got, gradient)
                kept &= all(e <= limit for e, limit in zip(errors, limits, strict=True))
                row = "".join(f" {e:10.1e} {limit:8.0e}" for e, limit in zip(errors, limits, strict=True))
                print(f"{dtype} {shape:24}{row}", flush=True)
    return kept


def messages(model: VNet, tpu: bool) -> bool:
    """Collectives of the gradient on 1 x 2 x 4: ours, the count by hand, and XLA's own choice."""
    mesh = build_mesh("x=2,y=4")
    asked = model.permuted_bytes((32, 16, 64), dict(mesh.shape))[1]
    ours = budget.collectives(gradient_of(model, mesh))
    print(f"\n{'gradient, 64 cells, 1 x 2 x 4':32} {'permuted MB':>12} {'gathers':>8} {'other MB':>10}")
    report("V-Net", ours)
    print(f"{'  counted by hand':32} {asked / 1e6:12.4f} {0:8d}")
    kept = exact(ours, asked)
    report("automatic sharding", budget.collectives(automatic_gradient(model, mesh)))
    if tpu:
        mesh, model = aot.topology_mesh("v5p:2x2x2", "x=2,y=4"), replace(model, dtype="bfloat16")
        asked = model.permuted_bytes((32, 16, 64), dict(mesh.shape), itemsize=2)[1]
        found = budget.collectives(gradient_of(model, mesh))
        report("V-Net, bfloat16, TPU v5p", found)
        print(f"{'  counted by hand':32} {asked / 1e6:12.4f} {0:8d}")
        kept &= exact(found, asked)
    return kept


def memory(model: VNet) -> bool:
    """Temporary memory of a device on 1 x 2 x 4 against an eighth of one device's."""
    one = budget.temp_bytes(gradient_of(model, build_mesh("x=1")))
    held = budget.temp_bytes(gradient_of(model, build_mesh("x=2,y=4")))
    gradients = sum(4 * leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))
    ratio = (held - gradients) / (one / 8 * surface_factor((32, 16, 64)))
    print(
        f"\ntemporary memory: one device {one / 1e6:.1f} MB, each of 8 {held / 1e6:.1f} MB with gradients of"
    )
    print(f"{gradients / 1e6:.2f} MB; over an eighth times the surface factor: {ratio:.3f}, asked {MEMORY}")
    return ratio <= MEMORY


def problem(model: VNet, dtype) -> tuple:
    """Weights, field, style, target."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = jax.tree.map(lambda a: a.astype(dtype), jax.jit(model.init)(keys[0]))
    field = lambda key, c: jax.random.normal(key, (2, 16, 16, 16, c), dtype)  # noqa: E731
    style = jax.random.normal(keys[3], (2, model.style), dtype)
    return params, field(keys[1], model.inputs), style, field(keys[2], model.outputs)


def evaluate(model: VNet, mesh):
    """(gradients of a squared error in parameters, field and style; field)."""

    def loss(params, x, style, target):
        out = model.apply(params, x, style, mesh)
        return jnp.mean((out - target) ** 2), out

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))


def distance(a, b) -> float:
    """Relative global L2 of two trees."""
    pairs = list(zip(*map(jax.tree.leaves, (a, b)), strict=True))
    square = lambda x: float(np.sum(np.square(np.asarray(x, np.float64))))  # noqa: E731
    apart = sum(square(np.asarray(p, np.float64) - np.asarray(q, np.float64)) for p, q in pairs)
    return (apart / sum(square(q) for _, q in pairs)) ** 0.5


def shapes(model: VNet, mesh) -> tuple:
    """Shapes of parameters, one field of 64 cells a side and its style, each with its place."""
    make = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    return (
        aot.placed(jax.eval_shape(model.init, jax.random.key(0)), mesh, REPLICATED),
        aot.placed(make(1, 64, 64, 64, model.inputs), mesh, FIELD),
        aot.placed(make(1, model.style), mesh, BATCH),
    )


def gradient_of(model: VNet, mesh):
    """Our gradient for the parameters, compiled."""
    loss = lambda p, x, s: jnp.mean(model.apply(p, x, s, mesh) ** 2)  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(*shapes(model, mesh)).compile()


def automatic_gradient(model: VNet, mesh):
    """The same network on global arrays: named shardings at the door, XLA's partitioner for the rest."""

    def pad(x, width):
        return jnp.pad(x, ((0, 0), *((width, width),) * 3, (0, 0)), mode="wrap")

    loss = lambda p, x, s: jnp.mean(model.apply_padded(p, x, s, pad) ** 2)  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(*shapes(model, mesh)).compile()


def report(name: str, found: list) -> None:
    """One row: bytes permuted, gathers, and bytes of everything else."""
    permuted = budget.total(found, "collective-permute")
    gathers = budget.count(found, "all-gather")
    print(
        f"{name:32} {permuted / 1e6:12.4f} {gathers:8d} {(budget.total(found) - permuted) / 1e6:10.4f}",
        flush=True,
    )


def exact(found: list, asked: int) -> bool:
    """Nothing but halos, as many bytes as counted, and sums."""
    kinds = {c.kind for c in found}
    return (
        kinds <= {"collective-permute", "all-reduce"} and budget.total(found, "collective-permute") == asked
    )


if __name__ == "__main__":
    sys.exit(main())
