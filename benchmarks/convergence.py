"""What CAMB's settings cost: P(k, z) with kmax and AccuracyBoost doubled, at 20 corners of the prior.

    python benchmarks/convergence.py [--corners 20] [--workers 2]

Asked: no change above 0.05%. Every parameter stands at one end of its interval. A corner is extreme in all
of them at once: the table says how much of the matter is baryons and what sigma_8 is, because the changes
that remain are those of a baryon fraction near 1/3 (acoustic wiggles reach k = 0.5 h/Mpc, beyond CAMB's
finest spacing) and of HMcode at sigma_8 far below what it was made for. z = 0, 1, 3; 1e-3 <= k <= 10 h/Mpc.
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np

from galaxyjax.simulate import boltzmann

ASKED = 5e-4
NAMES = ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s", "m_nu", "w0", "wa", "logT_AGN")
LOW = np.array([0.019, 0.051, 0.60, 0.84, 1.6, 0.0, -1.3, -2.0, 7.4])
HIGH = np.array([0.026, 0.255, 0.85, 1.10, 4.0, 0.5, -0.4, 0.5, 8.3])
K, Z = np.geomspace(1e-3, 10.0, 400), np.array([0.0, 1.0, 3.0])
OUTPUTS = ("linear", "nonlinear")


def corners(count: int, seed: int = 5) -> list[dict[str, float]]:
    """Random corners of the prior; wa is lowered to its joint bound with w0."""
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(count):
        theta = dict(zip(NAMES, np.where(rng.random(len(NAMES)) < 0.5, LOW, HIGH).tolist(), strict=True))
        points.append({**theta, "wa": min(theta["wa"], -0.3 - theta["w0"])})
    return points


def change(theta: dict[str, float]) -> dict:
    """Largest |P / P_doubled - 1| of each output, where it is, sigma_8 and the baryon fraction."""
    settings = boltzmann.CambSettings()
    finer = replace(settings, kmax_h=2 * settings.kmax_h, accuracy_boost=2 * settings.accuracy_boost)
    one, two = (boltzmann.power(theta, Z, K, OUTPUTS, s) for s in (settings, finer))
    found = {
        "sigma_8": one["sigma8"][0],
        "fraction": theta["omega_b"] / (theta["omega_b"] + theta["omega_cdm"]),
    }
    for name in OUTPUTS:
        difference = np.abs(one[name] / two[name] - 1.0)
        found[name] = (difference.max(), K[difference.max(axis=0).argmax()], np.median(difference))
    return found


def main() -> None:
    """Print one line a corner, then what all have in common."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corners", type=int, default=20)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(
        f"{'sigma_8':>8} {'f_b':>6}" + "".join(f"{n + ' max':>15} {'at k':>6} {'median':>8}" for n in OUTPUTS)
    )
    rows = []
    with ProcessPoolExecutor(given.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(change, corners(given.corners)):
            rows.append(found)
            cells = "".join(
                f"{100 * m:>14.4f}% {k:>6.3f} {100 * middle:>7.4f}%"
                for m, k, middle in (found[n] for n in OUTPUTS)
            )
            print(f"{found['sigma_8']:>8.3f} {found['fraction']:>6.3f}{cells}", flush=True)
    for name in OUTPUTS:
        largest = np.array([row[name][0] for row in rows])
        print(
            f"{name}: {np.sum(largest < ASKED)} of {len(rows)} corners below {100 * ASKED:g}%, median of "
            f"the corners' largest {100 * np.median(largest):.4f}%, largest {100 * largest.max():.4f}%"
        )


if __name__ == "__main__":
    main()
