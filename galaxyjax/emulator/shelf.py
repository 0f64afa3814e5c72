"""The shelf: emulators by name, in the installed package, beside it in a checkout, or the user's own."""

import os
from dataclasses import dataclass
from pathlib import Path

import galaxyjax
from galaxyjax.core.errors import FileError, unknown_name
from galaxyjax.emulator.contract import FILE_NAME, Contract, read_contract


@dataclass(frozen=True)
class Entry:
    """One emulator on the shelf. `problem` says why its contract cannot be read; empty where it can."""

    name: str
    folder: Path
    contract: Contract | None
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes of the emulator's own files."""
        names = [FILE_NAME, *(self.contract.files if self.contract else ())]
        return sum((self.folder / name).stat().st_size for name in names if (self.folder / name).is_file())

    def summary(self) -> dict:
        """Return plain values: name, version, inputs, outputs, domain, error, truth, licence, size ..."""
        if self.contract is None:
            return {"name": self.name, "folder": str(self.folder), "problem": self.problem}
        contract = self.contract
        return {
            "name": self.name,
            "version": contract.version,
            "description": contract.description,
            "inputs": list(contract.domain),
            "units": {entry.name: entry.unit for entry in contract.inputs} | {"k": "h/Mpc", "z": ""},
            "defaults": {e.name: e.default for e in contract.inputs if e.default is not None},
            "spacing": contract.hyperparameters.get("spacing"),  # Mpc/h, of an emulator of fields
            "outputs": [entry.name for entry in contract.outputs],
            "domain": {
                **{entry.name: (entry.low, entry.high) for entry in contract.inputs},
                "k": contract.k_range,
                "z": contract.z_range,
            },
            "constraints": [str(constraint) for constraint in contract.constraints],
            "error": contract.error,
            "truth": contract.truth,
            "licence": contract.licence,
            "size": self.size,
            "folder": str(self.folder),
        }


def places() -> tuple[Path, ...]:
    """Folders of the shelf, the first wins: inside the package, beside it in a checkout, the user's own."""
    package = Path(galaxyjax.__file__).parent
    return package / "_shelf", package.parent / "emulators", own_shelf()


def own_shelf() -> Path:
    """The folder that GALAXYJAX_SHELF names, else one in the user's cache: where `shelf unpack` writes."""
    if os.environ.get("GALAXYJAX_SHELF"):
        return Path(os.environ["GALAXYJAX_SHELF"])
    from galaxyjax.data.fetch import cache_folder

    return cache_folder() / "shelf"


def shelf() -> list[Entry]:
    """Return every emulator on the shelf, by name; one whose contract is broken with its problem."""
    entries = {}
    for place in places():
        for path in sorted(place.glob(f"*/{FILE_NAME}")):
            folder = path.parent
            if folder.name.startswith(".") or folder.name in entries:
                continue
            try:
                entries[folder.name] = Entry(folder.name, folder, read_contract(folder))
            except FileError as error:
                entries[folder.name] = Entry(folder.name, folder, None, str(error))
    return [entries[name] for name in sorted(entries)]


def find(name: str | Path) -> Path:
    """Return the folder of a name on the shelf, or of a path. Raises UnknownName or FileError."""
    if isinstance(name, str) and Path(name).name == name:
        for place in places():
            if (place / name / FILE_NAME).is_file():
                return place / name
    folder = Path(name)
    if folder.is_dir():
        if not (folder / FILE_NAME).is_file():
            raise FileError(f"{folder / FILE_NAME}: no such file; this folder holds no emulator")
        return folder
    if folder.name == str(name):
        for place in places():
            if (place / name).is_dir():
                raise FileError(
                    f"{place / name}: no {FILE_NAME} yet; `galaxyjax train {place / name}` makes it"
                )
        raise unknown_name("emulator", name, [entry.name for entry in shelf()])
    raise FileError(f"{folder}: no such folder")
