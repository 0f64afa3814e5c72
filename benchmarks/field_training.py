"""Training steps of a V-Net on this machine: time, fields a second, utilisation, and what each option costs.

    python benchmarks/field_training.py [--cells 32] [--widths 8 16] [--batch 4] [--mesh data=1] [--steps 10]

On a CPU set JAX_PLATFORMS=cpu, and JAX_NUM_CPU_DEVICES=8 for a mesh of eight.

One process; the variants take turns, so that a busy machine slows all of them, and times are medians.
Utilisation is the model's floating-point operations (forward, and twice that backward) over the dense
bfloat16 peak of the devices; a CPU has no such number, so there only operations a second are printed.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from galaxyjax.mesh import budget
from galaxyjax.mesh.topology import build_mesh, check_field
from galaxyjax.models.vnet import VNet
from galaxyjax.train import step as steps
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import LAYOUT, FieldBatch, FieldTraining, block_loss, parameter_specs
from galaxyjax.train.metrics import peak
from galaxyjax.train.optim import field_optimizer

VARIANTS = {
    "float32": {},
    "bfloat16": {"compute": "bfloat16"},
    "bfloat16, remat": {"compute": "bfloat16", "remat": True},
    "bfloat16, 2 parts": {"compute": "bfloat16", "accumulate": 2},
    "bfloat16, compressed sums": {"compute": "bfloat16", "compress": True},
    "bfloat16, FSDP": {"compute": "bfloat16", "fsdp": True},
}


def main() -> int:
    """Print one row a variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=32, help="cells a side")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16], help="channels, finest level first")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 1], help="residual blocks a level")
    parser.add_argument("--batch", type=int, default=4, help="fields a step, on all devices")
    parser.add_argument("--mesh", default=None, help="default: all devices on data")
    parser.add_argument("--steps", type=int, default=10, help="turns of each variant")
    arguments = parser.parse_args()
    mesh = build_mesh(arguments.mesh)
    model = VNet(widths=tuple(arguments.widths), blocks=tuple(arguments.blocks), style=2)
    check_field(mesh, arguments.cells, arguments.batch, model.multiple)
    runs = {
        name: prepare(model, arguments.cells, arguments.batch, mesh, options)
        for name, options in VARIANTS.items()
    }
    seconds = {name: [] for name in runs}
    for _ in range(arguments.steps):
        for name, (run, _, _) in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    kind = jax.devices()[0].device_kind
    flops = 3 * arguments.batch * model.flops((arguments.cells,) * 3)
    sizes = ",".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    print(
        f"{mesh.size} x {kind}, mesh {sizes}; {arguments.batch} fields of {arguments.cells}^3, widths "
        f"{model.widths}, blocks {model.blocks}; {flops / 1e9:.3g} GFLOP a step"
    )
    columns = {
        "s/step": 9,
        "x float32": 11,
        "fields/s": 10,
        "GFLOP/s": 10,
        "MFU": 7,
        "temp MB": 9,
        "sent MB": 9,
    }
    print(" " * 26 + "".join(f"{name:>{width}}" for name, width in columns.items()))
    base = statistics.median(seconds["float32"])
    for name, (_, temporary, sent) in runs.items():
        t = statistics.median(seconds[name])
        limit = peak(kind)
        share = "n/a" if limit is None else f"{flops / t / limit / mesh.size:.1%}"
        print(
            f"{name:26}{t:9.4f}{t / base:11.2f}{arguments.batch / t:10.2f}{flops / t / 1e9:10.1f}{share:>7}"
            f"{temporary / 1e6:9.1f}{sent / 1e6:9.2f}"
        )
    return 0


def prepare(model: VNet, cells: int, batch: int, mesh, options: dict):
    """A call that makes one step and waits for it, and the step's temporary and sent bytes on each device."""
    fit = replace(FieldFitConfig(batch=batch), **options)
    recipe, optimizer = FieldTraining(model, None, cells, fit), field_optimizer(fit)
    specs = parameter_specs(recipe, mesh)
    template = steps.state_template(model.init, optimizer, mesh, specs)
    state = steps.born(model.init, jax.random.key(0), optimizer, template)
    residual = None
    if fit.compress:
        residual = steps.no_residual(steps.residual_template(template.params, mesh, specs))
    key, side = jax.random.key(1), (batch, cells, cells, cells)
    arrays = FieldBatch(
        jax.random.normal(key, (*side, model.inputs)),
        jnp.full((batch, model.style), 0.5),
        jax.random.normal(key, (*side, model.outputs)),
    )
    arrays = jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec)), arrays, LAYOUT)
    compiled = steps.make_step(block_loss(recipe), optimizer, mesh, specs, LAYOUT, fit)
    compiled = compiled.lower(state, residual, arrays).compile()
    held = {"state": state, "residual": residual}

    def run() -> None:
        held["state"], held["residual"], values = compiled(held["state"], held["residual"], arrays)
        jax.block_until_ready(values)

    run()
    return run, budget.temp_bytes(compiled), budget.total(budget.collectives(compiled))


if __name__ == "__main__":
    sys.exit(main())
