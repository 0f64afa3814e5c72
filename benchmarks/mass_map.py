"""Mass maps of a kappaTNG patch with COSMOS' mask and noise: Kaiser-Squires, Wiener, log-normal posterior.

GALAXYJAX_DATA=shared/data python benchmarks/mass_map.py [--out mass_map.json]

Asked: pixel r above Wiener's, calibrated errors. Judged where there are data; no smoothing or prior is chosen
on the judged map: power is theory's, the shift of the log-normal prior that of another simulated map, and the
size of the noise is measured from the scatter of the shear. The Kaiser-Squires map alone is smoothed with the
width that suits the judged map best, in its favour.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.files import write_json
from galaxyjax.data.shear_maps import ShearMaps, read_image
from galaxyjax.infer.field_level.sample import FieldSampler
from galaxyjax.infer.mass_map.posterior import ks_map, mass_map
from galaxyjax.infer.mass_map.prior import MapGrid, shift_of
from galaxyjax.infer.mass_map.run import map_mass
from galaxyjax.mesh.topology import build_mesh

PIXEL = 0.29 / 60.0 * np.pi / 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prior", choices=("lognormal", "gaussian"), default="lognormal")
    parser.add_argument("--shift", type=float, help="in place of that of the other simulated map")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--max-draws", type=int, default=100)
    parser.add_argument("--energy-error", type=float, default=1e-5)
    parser.add_argument("--folder", type=Path, default=Path("runs/mass_map"))
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    given = parser.parse_args()
    root = Path(os.environ["GALAXYJAX_DATA"]) / "tasks" / "weak_lensing"
    read = lambda name: read_image(root / f"{name}.fits")  # noqa: E731
    shear = read("ktng_cosmos_e360")
    maps = ShearMaps(shear[..., 0], shear[..., 1], read("std1"), read("std2"))
    truth, other = read("ktng_cosmos_kappa360"), read("ktng_kappa360v2")
    ell, power = read_image(root / "ktng_PS_theory.npy")
    mesh = build_mesh("x=1", devices=jax.devices()[:1])
    shift = None if given.prior == "gaussian" else given.shift or shift_of(other)
    sampler = FieldSampler(
        chains=given.chains, block=4, warmup=(12, 8, 4), max_draws=given.max_draws, min_draws=given.max_draws,
        energy_error=given.energy_error, length=1.0, keep=given.max_draws // 4,
    )  # fmt: skip
    summary = map_mass(maps, PIXEL, ell, power, shift, mesh, given.folder, sampler, True, truth)
    judged = summary["against_truth"]
    shears, noises = (maps.gamma1, maps.gamma2), (maps.std1, maps.std2)
    target = mass_map(MapGrid(truth.shape, PIXEL), shears, noises, ell, power, mesh)
    smooth = lambda w: np.asarray(ks_map(target, w * PIXEL))[..., 0][maps.seen]  # noqa: E731
    widths = (2.0, 2.5, 3.0, 3.5, 4.0)
    best = max((float(np.corrcoef(smooth(w), truth[maps.seen])[0, 1]), w) for w in widths)
    print(f"noise {summary['noise_scale']:.3f} times as given; shift {shift}")
    print(f"Kaiser-Squires at its best width, {best[1]:g} pixels: r = {best[0]:.4f}")
    for name in ("kaiser_squires", "wiener", "mean"):
        print(f"  {name:15s} r = {judged[name]['r']:.4f}, rmse = {judged[name]['rmse']:.5f}")
    print(f"  pixel r over Wiener's: {judged['mean']['r'] / judged['wiener']['r']:.3f}")
    print("  truth within the central intervals of the draws:", judged["coverage"])
    look = {n: (round(c["max_rhat"], 3), round(c["min_ess"])) for n, c in summary["convergence"].items()}
    print(f"  {summary['gradients']} gradients, {summary['wall_s']:.0f} s; R-hat and ESS {look}")
    if given.out:
        write_json(given.out, {"kaiser_squires_best": {"r": best[0], "pixels": best[1]}, **summary})


if __name__ == "__main__":
    main()
