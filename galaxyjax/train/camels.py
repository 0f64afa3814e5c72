"""CAMELS as pairs to train `models.hydro` on: grids and maps of the Multifield dataset, by their manifest.

A file holds one field of all simulations of a set, memory-mapped; the set's table has their cosmology and
feedback. A map is a slab seen along one axis: the network takes it as `layers` equal layers, and its means
are its own. Layout: Villaescusa-Navarro et al. (2022), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galaxyjax.core.errors import ConfigError
from galaxyjax.core.units import RHO_CRIT
from galaxyjax.data.baryons import BaryonFields
from galaxyjax.data.fetch import fetch_file
from galaxyjax.data.grids import open_grids, open_maps
from galaxyjax.data.manifest import load_manifest
from galaxyjax.data.parameters import parameter_table
from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.models.hydro import Hydro
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import FieldTraining
from galaxyjax.train.hydro import HydroSource
from galaxyjax.train.hydro_heads import Flow, FlowLoss, HydroLoss, MeanHead
from galaxyjax.train.identity import fingerprint

BOX = 25.0  # Mpc/h
PRODUCTS = ("grid", "map")
OMEGA_B, HUBBLE, TILT = 0.049, 0.6711, 0.9624  # of every LH set
# Of the LH sets (Villaescusa-Navarro et al. 2021, table 1; A_AGN2 to 4 in Astrid, Ni et al. 2023).
RANGES = {
    "Omega_m": (0.1, 0.5),
    "sigma_8": (0.6, 1.0),
    "A_SN1": (0.25, 4.0),
    "A_AGN1": (0.25, 4.0),
    "A_SN2": (0.5, 2.0),
    "A_AGN2": (0.25, 4.0),
}
PRESSURE = 0.1  # (Msun/h)/(kpc/h)^3 (km/s)^2 in the project's 1e10 Msun/h (Mpc/h)^-3 (km/s)^2


@dataclass(frozen=True)
class CamelsExamples:
    """Simulations `first` to `last` - 1 of a set of CAMELS Multifield, e.g. "IllustrisTNG_LH".

    product: "grid" or "map". cells: of the files, a side; coarsen: how many are averaged along each axis.
    twin: input is the total matter of the dark-matter-only twin; else the run's own dark matter. redshift:
    as the files' names have it. layers: of a map. Files are opened when first read. Raises ConfigError when
    these contradict each other.
    """

    set: str
    first: int
    last: int
    product: str = "grid"
    cells: int = 256
    coarsen: int = 4
    twin: bool = True
    redshift: str = "0.0"
    layers: int = 4

    def __post_init__(self):
        object.__setattr__(self, "_open", {})
        if self.product not in PRODUCTS or not 0 <= self.first < self.last:
            raise ConfigError(
                f"CAMELS: product={self.product!r} must be grid or map, and first={self.first} below "
                f"last={self.last}"
            )
        if self.coarsen < 1 or self.cells % self.coarsen:
            raise ConfigError(f"CAMELS: coarsen={self.coarsen} must divide the files' {self.cells} cells")

    def __len__(self) -> int:
        return (self.last - self.first) * self._per

    @property
    def simulations(self) -> tuple[str, ...]:
        """The simulations that are among the examples, by name."""
        return tuple(f"{self.set}/{number}" for number in range(self.first, self.last))

    @property
    def spacing(self) -> float:
        """Of the cells after averaging, Mpc/h."""
        return BOX / self.cells * self.coarsen

    @property
    def _per(self) -> int:
        """Examples of each simulation."""
        return 1 if self.product == "grid" else 15

    def fields(self, index: int, variant: int = 0) -> BaryonFields:
        """Fields of one example, coarsened; there is one variant. Gas and stars share out the baryons."""
        matter = self._read("Mtot" if self.twin else "Mcdm", index, self.twin)
        gas, stars = (self._read(name, index, False) for name in ("Mgas", "Mstar"))
        heat, pressure = self._read("T", index, False), self._read("P", index, False)
        mean = lambda values: self._coarse(values).astype(np.float64)  # noqa: E731
        weighted = mean(heat * gas) / np.maximum(mean(gas), 1e-30)
        gas, stars = mean(gas), mean(stars)
        total = float(np.mean(gas + stars))
        matter = mean(matter)
        parts = (
            matter / matter.mean(),
            gas / total,
            stars / total,
            np.where(gas > 0, weighted, 0.0),
            mean(pressure) * (PRESSURE / (OMEGA_B * RHO_CRIT)),
        )
        shaped = [np.ascontiguousarray(self._shaped(part), np.float32) for part in parts]
        return BaryonFields(*shaped, float(self.redshift), BOX)

    def theta(self, index: int) -> Mapping[str, float]:
        """Cosmology and feedback of one example's simulation."""
        if "table" not in self._open:
            self._open["table"] = parameter_table("cmd", self.set)
        table = self._open["table"]
        row = table.values[self.first + index // self._per]
        theta = dict(zip(table.columns, map(float, row), strict=True))
        fixed = {"Omega_b": OMEGA_B, "h": HUBBLE, "n_s": TILT}
        return {**fixed, **{name: value for name, value in theta.items() if name != "seed"}}

    def identity(self) -> str:
        """Hash of which simulations and fields; files that nobody published a checksum of are pinned."""
        return fingerprint(self)

    def _read(self, name: str, index: int, twin: bool) -> np.ndarray:
        """One field of one example, float32."""
        key = (name, twin)
        if key not in self._open:
            manifest, axes = load_manifest("cmd"), {"field": name, "redshift": self.redshift}
            if self.product == "grid":
                axes["n"] = str(self.cells)
            chosen = f"Nbody_{self.set}" if twin else self.set
            path = fetch_file(manifest, manifest.sources(chosen, self.product, **axes)[0])
            self._open[key] = (open_grids if self.product == "grid" else open_maps)(path)
        found = self._open[key][self.first * self._per + index]
        return np.asarray(found.values if self.product == "grid" else found)

    def _coarse(self, values: np.ndarray) -> np.ndarray:
        n, c = values.shape[0] // self.coarsen, self.coarsen
        split = [part for _ in range(values.ndim) for part in (n, c)]
        return values.reshape(split).mean(axis=tuple(range(1, 2 * values.ndim, 2)))

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """A map as equal layers along z."""
        return values if values.ndim == 3 else np.repeat(values[:, :, None], self.layers, axis=2)


@dataclass(frozen=True)
class CamelsRecipe:
    """What `galaxyjax train` and `validate` ask of a recipe, for one LH set of a suite and one product."""

    suite: str
    product: str = "grid"
    cells: int = 256
    coarsen: int = 4
    steps: int = 20_000

    def examples(self, first: int, last: int) -> CamelsExamples:
        """Simulations `first` to `last` - 1, at z = 0."""
        redshift = "0.0" if self.product == "grid" else "0.00"
        options = dict(cells=self.cells, coarsen=self.coarsen, redshift=redshift)
        return CamelsExamples(f"{self.suite}_LH", first, last, self.product, **options)

    def model(self) -> Hydro:
        """Conditioned on cosmology and feedback; pressure has its own channel."""
        return Hydro(
            spacing=BOX / self.cells * self.coarsen,
            style=tuple(RANGES),
            centre=(0.3, 0.8, 0.0, 0.0, 0.0, 0.0, 1.0),
            width=(0.2, 0.2, 1.4, 1.4, 0.7, 0.7, 1.0),
            logarithmic=tuple(name for name in RANGES if name.startswith("A_")),
            widths=(16, 32, 64),
            blocks=(1, 1, 2),
            flow_widths=(16, 32, 64),
            flow_blocks=(1, 1, 2),
            ideal=False,
            flat=self.product == "map",
        )

    def trainings(self, train: CamelsExamples, validation: CamelsExamples):
        """The trainings of the mean head and of the flow after it."""
        model, fit = self.model(), FieldFitConfig(steps=self.steps, batch=8, warmup=500, evaluate_every=500)
        source = HydroSource(model, train, validation, variants=1)
        side = self.cells // self.coarsen
        mean = FieldTraining(MeanHead(model), source, side, fit, HydroLoss(model))
        return mean, FieldTraining(Flow(model), source, side, fit, FlowLoss())

    def contract(self) -> Contract:
        """What such an emulator promises."""
        inputs = tuple(
            Input(name, "", *RANGES[name], None, f"as CAMELS {self.suite} has it") for name in RANGES
        )
        inputs += (Input("Omega_b", "", 0.045, 0.053, OMEGA_B, "baryons; trained at 0.049"),)
        names = tuple(entry.name for entry in inputs)
        units = {"gas": "1e10 Msun/h (Mpc/h)^-3", "stars": "1e10 Msun/h (Mpc/h)^-3", "temperature": "K"}
        units["pressure"] = "1e10 Msun/h (Mpc/h)^-3 (km/s)^2"
        kind = "of grids" if self.product == "grid" else "of maps, as equal layers along z"
        return Contract(
            name=f"hydro_camels_{self.suite.lower()}_{self.product}",
            version="1.0.0",
            description=f"Gas, temperature, pressure and stars from matter, CAMELS {self.suite}, {kind}",
            licence="Apache-2.0",
            family="hydro",
            hyperparameters=self.model().hyperparameters(),
            inputs=inputs,
            constraints=(),
            outputs=tuple(Output(name, unit, names, kind) for name, unit in units.items()),
            derived=(),
            refused=(),
            k_range=(0.2, 8.0),
            z_range=(0.0, 0.01),
            truth={"code": f"CAMELS {self.suite}", "dataset": "cmd", "set": f"{self.suite}_LH"},
            calibrated=(),
            error={},
            notes=(
                "Gas and stars share out all baryons: those in black holes, and how far a box departs from "
                "Omega_b, are left out.",
            ),
        )
