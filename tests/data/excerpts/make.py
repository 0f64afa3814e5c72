"""Make the excerpts beside this file from the project's own GADGET-4 and SWIFT runs.

    python tests/data/excerpts/make.py FOLDER_OF_THE_RUNS

Every 64th particle of each species (all stars), with header and attributes as the codes wrote them, counts
excepted; the catalogue is whole.
"""

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np

STRIDE = 64
KEPT = {  # of SWIFT's 19 columns
    "Coordinates", "Velocities", "Masses", "ParticleIDs", "Densities", "InternalEnergies", "SmoothingLengths",
}  # fmt: skip


def excerpt(source: Path, target: Path, swift: bool) -> None:
    """Copy every STRIDE-th row of each column, in compressed chunks of 100 rows."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        counts = {}
        for name in ("Header", "Parameters", "Cosmology", "Units", "Code", "Config"):
            if name in old:
                old.copy(old[name], new, name)
        for name in [n for n in old if n.startswith("PartType") and isinstance(old[n], h5py.Group)]:
            total = len(old[name]["ParticleIDs"])
            rows = np.arange(0, total, STRIDE if total > 1000 else 1)
            counts[int(name[8:])] = len(rows)
            group = new.create_group(name)
            for column in old[name]:
                if swift and column not in KEPT:
                    continue
                data = old[name][column][()][rows]
                packed = column in ("Coordinates", "ParticleIDs") or swift
                chunk = (min(100, len(data)), *data.shape[1:])
                options = {"chunks": chunk, "compression": 4, "shuffle": True} if packed else {}
                made = group.create_dataset(column, data=data, **options)
                for key, value in old[name][column].attrs.items():
                    made.attrs[key] = value
        for key in ("NumPart_ThisFile", "NumPart_Total"):
            values = np.zeros_like(old["Header"].attrs[key])
            for species, count in counts.items():
                values[species] = count
            new["Header"].attrs[key] = values


def main(root: Path) -> None:
    """Write the three files."""
    here = Path(__file__).parent
    excerpt(root / "g4_sfr_L25N32_fid/snapshot_001.hdf5", here / "gadget4_sfr_z2.hdf5", swift=False)
    excerpt(root / "sw_nr_L25N32_fid/snap_0000.hdf5", here / "swift_nr_z2.hdf5", swift=True)
    shutil.copyfile(root / "g4_dmo_L25N32_fid/fof_subhalo_tab_001.hdf5", here / "gadget4_fof_subhalo_z2.hdf5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
