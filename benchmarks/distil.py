"""The error of a CosmoPower network distilled from `matter_power`, and the time that it took.

    python benchmarks/distil.py [--output linear] [--widths 512 512 512 512] [--spectra 20000] [--steps 20000]

Over a domain of Planck-like width (`AROUND`) or the whole of the emulator's (--whole), z <= 3, k to 6/Mpc.
The error is abs(P / P_emulator - 1) at held-out cosmologies, over all k.
"""

import argparse
import time

import galaxyjax
from galaxyjax.train.distil import Distillation, distil

AROUND = {
    "omega_b": (0.0215, 0.0233), "omega_cdm": (0.10, 0.14), "h": (0.62, 0.74), "n_s": (0.92, 1.0),
    "ln10A_s": (2.7, 3.4), "z": (0.0, 3.0),
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="linear")
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 512, 512, 512])
    parser.add_argument("--spectra", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    how = Distillation(
        output=given.output,
        widths=tuple(given.widths),
        spectra=given.spectra,
        steps=given.steps,
        batch=given.batch,
    )
    began = time.perf_counter()
    _, error = distil(galaxyjax.load("matter_power"), how, {} if given.whole else AROUND)
    where = "the whole domain" if given.whole else "Planck-like"
    print(f"{given.output}, widths {how.widths}, {how.steps} steps of {how.batch}, {where}")
    print(f"{error['spectra']} held-out spectra, {time.perf_counter() - began:.0f} s")
    print(", ".join(f"{name} {100 * error[name]:.3f}%" for name in ("p50", "p95", "p99", "max")))


if __name__ == "__main__":
    main()
