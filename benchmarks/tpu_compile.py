"""CPU seconds to compile the gradient of a V-Net for eight v5p chips, in bfloat16 and in float32.

    python benchmarks/tpu_compile.py [--limit 300]

No TPU is needed (libtpu, which .[dev] installs). Each compilation has a process of its own, ended at the
limit. float32 means float32: its convolutions are taken in several passes of bfloat16, written out.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time

from galaxyjax.mesh import aot

CASES = {
    "32 cells a side, 8-16 channels": (32, {"inputs": 3, "widths": [8, 16], "blocks": [0, 1]}),
    "128 cells a side, 16-32 channels": (128, {"inputs": 3, "widths": [16, 32], "blocks": [1, 1]}),
}


def compile_one(cells: int, options: dict) -> None:
    """Compile in this process; print the CPU seconds that tracing and compiling took."""
    import jax
    import jax.numpy as jnp

    from galaxyjax.mesh.topology import BATCH, FIELD, REPLICATED
    from galaxyjax.models.vnet import VNet

    mesh, model = aot.topology_mesh("v5p:2x2x2", "data=2,x=2,y=2"), VNet(**options)
    shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)  # noqa: E731
    params = aot.placed(jax.eval_shape(model.init, jax.random.key(0)), mesh, REPLICATED)
    field = aot.placed(shape(2, cells, cells, cells, model.inputs), mesh, FIELD)
    style = aot.placed(shape(2, model.style), mesh, BATCH)
    loss = lambda p, x, s: jnp.mean(jnp.square(model.apply(p, x, s, mesh)))  # noqa: E731
    began = time.process_time()
    jax.jit(jax.grad(loss)).lower(params, field, style).compile()
    print("RESULT", time.process_time() - began)


def seconds(cells: int, options: dict, limit: float) -> float | None:
    """CPU seconds to compile in a process of its own, None when the limit came first."""
    command = [sys.executable, __file__, "--one", json.dumps([cells, options])]
    environment = os.environ | aot.ENVIRONMENT | {"JAX_PLATFORMS": "cpu"}
    bound = lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))  # noqa: E731
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=bound)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return None
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.rpartition("RESULT ")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds for each")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return compile_one(*json.loads(given.one))
    print(f"{'gradient for eight v5p chips':<36}{'bfloat16':>12}{'float32':>12}")
    for name, (cells, options) in CASES.items():
        times = [seconds(cells, {**options, "dtype": dtype}, given.limit) for dtype in ("bfloat16", None)]
        words = [f"> {given.limit:.0f} s" if t is None else f"{t:.0f} s" for t in times]
        print(f"{name:<36}{words[0]:>12}{words[1]:>12}", flush=True)


if __name__ == "__main__":
    main()
