"""Slopes d ln P / d parameter of `matter_power` against finite differences of CAMB, beside cosmopower-jax's.

    python benchmarks/gradients.py [--cosmologies 4]

Every parameter, z = 0, 0.5 and 1.5, 1e-3 <= k <= 10 h/Mpc; the error is in units of the parameter's largest
slope. CAMB is asked at four points a parameter (its own noise, about 5e-5 in ln P, leaves a few tenths of a
per cent in the difference quotient). The peer is differentiated at a cosmology of its own prior, against CAMB
set to its physics.
"""

import argparse
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import peer_cosmopower

import galaxyjax
from galaxyjax.core.errors import GalaxyjaxError
from galaxyjax.simulate.boltzmann import smooth_power
from galaxyjax.validate.gradients import STEPS, GradientCheck, check, differences, inner_cosmologies
from galaxyjax.validate.protocol import GRADIENT_SEED

ASKED, AIM = 1e-2, 3e-3
Z = np.array([0.0, 0.5, 1.5])
K = np.geomspace(1e-3, 10.0, 200)


def main() -> int:
    """Print the table; return 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--emulator", default="matter_power", help="shelf name or folder")
    parser.add_argument("--cosmologies", type=int, default=4, help="a minute or two each")
    parser.add_argument("--peer", type=int, default=1, help="cosmologies for the peer; 0: none")
    arguments = parser.parse_args()
    try:
        emulator = galaxyjax.load(arguments.emulator)
    except GalaxyjaxError as error:
        print(error, file=sys.stderr)
        return 2
    outputs = tuple(entry.name for entry in emulator.contract.outputs)
    points = inner_cosmologies(emulator.contract, arguments.cosmologies, GRADIENT_SEED)
    checks = [check(emulator, theta, Z, K, outputs, smooth_power) for theta in points]
    print(f"{emulator.contract.name} {emulator.contract.version} at {len(points)} cosmologies, in per cent\n")
    missed = False
    for output in outputs:
        # The suppression's slopes are nearly nothing but by logT_AGN: listed, not judged.
        judged = output != "baryon_suppression"
        missed |= report(output, [found[output] for found in checks], judged)
    print(f"{'asked':20} {'':9} {'':9} {100 * ASKED:9.3f}\n{'aim':20} {'':9} {'':9} {100 * AIM:9.3f}")
    if arguments.peer:
        peer(arguments.peer)
    return int(missed)


def report(output: str, checks: list[GradientCheck], judged: bool = True) -> bool:
    """Print the largest errors of one output over its cosmologies; return whether a limit is missed."""
    errors = [found.errors() for found in checks]
    missed, worst = False, 0.0
    for name in errors[0]:
        largest, p95 = (max(error[name][kind] for error in errors) for kind in ("max", "p95"))
        bad = judged and largest > ASKED
        missed, worst = missed or bad, max(worst, largest)
        print(f"{output:20} {name:9} {100 * p95:9.3f} {100 * largest:9.3f}{'  MISSED' if bad else ''}")
    print(f"largest of {output}: {100 * worst:.3f}")
    return missed


def peer(count: int) -> None:
    """Print the same of cosmopower-jax, at cosmologies in the middle of its prior."""
    try:
        networks, k = peer_cosmopower.networks()
    except ImportError:
        print("\npeer: cosmopower-jax is not installed (pip install cosmopower-jax)")
        return
    width = peer_cosmopower.HIGH - peer_cosmopower.LOW
    names, rng = peer_cosmopower.NAMES, np.random.default_rng(GRADIENT_SEED)
    judged = (k >= 1e-3) & (k <= 6.0)
    found = {output: [] for output in networks}
    for _ in range(count):
        vector = peer_cosmopower.LOW + width * rng.uniform(0.2, 0.8, len(names))
        theta, sizes = (dict(zip(names, v, strict=True)) for v in (vector, STEPS[1] * width))
        slopes = differences(
            peer_cosmopower.truth, theta, sizes, Z, k[judged], dict.fromkeys(networks, names)
        )
        for output, network in networks.items():
            emulated = peer_slopes(network, vector, judged)
            found[output].append(GradientCheck(output, theta, Z, k[judged], emulated, slopes[output]))
    print("\ncosmopower-jax, its own prior and physics")
    for output, checks in found.items():
        report(output, checks, judged=False)


def peer_slopes(network: Callable, vector: np.ndarray, judged: np.ndarray) -> dict[str, np.ndarray]:
    """Return parameter -> d ln P / d parameter (nz, nk) of a network of the peer."""
    slope = jax.jit(jax.jacfwd(lambda v, z: jnp.log(network(v, z))))
    rows = np.array([slope(jnp.asarray(vector, jnp.float32), float(z))[judged] for z in Z])
    return {name: rows[..., i] for i, name in enumerate(peer_cosmopower.NAMES)}


if __name__ == "__main__":
    sys.exit(main())
