"""`hydro_field` on physics that it has not learnt: SWIFT's adiabatic gas, beside GADGET-4's that cools.

GALAXYJAX_DATA=DIR python benchmarks/hydro_codes.py

The same phases (dataset `twin_codes`), each code's gas from its own dark-matter-only run. The fiducial
GADGET-4 run is among the training runs; SWIFT's is not, and its gas neither cools nor forms stars. Printed: P
of gas over the simulation's and correlation of phases, and median log10 T in decades of gas density.
"""

from __future__ import annotations

import jax
import numpy as np

import galaxyjax
from galaxyjax.data.baryons import Pair, open_pair, paint_pair
from galaxyjax.data.gas import mean_molecular_weight
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.validate import hydro

THETA = {"Omega_m": 0.3, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.8}
RUNS = {
    "GADGET-4, z = 2": ("g4_dmo_L25N32_fid/snapshot_001.hdf5", "g4_sfr_L25N32_fid/snapshot_001.hdf5"),
    "SWIFT adiabatic, z = 2": ("sw_dmo_L25N32_fid/snap_0000.hdf5", "sw_nr_L25N32_fid/snap_0000.hdf5"),
    "GADGET-4, z = 0": ("g4_dmo_L25N32_fid/snapshot_004.hdf5", "g4_sfr_L25N32_fid/snapshot_004.hdf5"),
    "SWIFT adiabatic, z = 0": ("sw_dmo_L25N32_fid/snap_0003.hdf5", "sw_nr_L25N32_fid/snap_0003.hdf5"),
}


def main() -> None:
    emulator, mesh = galaxyjax.load("hydro_field"), build_mesh("x=1", devices=jax.devices()[:1])
    ionised = float(mean_molecular_weight(1.16))  # SWIFT stores no electrons
    for title, (dark, gas) in RUNS.items():
        pair = open_pair(Pair("fiducial", "twin_codes", dark, gas, tuple(THETA.items())))
        mu = ionised if "SWIFT" in title else None
        truth = paint_pair(*pair, 32, mean_molecular_weight=mu)
        models = hydro.predictions(emulator, truth, THETA, mesh)
        measure = lambda a: hydro._spectra(  # noqa: E731
            hydro._on(a, mesh),
            hydro._on(truth.gas, mesh),  # noqa: B023
            box_size=truth.box_size,  # noqa: B023
            mesh=mesh,
            edges=hydro.EDGES,
        )
        print(f"\n{title}")
        for name in ("emulator", "physics"):
            k, ratio, coherence = (np.asarray(part) for part in measure(models[name]["gas"]))
            inside = k <= hydro.K_ASKED
            print(f"  {name}: P {np.round(ratio[inside], 3)}  smallest r {coherence[inside].min():.4f}")
            own, found = (
                hydro.decades(one["gas"], one["temperature"]) for one in (truth._asdict(), models[name])
            )
            print(f"    median log10 T off by {np.round(found[:, 1] - own[:, 1], 2)} in decades 0.1 to 100")


if __name__ == "__main__":
    main()
