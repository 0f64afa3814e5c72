"""A small emulator of baryons with the weights of its birth."""

from pathlib import Path

import jax

from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.emulator.store import save
from galaxyjax.models.hydro import Hydro

CELLS, SPACING = 8, 2.0
BOX = CELLS * SPACING
MODEL = Hydro(
    spacing=SPACING, widths=(2, 2), blocks=(0, 1), tides=(2.0,), flow_widths=(2,), flow_blocks=(0,),
    common=tuple((0.05, 0.1 * (i % 3)) for i in range(9)), early=True,
)  # fmt: skip


def contract(model: Hydro = MODEL) -> Contract:
    inputs = (
        Input("Omega_m", "", 0.2, 0.4, None, ""),
        Input("Omega_b", "", 0.04, 0.06, 0.049, ""),
        Input("sigma_8", "", 0.7, 0.9, None, ""),
    )
    names = tuple(entry.name for entry in inputs)
    return Contract(
        "small_hydro", "0.1.0", "for tests", "Apache-2.0", "hydro", model.hyperparameters(), inputs, (),
        (Output("gas", "", names, ""),), (), (), (0.1, 2.0), (0.0, 2.0), {"code": "nobody"}, (), {}, (),
    )  # fmt: skip


def small(folder: Path, model: Hydro = MODEL):
    """The emulator as read back from a folder."""
    return save(folder, model.init(jax.random.key(1)), contract(model))
