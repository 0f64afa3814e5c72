"""GADGET-4 beside SWIFT from the same phases, through the project's two readers: do their units agree?

    GALAXYJAX_DATA=FOLDER python benchmarks/crosscode.py [--cells 128]

Both dark-matter runs (25 Mpc/h, 32^3 particles) at z = 0 are read, painted by cloud in cell on a mesh of
`cells`^3 and deconvolved by its window; then P(SWIFT) / P(GADGET-4) and the cross-correlation in shells of k.
The particles' Nyquist wavenumber is 4.0 h/Mpc. Asked: ratio 0.95 to 1.0 and correlation of at least 0.997 at
k = 1.5 h/Mpc. Below it, totals against h5py by hand: mass, momentum, mean temperature, to 1e-6.
"""

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np

from galaxyjax.data import open_snapshot, paint
from galaxyjax.fields.paint import window

RATIO, CORRELATION, K = (0.95, 1.0), 0.997, 1.5
SHELLS = np.array([0.25, 0.5, 0.8, 1.2, 1.8, 2.4, 3.2, 4.0])
TOTALS = 1e-6


def main() -> int:
    """Print both tables; return 1 when a limit is missed, 2 without the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=128, help="cells along a side")
    cells = parser.parse_args().cells
    root = Path(os.environ.get("GALAXYJAX_DATA", ""))
    if not (root / "sw_dmo_L25N32_fid").is_dir():
        print("set GALAXYJAX_DATA to the folder that holds the runs", file=sys.stderr)
        return 2
    paths = (root / "g4_dmo_L25N32_fid/snapshot_004.hdf5", root / "sw_dmo_L25N32_fid/snap_0003.hdf5")
    bad = spectra(*paths, cells)
    bad |= totals(root / "g4_sfr_L25N32_fid/snapshot_001.hdf5", root / "sw_nr_L25N32_fid/snap_0000.hdf5")
    return int(bad)


def spectra(ours: Path, theirs: Path, cells: int) -> bool:
    """Print ratio and cross-correlation in shells; return whether a limit is missed."""
    a, b = (modes(path, cells) for path in (ours, theirs))
    k = wavenumbers(cells, 25.0)
    weight = np.full(k.shape, 2.0)
    weight[..., 0] = weight[..., -1] = 1.0  # the other half of a real field's modes
    print(f"z = 0, mesh {cells}^3, CIC deconvolved\n{'k h/Mpc':>8} {'modes':>7} {'P ratio':>8} {'r':>8}")
    missed = False
    for low, high in zip(SHELLS[:-1], SHELLS[1:], strict=True):
        shell = (k >= low) & (k < high)
        cross, first, second = (
            np.sum(weight[shell] * np.real(x[shell] * np.conj(y[shell]))) for x, y in ((a, b), (a, a), (b, b))
        )
        centre = np.sum(weight[shell] * k[shell]) / weight[shell].sum()
        ratio, r = second / first, cross / np.sqrt(first * second)
        judged = low <= K < high
        bad = judged and not (RATIO[0] <= ratio <= RATIO[1] and r >= CORRELATION)
        missed |= bad
        mark = "  MISSED" if bad else "  asked: 0.95..1.0, >= 0.997" if judged else ""
        print(f"{centre:8.3f} {int(weight[shell].sum()):7d} {ratio:8.4f} {r:8.5f}{mark}")
    return missed


def modes(path: Path, cells: int) -> np.ndarray:
    """Fourier modes of the density contrast, the cloud's window divided out."""
    mass = np.asarray(paint(open_snapshot(path), "dark_matter", "mass", cells).values, np.float64)
    angle = 2 * np.pi * np.fft.fftfreq(cells)
    one = np.asarray(window(angle.astype(np.float32), "cic"), np.float64)
    smooth = one[:, None, None] * one[None, :, None] * one[None, None, : cells // 2 + 1]
    return np.fft.rfftn(mass / mass.mean() - 1.0) / smooth


def wavenumbers(cells: int, side: float) -> np.ndarray:
    """|k| in h/Mpc on the half grid of a real transform."""
    k = 2 * np.pi * np.fft.fftfreq(cells, side / cells)
    half = np.abs(k[: cells // 2 + 1])
    return np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + half[None, None, :] ** 2)


def totals(gadget: Path, swift: Path) -> bool:
    """Print total mass, momentum and mean temperature beside h5py's; return whether one is off."""
    scale = 1e10 * (2.0 / 3.0) * 1.67262192e-24 / 1.380649e-16
    worst = {}
    with h5py.File(gadget) as file:
        part, a = file["PartType0"], file["Header"].attrs["Time"]
        mass, speed = part["Masses"][()].astype(float), part["Velocities"][()].astype(float) * np.sqrt(a)
        mu = 4 / (1 + 3 * 0.76 + 4 * 0.76 * part["ElectronAbundance"][()].astype(float))
        hot = part["InternalEnergy"][()] * mu * scale
    worst["GADGET-4 gas"] = compare(open_snapshot(gadget), mass, speed, hot, {})
    with h5py.File(swift) as file:
        part, h = file["PartType0"], file["Cosmology"].attrs["h"][0]
        a = file["Header"].attrs["Scale-factor"][0]
        mass, speed = part["Masses"][()].astype(float) * h, part["Velocities"][()].astype(float)
        hot = part["InternalEnergies"][()].astype(float) / a**2 * 0.59 * scale
    worst["SWIFT gas"] = compare(open_snapshot(swift), mass, speed, hot, {"mean_molecular_weight": 0.59})
    print(f"\nagainst h5py by hand, relative{'mass':>14} {'momentum':>10} {'<T>':>10}   asked {TOTALS:g}")
    for name, values in worst.items():
        print(f"{name:30} " + " ".join(f"{value:10.1e}" for value in values))
    return any(value > TOTALS for values in worst.values() for value in values)


def compare(snapshot, mass, speed, hot, options) -> tuple[float, float, float]:
    """Relative differences; of momentum, over the sum of its absolute values."""
    gas = snapshot.read("gas", ["masses", "velocities", "temperature"], **options)
    p = gas.masses.astype(float)[:, None] * gas.velocities
    momentum = np.abs(p.sum(0) - (mass[:, None] * speed).sum(0)).max() / np.abs(mass[:, None] * speed).sum()
    return (
        abs(gas.masses.sum(dtype=float) / mass.sum() - 1),
        momentum,
        abs(gas["temperature"].mean(dtype=float) / hot.mean() - 1),
    )


if __name__ == "__main__":
    sys.exit(main())
