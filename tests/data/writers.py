"""Files in the formats that the readers know, written here from given particles."""

import struct
from pathlib import Path

import h5py
import numpy as np

EXCERPTS = Path(__file__).parent / "excerpts"
GADGET, SWIFT = EXCERPTS / "gadget4_sfr_z2.hdf5", EXCERPTS / "swift_nr_z2.hdf5"
CATALOGUE = EXCERPTS / "gadget4_fof_subhalo_z2.hdf5"
LABELS = ["POS ", "VEL ", "ID  ", "MASS", "U   ", "RHO ", "NE  ", "NH  ", "HSML", "SFR "]


def particles(seed: int = 1, gas: int = 50, dark: int = 70, stars: int = 10, side: float = 25000.0) -> dict:
    """Random particles in kpc/h: type -> columns by HDF5 names."""
    rng = np.random.default_rng(seed)
    found = {}
    for species, count in ((0, gas), (1, dark), (4, stars)):
        found[species] = {
            "Coordinates": rng.uniform(0, side, (count, 3)).astype(np.float32),
            "Velocities": rng.normal(0, 100, (count, 3)).astype(np.float32),
            "ParticleIDs": rng.permutation(count).astype(np.uint32) + 1000 * species + 1,
        }
    for species in (0, 4):
        count = len(found[species]["ParticleIDs"])
        found[species]["Masses"] = rng.uniform(0.1, 1.0, count).astype(np.float32)
    for name in ("InternalEnergy", "Density", "ElectronAbundance", "NeutralHydrogenAbundance"):
        found[0][name] = rng.uniform(0.5, 1.2, gas).astype(np.float32)
    found[0]["SmoothingLength"] = rng.uniform(1, 10, gas).astype(np.float32)
    found[0]["StarFormationRate"] = rng.uniform(0, 1, gas).astype(np.float32)
    return found


def write_binary(path, found: dict, order: str = "<", style: int = 1, a: float = 0.5, **header) -> Path:
    """Write a Gadget-II file: records framed by their length, blocks in the user guide's order."""
    types = range(6)
    count = [len(found[t]["ParticleIDs"]) if t in found else 0 for t in types]
    table = [0.0, 0.25, 0.0, 0.0, 0.0, 0.0]
    values = {"total": count, "files": 1, "box": 25000.0, "Omega0": 0.3, "OmegaLambda": 0.7, "h": 0.7}
    values |= header
    said = [values[name] for name in ("files", "box", "Omega0", "OmegaLambda", "h")]
    numbers = [*count, *table, a, 1 / a - 1, 1, 0, *values["total"], 1, *said, 0, 0, *[0] * 6, 0]
    head = struct.pack(order + "6i6d2d2i6I2i4d2i6Ii", *numbers)
    names = ["Coordinates", "Velocities", "ParticleIDs", "Masses", "InternalEnergy", "Density"]
    names += ["ElectronAbundance", "NeutralHydrogenAbundance", "SmoothingLength", "StarFormationRate"]
    blocks = [("HEAD", head.ljust(256, b"\0"))]
    for label, name in zip(LABELS, names, strict=True):
        parts = [found[t][name] for t in types if t in found and name in found[t]]
        if parts:
            data = np.concatenate(parts)
            blocks.append((label, data.astype(data.dtype.newbyteorder(order)).tobytes()))
    with open(path, "wb") as out:
        for label, data in blocks:
            if style == 2:
                out.write(struct.pack(order + "i4sii", 8, label.encode(), len(data) + 8, 8))
            out.write(struct.pack(order + "i", len(data)) + data + struct.pack(order + "i", len(data)))
    return Path(path)


def write_hdf5(path, found: dict, a: float = 0.5, units: bool = True, total=None, **header) -> Path:
    """Write an HDF5 snapshot as AREPO does: units in the header, or none (`units=False`: Quijote, SIMBA)."""
    filters, files = header.pop("filters", {}), header.pop("files", 1)
    count = [len(found[t]["ParticleIDs"]) if t in found else 0 for t in range(6)]
    said = {"Time": a, "Redshift": 1 / a - 1, "BoxSize": 25000.0, "NumFilesPerSnapshot": files}
    said |= {"Omega0": 0.3, "OmegaLambda": 0.7, "OmegaBaryon": 0.049, "HubbleParam": 0.7}
    if units:
        said |= {"UnitLength_in_cm": 3.085678e21, "UnitMass_in_g": 1.989e43}
        said["UnitVelocity_in_cm_per_s"] = 1e5
    with h5py.File(path, "w") as out:
        head = out.create_group("Header").attrs
        head["NumPart_ThisFile"] = np.array(count, np.int32)
        head["NumPart_Total"] = np.array(total or count, np.uint32)
        head["NumPart_Total_HighWord"] = np.zeros(6, np.uint32)
        head["MassTable"] = np.array([0, 0.25, 0, 0, 0, 0.0])
        for name, value in {**said, **header}.items():
            if value is not None:
                head[name] = value
        for species, columns in found.items():
            for name, data in columns.items():
                out.create_dataset(f"PartType{species}/{name}", data=data, **filters)
    return Path(path)
