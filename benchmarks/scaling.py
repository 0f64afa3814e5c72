"""How a training step of the V-Net scales: H100 and H200 nodes and TPU v5p pods, up to 512 devices.

    python benchmarks/scaling.py [--json scaling.json]

A model, not a measurement: bytes and FLOPs of one step (forward, gradient, one gradient sum) over the speeds
of data sheets times assumed efficiencies, with nothing overlapped (galaxyjax/mesh/cost.py). The bytes are
exact: tests hold them against compiled programs. A measured step on one such device, the anchor of the
arithmetic, is missing: the table was made without an accelerator, and a CPU's step anchors nothing.

Weak scaling keeps the cells of a device, strong scaling the field; the last kind adds fields, one for every
"data". A step takes one forward and three inverse FFTs of the field, as when its initial displacement is made
on the fly. benchmarks/scaling.md is what this prints.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import jax

from galaxyjax.mesh.cost import MACHINES, Assumptions, Machine, Work, cost
from galaxyjax.mesh.topology import MeshShape
from galaxyjax.models.vnet import VNet

MODEL = VNet(inputs=3, outputs=3, widths=(32, 64, 128), blocks=(2, 2, 4), style=2, dtype="bfloat16")
TRANSFORMS = 4
# Cells a side, and meshes. "full" is 512 devices: axes must be products of an 8 x 8 x 8 torus's sides, nodes
# take any.
WEAK = ((256, "x=1"), (512, "x=2,y=4"), (1024, "x=8,y=8"), (2048, "full"))
STRONG = ((1024, "x=2,y=4"), (1024, "x=4,y=8"), (1024, "x=8,y=8"), (1024, "x=8,y=16"), (1024, "full"))
DATA = ((512, "x=2,y=4"), (512, "data=8,x=2,y=4"), (512, "data=64,x=2,y=4"))


def main() -> int:
    """Print the tables, and write them as JSON when asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=None, help="file for the same numbers")
    arguments = parser.parse_args()
    assumptions = Assumptions()
    cases = (("weak", WEAK), ("strong", STRONG), ("data", DATA))
    rows = [
        row(kind, n, mesh(text, machine), machine, assumptions)
        for machine in MACHINES
        for kind, meshes in cases
        for n, text in meshes
    ]
    print(heading(assumptions))
    for machine in MACHINES:
        print(f"\n## {machine.name}\n\n{machine.source}.\n")
        print(table([r for r in rows if r["machine"] == machine.name]))
    if arguments.json:
        record = {
            "anchor": None,
            "model": MODEL.hyperparameters(),
            "assumptions": dataclasses.asdict(assumptions),
            "machines": [dataclasses.asdict(machine) for machine in MACHINES],
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def mesh(text: str, machine: Machine) -> MeshShape:
    """A mesh, "full" being the squarest of 512 devices that the machine can wire."""
    full = "x=16,y=32" if machine.node else "x=8,y=64"
    return MeshShape.parse(full if text == "full" else text)


def work(n: int, shape: MeshShape) -> Work:
    """What one device does: its block of a field of n cells a side, one field for every "data"."""
    cells, itemsize = (n // shape.x, n // shape.y, n), 2
    exchanges = MODEL.exchanges(cells)
    # Forward, and once more in the gradient for all but the entry's; both neighbours in one message each.
    messages = 2 * (2 * len(exchanges) - 1)
    parts = {"x": shape.x, "y": shape.y}
    # The second number is the gradient's, which runs forward as well.
    sent = {
        axis: MODEL.permuted_bytes(cells, {axis: size}, itemsize=itemsize)[1] for axis, size in parts.items()
    }
    parameters = sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: MODEL.init(jax.random.key(0))))
    )
    return Work(
        flops=3 * MODEL.flops(cells),
        convolved=sum(c[0] * c[1] * c[2] * channels * itemsize for c, channels in exchanges),
        halo=sent,
        messages=dict.fromkeys(parts, messages),
        gradient=4 * parameters,
        cells=(n, n, n),
        transforms=TRANSFORMS,
    )


def row(kind: str, n: int, shape: MeshShape, machine: Machine, assumptions: Assumptions) -> dict:
    """One line of a table, in ms, MB, GB and TFLOP; per device where it says so in `COLUMNS`."""
    todo = work(n, shape)
    found = cost(todo, machine, shape, assumptions)
    return {
        "machine": machine.name,
        "scaling": kind,
        "devices": shape.devices,
        "mesh": str(shape),
        "field": n,
        "tflop": todo.flops / 1e12,
        "arithmetic_ms": 1e3 * found.arithmetic,
        "limit": "FLOPs" if found.compute >= found.memory else "memory",
        "halo_mb": sum(todo.halo.values()) / 1e6,
        "halo_ms": 1e3 * found.halo,
        "fft_ms": 1e3 * found.transforms,
        "gradient_ms": 1e3 * found.gradient,
        "step_ms": 1e3 * found.step,
        "efficiency": found.efficiency,
        "held_gb": found.held / 1e9,
        "fits": bool(found.held < 0.8 * machine.memory),
    }


COLUMNS = {
    "scaling": ("scaling", "{}"),
    "devices": ("devices", "{}"),
    "mesh": ("mesh", "{}"),
    "field": ("field", "{}³"),
    "tflop": ("TFLOP a device", "{:.2f}"),
    "arithmetic_ms": ("arithmetic ms", "{:.1f}"),
    "limit": ("limited by", "{}"),
    "halo_mb": ("halo MB a device", "{:.0f}"),
    "halo_ms": ("halo ms", "{:.2f}"),
    "fft_ms": ("FFT ms", "{:.2f}"),
    "gradient_ms": ("gradient sum ms", "{:.2f}"),
    "step_ms": ("step ms", "{:.1f}"),
    "efficiency": ("efficiency", "{:.0%}"),
    "held_gb": ("activations GB", "{:.1f}"),
}


def table(rows: list[dict]) -> str:
    """A Markdown table; activations that need rematerialisation to fit bear an asterisk."""
    lines = ["| " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    for r in rows:
        cells = [form.format(r[key]) for key, (_, form) in COLUMNS.items()]
        cells[-1] += "" if r["fits"] else " *"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def heading(a: Assumptions) -> str:
    """What is computed, and every assumption."""
    width, blocks = "-".join(map(str, MODEL.widths)), "-".join(map(str, MODEL.blocks))
    return f"""# A training step of the V-Net, modelled

Printed by `python benchmarks/scaling.py`; not measured. No GPU or TPU was at hand, so a measured step on one
device, which would anchor the arithmetic, is missing. A step on a CPU is no anchor.

V-Net with channels {width}, blocks {blocks}, bfloat16 with float32 gradients; one field a step for every
"data"; {TRANSFORMS} real FFTs of the field in float32; no rematerialisation.

Assumed: {a.compute:.0%} of the dense bfloat16 peak in convolutions; {a.memory:.0%} of memory bandwidth, each
convolution moving its field {a.conv_passes} times a step; {a.link:.0%} of link bandwidth;
{1e6 * a.latency:.0f} µs a message; nothing overlaps. "y" varies fastest over the devices. Efficiency is
arithmetic over step. Activations are {a.kept} fields a convolution; an asterisk marks those above 80% of the
memory, which need `remat`."""


if __name__ == "__main__":
    sys.exit(main())
