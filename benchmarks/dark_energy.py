"""How smooth CAMB's HMcode is in wa, beside the emulator: d ln(P_nonlinear / P_linear) / d wa at z = 0.

    python benchmarks/dark_energy.py [--points 13]

Differences of neighbouring runs, 0.05 apart in wa. HMcode's boost is uneven by up to 5e-4 from one run to the
next near k = 0.2 h/Mpc; the emulator runs through the middle. A central difference of CAMB is off by as much
over its step: what is left of the slope's error in wa is that.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import galaxyjax
from galaxyjax.core.progress import track
from galaxyjax.simulate.boltzmann import CambSettings, power
from galaxyjax.validate.gradients import inner_cosmologies
from galaxyjax.validate.protocol import GRADIENT_SEED

K = np.array([0.02, 0.1, 0.235, 0.5, 2.0, 8.0])
Z = np.array([0.0, 1.0])
OUTPUTS = ("linear", "nonlinear")


def boosts(theta: dict, emulator) -> tuple[np.ndarray, np.ndarray]:
    """ln(P_nonlinear / P_linear) (nk,) at z = 0, of CAMB and of the emulator."""
    truth = power(theta, Z, K, OUTPUTS, CambSettings(kmax_h=20.0))
    own = {name: value for name, value in theta.items() if name != "logT_AGN"}
    emulated = {o: np.asarray(emulator.predict(own, k=K, z=Z, output=o)) for o in OUTPUTS}
    return tuple(np.log(p["nonlinear"] / p["linear"])[0] for p in (truth, emulated))


def main() -> None:
    """Print slopes between neighbours, and the scatter of each about a smooth curve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=13)
    given = parser.parse_args()
    emulator = galaxyjax.load("matter_power")
    theta = inner_cosmologies(emulator.contract, 2, GRADIENT_SEED)[0]
    wa = theta["wa"] + 0.05 * (np.arange(given.points) - given.points // 2)
    runs = [boosts({**theta, "wa": float(value)}, emulator) for value in track(wa, "CAMB", unit="run")]
    found = dict(zip(("CAMB", "emulator"), np.swapaxes(runs, 0, 1), strict=True))
    for name, boost in found.items():
        print(f"\n{name}: slope between neighbours\n{'wa':>8}" + "".join(f"{f'k={k:g}':>9}" for k in K))
        slopes = np.diff(boost, axis=0) / np.diff(wa)[:, None]
        for middle, row in zip(0.5 * (wa[1:] + wa[:-1]), slopes, strict=True):
            print(f"{middle:>8.3f}" + "".join(f"{value:>9.4f}" for value in row))
    print("\nrms about a quartic in wa, 1e-5 in ln P")
    for name, boost in found.items():
        basis = np.vander((wa - wa.mean()) / np.ptp(wa), 5)
        left = boost - basis @ np.linalg.lstsq(basis, boost, rcond=None)[0]
        print(f"{name:>8}" + "".join(f"{value:>9.1f}" for value in 1e5 * left.std(axis=0)))


if __name__ == "__main__":
    main()
