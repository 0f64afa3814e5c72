"""Mass maps of a kappaTNG patch with COSMOS' mask and noise: Kaiser-Squires, Wiener, a posterior.

GALAXYJAX_DATA=shared/data python benchmarks/mass_map.py [--out mass_map.json]

Asked: pixel r above Wiener's, calibrated errors. Judged where there are data; nothing is chosen on the judged
map: power is theory's, averaged in pixels; how convergence is distributed is that of another simulated map;
noise is measured from the scatter of the shear, one number everywhere (this mock's is not that of COSMOS'
noise images, which `ShearMaps.with_noise` refuses). The Kaiser-Squires map alone is smoothed with the width
that suits the judged map best, in its favour.

--own judges a map drawn from the prior in the place of kappaTNG's, same mask and noise: what is then off is
the sampler's, what is off on kappaTNG beyond that is the prior's. --store keeps the numbers, and the figure
of kappaTNG's map, in benchmarks/results/mass_map, which the manual shows.
"""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path

import jax
import numpy as np

from galaxyjax.core.files import write_json
from galaxyjax.data.shear_maps import ShearMaps, read_image
from galaxyjax.infer.field_level.sample import FieldSampler
from galaxyjax.infer.mass_map.calibrate import MapFamily
from galaxyjax.infer.mass_map.marginal import learnt, lognormal
from galaxyjax.infer.mass_map.posterior import ks_map, mass_map
from galaxyjax.infer.mass_map.prior import MapGrid, gaussian_spectrum, shift_of
from galaxyjax.infer.mass_map.run import MAPS, map_mass
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.report import style
from galaxyjax.report.field_level import mass_of

STORED = Path(__file__).parent / "results" / "mass_map"
PIXEL = 0.29 / 60.0 * np.pi / 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prior", choices=("learnt", "lognormal"), default="learnt")
    parser.add_argument("--own", action="store_true", help="judge a map drawn from the prior")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--max-draws", type=int, default=600)
    parser.add_argument("--energy-error", type=float, default=1e-5)
    parser.add_argument("--folder", type=Path, default=Path("runs/mass_map"))
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--store", action="store_true")
    given = parser.parse_args()
    root = Path(os.environ["GALAXYJAX_DATA"]) / "tasks" / "weak_lensing"
    read = lambda name: read_image(root / f"{name}.fits")  # noqa: E731
    shear = read("ktng_cosmos_e360")
    maps = ShearMaps(shear[..., 0], shear[..., 1], read("std1"), read("std2"))
    truth, other = read("ktng_cosmos_kappa360"), read("ktng_kappa360v2")
    ell, power = read_image(root / "ktng_PS_theory.npy")
    grid, mesh = MapGrid(truth.shape, PIXEL), build_mesh("x=1", devices=jax.devices()[:1])
    variance = gaussian_spectrum(grid, ell, power, averaged=True)
    std = float(np.sqrt(variance.mean()))
    prior = learnt(other, std) if given.prior == "learnt" else lognormal(std, shift_of(other))
    if given.own:
        maps, truth = drawn(maps.seen, grid, variance, prior, mesh)
    sampler = FieldSampler(
        chains=given.chains, block=4, warmup=(12, 8, 4), max_draws=given.max_draws, min_draws=200,
        energy_error=given.energy_error, length=1.0, keep=50,
    )  # fmt: skip
    summary = map_mass(maps, PIXEL, variance, prior, mesh, given.folder, sampler, "uniform", truth)
    judged = summary["against_truth"]
    target = mass_map(grid, (maps.gamma1, maps.gamma2), (maps.std1, maps.std2), variance, mesh)
    smooth = lambda w: np.asarray(ks_map(target, w * PIXEL))[..., 0][maps.seen]  # noqa: E731
    widths = (2.0, 2.5, 3.0, 3.5, 4.0)
    best = max((float(np.corrcoef(smooth(w), truth[maps.seen])[0, 1]), w) for w in widths)
    print(f"{summary['prior']} prior, noise {summary['noise_std']:.4f} everywhere")
    print(f"Kaiser-Squires at its best width, {best[1]:g} pixels: r = {best[0]:.4f}")
    for name in ("kaiser_squires", "wiener", "mean"):
        print(f"  {name:15s} r = {judged[name]['r']:.4f}, rmse = {judged[name]['rmse']:.5f}")
    print(f"  pixel r over Wiener's: {judged['mean']['r'] / judged['wiener']['r']:.3f}")
    print("  truth within the central intervals of the draws:", judged["coverage"])
    look = {n: (round(c["max_rhat"], 3), round(c["min_ess"])) for n, c in summary["convergence"].items()}
    print(f"  {summary['gradients']} gradients, {summary['wall_s']:.0f} s; R-hat and ESS {look}")
    found = {"kaiser_squires_best": {"r": best[0], "pixels": best[1]}, **summary}
    if given.out:
        write_json(given.out, found)
    if given.store:
        STORED.mkdir(parents=True, exist_ok=True)
        write_json(
            STORED / ("own.json" if given.own else "kappatng.json"), {"date": str(date.today()), **found}
        )
        if not given.own:
            style.save(mass_of(given.folder / MAPS, truth), STORED / "maps.png")


def drawn(seen, grid: MapGrid, variance, prior, mesh, noise: float = 0.148) -> tuple[ShearMaps, np.ndarray]:
    """Shear of a map drawn from the prior, with white noise where there are data; and that map."""
    std = np.where(seen, noise, 0.0)
    target, truth = MapFamily(grid, std, variance, mesh, prior).draw(jax.random.key(0))
    shear = (np.asarray(one)[..., 0] for one in target.shear)
    return ShearMaps(*shear, std, std), np.asarray(target.kappa(truth(target)))[..., 0]


if __name__ == "__main__":
    main()
