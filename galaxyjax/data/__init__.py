"""Simulations and surveys in: snapshots, catalogues, grids, windows, painting, manifests, loaders."""

import importlib
from typing import Any

# Opened when asked for, so that a survey's reader does not pay for HDF5 and JAX.
_DOORS = {
    "open_snapshot": "snapshot",
    "open_catalogue": "catalogue",
    "open_maps": "grids",
    "open_grids": "grids",
    "SourceUnits": "source_units",
    "Window": "window",
    "paint": "painting",
    "paint_block": "painting",
    "paint_to_file": "painting",
}


def __getattr__(name: str) -> Any:
    if name in _DOORS:
        return getattr(importlib.import_module(f"galaxyjax.data.{_DOORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_DOORS])
