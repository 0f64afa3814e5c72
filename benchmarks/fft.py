"""The distributed real FFT beside numpy, `jnp.fft.rfftn` on the same shards, and jaxdecomp.

    python benchmarks/fft.py [--cells 64] [--devices 8] [--repeats 21]

Eight forced host devices by default. Asked: relative L2 error against numpy in float64 at most 1e-6 in
float32, forward, back again and in the gradient; one all-to-all for a slab, two for a pencil, and nothing
else. Beside them what the others send: `jnp.fft.rfftn` gathers the field (its Nyquist plane is dropped
here, so that the result divides), jaxdecomp (if installed) transforms complex numbers, all of them. Times
are medians over turns taken in alternation on one machine's cores: they compare the work, not a network.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from galaxyjax.mesh import fft
from galaxyjax.mesh.budget import collectives, total
from galaxyjax.mesh.topology import GRID, MeshShape, build_mesh

ASKED = 1e-6


def main() -> int:
    """Print the tables; return 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=64, help="a side")
    parser.add_argument("--devices", type=int, default=8, help="host devices, an even number")
    parser.add_argument("--repeats", type=int, default=21, help="turns of each side")
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", arguments.devices)
    n, d = arguments.cells, arguments.devices
    field = np.random.default_rng(1).normal(size=(n, n, n)).astype(np.float32)
    shapes = (MeshShape(x=d), MeshShape(y=d), MeshShape(x=2, y=d // 2))
    print(f"{n}³ float32, {d} x {jax.devices()[0].device_kind}, medians of {arguments.repeats} turns\n")
    print(f"{'mesh':15} {'forward':>9} {'and back':>9} {'gradient':>9} {'asked':>7}   all-to-alls")
    missed = [accuracy(field, shape) for shape in shapes]
    print(f"\n{'mesh':15} {'transform':16} {'ms':>8} {'ratio':>7} {'KB sent':>9}   collectives")
    for shape in shapes:
        compare(field, shape, arguments.repeats)
    return int(any(missed))


def accuracy(field: np.ndarray, shape: MeshShape) -> bool:
    """Print one mesh's errors and collectives; True when a limit is missed."""
    mesh, wanted = build_mesh(shape), (shape.x > 1) + (shape.y > 1)
    grid = jax.device_put(field, NamedSharding(mesh, GRID))
    exact = np.fft.rfftn(field.astype(np.float64))
    size, planes = field.size, exact.shape[-1]

    def power(f):
        spectrum = fft.forward(f, mesh)
        return jnp.sum(spectrum.weight * jnp.abs(spectrum.values) ** 2) / (2 * size)

    forward = jax.jit(lambda f: fft.forward(f, mesh)).lower(grid).compile()
    spectrum = forward(grid)
    back = jax.jit(lambda s: fft.inverse(s, mesh)).lower(spectrum).compile()
    gradient = jax.jit(jax.grad(power)).lower(grid).compile()  # Parseval: sum f² / 2, whose gradient is f
    errors = [
        error(np.asarray(spectrum.values)[..., :planes], exact),
        error(back(spectrum), field),
        error(gradient(grid), field),
    ]
    found = [Counter(c.kind for c in collectives(program)) for program in (forward, back, gradient)]
    clean = found == [Counter({"all-to-all": times * wanted}) for times in (1, 1, 2)]
    counts = ", ".join(str(count["all-to-all"]) for count in found)
    columns = " ".join(f"{e:9.1e}" for e in errors)
    print(f"{name(shape):15} {columns} {ASKED:7.0e}   {counts}{'' if clean else ' AND OTHERS'}")
    return max(errors) > ASKED or not clean


def compare(field: np.ndarray, shape: MeshShape, repeats: int) -> None:
    """Print times and bytes of ours and the others on one mesh."""
    mesh = build_mesh(shape)
    grid = jax.device_put(field, NamedSharding(mesh, GRID))
    spread = NamedSharding(mesh, P(None, *[axis if getattr(shape, axis) > 1 else None for axis in "xy"]))
    local = jax.jit(lambda f: jnp.fft.rfftn(f)[..., : field.shape[-1] // 2], out_shardings=spread)
    sides = {
        "galaxyjax": (jax.jit(lambda f: fft.forward(f, mesh).values), grid),
        "jnp.fft.rfftn": (local, grid),
    }
    try:
        import jaxdecomp
    except ImportError:
        print("jaxdecomp is not installed: pip install jaxdecomp to compare with it", file=sys.stderr)
    else:
        plain = Mesh(mesh.devices[0], ("x", "y"))
        whole = jax.device_put(field.astype(np.complex64), NamedSharding(plain, P("x", "y")))
        sides["jaxdecomp (c2c)"] = (jax.jit(jaxdecomp.fft.pfft3d), whole)
    programs = {label: (f.lower(argument).compile(), argument) for label, (f, argument) in sides.items()}
    times = turns({label: lambda p=p, a=a: p(a) for label, (p, a) in programs.items()}, repeats)
    for label, (program, _) in programs.items():
        found = collectives(program)
        kinds = Counter(c.kind for c in found for _ in range(c.count))
        sent = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        ratio = times[label] / times["galaxyjax"]
        print(
            f"{name(shape):15} {label:16} {1e3 * times[label]:8.2f} {ratio:7.2f} "
            f"{total(found) / 1e3:9.0f}   {sent}"
        )


def turns(sides: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each side, taking turns, so that a busy machine slows all."""
    seconds = {label: [] for label in sides}
    for turn in range(repeats + 2):
        for label, call in sides.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            if turn >= 2:
                seconds[label].append(time.perf_counter() - begin)
    return {label: statistics.median(values) for label, values in seconds.items()}


def error(found, exact) -> float:
    """Relative L2 error."""
    return float(np.linalg.norm(np.asarray(found) - exact) / np.linalg.norm(exact))


def name(shape: MeshShape) -> str:
    """Which layout a mesh makes."""
    kind = "pencil" if shape.x > 1 and shape.y > 1 else "slab"
    return f"{kind} {shape.x} x {shape.y}"


if __name__ == "__main__":
    sys.exit(main())
