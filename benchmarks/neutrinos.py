"""How smooth CAMB is in m_nu: ln P at z = 20 beside a longer hierarchy of neutrinos, in units of 1e-5.

    python benchmarks/neutrinos.py

At lAccuracyBoost = 1, which the truth suite has, P is off by up to 4e-4 near k = 0.02 and 0.08 h/Mpc, and at
0.04 by an amount that jumps with m_nu: finite differences of it are wrong by 2% of the largest slope, so
slopes are judged against lAccuracyBoost = 2.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np

from galaxyjax.simulate import boltzmann

THETA = {"omega_b": 0.023, "omega_cdm": 0.15, "h": 0.797, "w0": -0.748, "wa": -0.052}
K = np.array([0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.3])
MASSES = (0.05, 0.15, 0.25, 0.3, 0.35, 0.45)
REFERENCE = 4.0


def log_power(m_nu: float, boost: float) -> np.ndarray:
    """ln P (nk,) at z = 20."""
    settings = boltzmann.CambSettings(kmax_h=0.4, l_accuracy_boost=boost)
    results = boltzmann.transfer({**THETA, "m_nu": m_nu}, [20.0], settings)
    boltzmann.set_primordial(results, 3.0, 0.965)
    k, _, table = boltzmann.linear_table(results)
    return boltzmann.resample(k, table[0], K)


def main() -> None:
    """Print one table for each hierarchy."""
    found, seconds = {}, {}
    for boost in (1.0, 2.0, REFERENCE):
        began = time.monotonic()
        found[boost] = np.array([log_power(m_nu, boost) for m_nu in MASSES])
        seconds[boost] = (time.monotonic() - began) / len(MASSES)
    for boost in (1.0, 2.0):
        cost = seconds[boost] / seconds[1.0]
        print(f"lAccuracyBoost {boost:g} less {REFERENCE:g} (time: {cost:.1f} x), 1e-5 in ln P")
        print(f"{'m_nu [eV]':>10}" + "".join(f"{f'k={k:g}':>8}" for k in K))
        for m_nu, row in zip(MASSES, (found[boost] - found[REFERENCE]) * 1e5, strict=True):
            print(f"{m_nu:>10.2f}" + "".join(f"{value:>8.1f}" for value in row))


if __name__ == "__main__":
    main()
