"""Cloud in cell beside eight NumPy bincounts: one process, in turns, the same particles.

    python benchmarks/painting.py [--cells 128] [--particles 1048576] [--repeats 9]

Random positions, and the same sorted by cells as a sorted copy hands them out. The NumPy side is the usual
one: floor, eight corners, one `np.bincount` with weights for each. Asked: at least 3 times as fast; with
`pip install numba` a compiled loop over particles is timed as well (what compiled packages do).
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.fields.paint import paint

ASKED = 3.0


def main() -> int:
    """Print the table; return 1 when the limit is missed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cells", type=int, default=128, help="cells along a side")
    parser.add_argument("--particles", type=int, default=1 << 20)
    parser.add_argument("--repeats", type=int, default=9, help="turns of each side")
    arguments = parser.parse_args()
    n = arguments.cells
    random = np.random.default_rng(1).uniform(0, n, (arguments.particles, 3)).astype(np.float32)
    ordered = random[np.lexsort(np.floor(random).T[::-1])]
    ours = jax.jit(lambda positions: paint(jnp.zeros((n, n, n)), positions))
    sides = {
        "galaxyjax": lambda positions: ours(positions).block_until_ready(),
        "bincount": lambda positions: bincount(positions, n),
    }
    if (loop := compiled(n)) is not None:
        sides["numba loop"] = loop
    kind = jax.devices()[0].device_kind
    print(f"{kind}: {arguments.particles} particles, {n}^3 cells, medians of {arguments.repeats} turns")
    print(f"{'':10} " + " ".join(f"{name + ' ms':>14}" for name in sides) + f" {'ratio':>8} {'asked':>6}")
    missed = False
    for order, positions in (("random", random), ("sorted", ordered)):
        for side in sides.values():
            result = side(positions)
        np.testing.assert_allclose(np.asarray(ours(positions)), bincount(positions, n), atol=1e-4)
        took = {name: [] for name in sides}
        for _ in range(arguments.repeats):
            for name, side in sides.items():
                began = time.perf_counter()
                result = side(positions)
                took[name].append(time.perf_counter() - began)
        del result
        medians = {name: float(np.median(values)) for name, values in took.items()}
        ratio = medians["bincount"] / medians["galaxyjax"]
        missed |= ratio < ASKED
        columns = " ".join(f"{1e3 * value:14.1f}" for value in medians.values())
        print(f"{order:10} {columns} {ratio:7.1f}x {ASKED:5.1f}x{'  MISSED' if ratio < ASKED else ''}")
    return int(missed)


def bincount(positions: np.ndarray, n: int) -> np.ndarray:
    """Cloud in cell by eight weighted bincounts."""
    low = np.floor(positions)
    d, low = positions - low, low.astype(np.int64)
    x, y, z = ((low[:, axis] % n, (low[:, axis] + 1) % n) for axis in range(3))
    u, v, w = ((1 - d[:, axis], d[:, axis]) for axis in range(3))
    total = np.zeros(n**3)
    for a, b, c in np.ndindex(2, 2, 2):
        total += np.bincount((x[a] * n + y[b]) * n + z[c], u[a] * v[b] * w[c], n**3)
    return total.reshape(n, n, n)


def compiled(n: int):
    """A compiled loop over the particles, None without numba."""
    try:
        import numba
    except ImportError:
        return None

    @numba.njit
    def loop(positions, grid):
        for p in range(len(positions)):
            x, y, z = positions[p]
            i, j, k = int(x), int(y), int(z)
            u, v, w = x - i, y - j, z - k
            for a in range(2):
                for b in range(2):
                    for c in range(2):
                        share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                        grid[(i + a) % n, (j + b) % n, (k + c) % n] += share
        return grid

    return lambda positions: loop(positions, np.zeros((n, n, n), np.float32))


if __name__ == "__main__":
    sys.exit(main())
