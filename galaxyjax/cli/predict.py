"""`galaxyjax predict`: spectra at one cosmology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.core.errors import ConfigError, unknown_name

# Planck 2018 (A&A 641, A6), table 2, TT,TE,EE+lowE+lensing; HMcode2020's own choice of feedback.
FIDUCIAL = {
    "omega_b": 0.02237,
    "omega_cdm": 0.1200,
    "h": 0.6736,
    "n_s": 0.9649,
    "ln10A_s": 3.044,
    "logT_AGN": 7.8,
}


@dataclass(frozen=True)
class Predict:
    """Matter power spectra at one cosmology, in (Mpc/h)^3, or a matter field: a table, a file or a figure.

    Parameters left out take Planck 2018 values, the emulator's own defaults, or the middle of its domain. A
    field (`predict nbody_field`) takes --cells and --seed, and is written to FILE.h5 or FILE.npz.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EMULATOR")] = "matter_power"
    """An emulator on the shelf, or its folder."""
    set: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(repeatable)"),
    ] = ()
    """Parameters, e.g. --set omega_cdm=0.12 h=0.68."""
    z: Annotated[tuple[float, ...], tyro.conf.arg(metavar="Z ...")] = (0.0,)
    """Redshifts; one for a field."""
    k: Annotated[
        tuple[float, ...],
        tyro.conf.arg(metavar="K ...", help_behavior_hint="(default: 200 over the whole range)"),
    ] = ()
    """Wavenumbers in h/Mpc."""
    output: Annotated[
        str | None, tyro.conf.arg(metavar="OUTPUT", help_behavior_hint="(default: nonlinear)")
    ] = None
    """Which output; `galaxyjax shelf` lists them (spectra only)."""
    baryons: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: none)")
    ] = None
    """Multiply the non-linear spectrum by a measured response, e.g. baryon_response (spectra only)."""
    cells: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 64)")] = None
    """Particles a side (fields only); the box is that many times the emulator's spacing."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 0)")] = None
    """Of the white noise (fields only)."""
    matter: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """A contrast `density` in HDF5 or npz, for an emulator of baryons; grown from the seed when left out."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Write all numbers to FILE.npz or FILE.csv; a field to FILE.h5 or FILE.npz."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")] = None
    """Draw the spectra, or slices and the spectrum of a field, to FILE.png, .pdf or .svg."""
    mesh: Sizes = None
    """Devices along data (spectra: the wavenumbers) or x and y (fields); one device when left out."""
    json: bool = False
    """Print all numbers as JSON instead of a table."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        given = settings([word for words in self.set for word in words])
        family = _family(self.name)
        fields = family in ("displacement", "hydro")
        self._refuse_what_does_not_fit(fields)
        if self.matter is not None and family != "hydro":
            raise ConfigError(f"--matter has no meaning for {self.name}; leave it out")
        if self.plot is not None and self.plot.suffix not in (".png", ".pdf", ".svg"):
            raise ConfigError(
                f"--plot {self.plot}: no figure format {self.plot.suffix!r}; use .png, .pdf or .svg"
            )
        console.start_jax()
        if fields:
            self._field(given, family)
            return
        mesh = mesh_of(self.mesh, "predict", ("data",), why="spectra: k lies along data", default="data=1")
        import numpy as np

        import galaxyjax
        from galaxyjax.mesh.rows import over_data

        emulator = galaxyjax.load(self.name)
        if self.baryons is not None:
            from galaxyjax.emulator.baryons import with_baryons

            emulator = with_baryons(emulator, self.baryons)
        theta = complete(emulator.contract, given)
        k = np.asarray(self.k) if self.k else np.geomspace(*emulator.contract.k_range, 200)
        z = np.asarray(self.z)
        names = [entry.name for entry in emulator.contract.outputs]
        output = self.output or ("nonlinear" if "nonlinear" in names else names[0])
        # Each wavenumber is a row of its own: (nk, nz).
        predict = lambda k: emulator.predict(theta, k=k, z=z, output=output).T  # noqa: E731
        power = np.asarray(over_data(predict, k, mesh).T, float)
        derived = emulator.derived(theta) if emulator.contract.derived else {}
        derived = {name: float(value) for name, value in derived.items()}
        result = {
            "emulator": emulator.contract.name if self.baryons else self.name,
            "output": output,
            "theta": theta,
            "derived": derived,
        }
        unit = emulator.contract.output(output).unit
        if self.out is not None:
            _write(self.out, result, unit, k, z, power)
        if self.plot is not None:
            from galaxyjax.report import plots, style

            style.save(plots.spectra(k, z, power, output=output, title=self.name), self.plot)
        if self.json:
            console.print_json({**result, "unit": unit, "z": z, "k": k, "power": power})
            return
        _show(result, unit, k, z, power)
        for path in (self.out, self.plot):
            if path is not None:
                console.say(f"wrote {path}")

    def _refuse_what_does_not_fit(self, fields: bool) -> None:
        """Raise ConfigError naming the option that this kind of emulator cannot use."""
        kind = "fields" if fields else "spectra"
        others = {"--cells": self.cells, "--seed": self.seed}
        if fields:
            others = {"--k": self.k or None, "--output": self.output, "--baryons": self.baryons}
        for option, value in others.items():
            if value is not None:
                raise ConfigError(
                    f"{option} has no meaning for {self.name}, an emulator of {kind}; leave it out"
                )
        if not self.z:
            raise ConfigError("--z needs at least one redshift, e.g. --z 0 0.5")
        suffixes = (".h5", ".hdf5", ".npz") if fields else (".npz", ".csv")
        if self.out is not None and self.out.suffix not in suffixes:
            what = "field" if fields else "table"
            raise ConfigError(
                f"--out {self.out}: no {what} format {self.out.suffix!r}; use {' or '.join(suffixes)}"
            )

    def _field(self, given: dict[str, float], family: str) -> None:
        mesh = mesh_of(self.mesh, "predict", ("x", "y"), why="a field lies along x and y", default="x=1")
        import galaxyjax
        from galaxyjax.cli import predict_field

        emulator = galaxyjax.load(self.name)
        if family == "hydro":
            self._baryons(emulator, given, mesh)
            return
        predict_field.run(
            emulator,
            complete(emulator.contract, given, predict_field.FIDUCIAL),
            cells=predict_field.CELLS if self.cells is None else self.cells,
            seed=self.seed or 0,
            z=self.z,
            out=self.out,
            plot=self.plot,
            mesh=mesh,
            json=self.json,
        )

    def _baryons(self, emulator, given: dict[str, float], mesh) -> None:
        from galaxyjax.cli import predict_field, predict_hydro

        others = {name: given.pop(name) for name in ("Omega_b", "h", "n_s") if name in given}
        mine = {name: value for name, value in others.items() if name in emulator.contract.domain}
        theta = complete(emulator.contract, {**given, **mine}, predict_field.FIDUCIAL)
        predict_hydro.run(
            emulator,
            {**others, **theta},
            cells=predict_hydro.CELLS if self.cells is None else self.cells,
            seed=self.seed or 0,
            z=self.z,
            matter=self.matter,
            out=self.out,
            plot=self.plot,
            mesh=mesh,
            json=self.json,
        )


def _family(name: str) -> str:
    from galaxyjax.emulator.contract import read_contract
    from galaxyjax.emulator.shelf import find

    return read_contract(find(name)).family


def settings(words) -> dict[str, float]:
    """Numbers from NAME=VALUE words. Raises ConfigError naming the word that is not one."""
    values = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not (name and equals) or number is None:
            raise ConfigError(f"--set {word}: give NAME=VALUE with a number, e.g. --set omega_cdm=0.12")
        if name in values:
            raise ConfigError(f"--set {word}: {name} is set twice")
        values[name] = number
    return values


def complete(contract, given: Mapping[str, float], known: Mapping = FIDUCIAL) -> dict[str, float]:
    """Every input: the value given, else the contract's default, else the known one, else the middle."""
    for name in given:
        if name not in contract.domain:
            raise unknown_name("parameter", name, contract.domain)
    theta = {}
    for name, entry in contract.domain.items():
        fallback = entry.middle if entry.default is not None else known.get(name, entry.middle)
        theta[name] = given.get(name, fallback)
    return theta


def _show(result: dict, unit: str, k, z, power) -> None:
    import numpy as np

    console.say(", ".join(f"{name} = {value:g}" for name, value in result["theta"].items()))
    if result["derived"]:
        console.say(", ".join(f"{name} = {value:.4f}" for name, value in result["derived"].items()))
    rows = np.unique(np.linspace(0, len(k) - 1, min(len(k), 11)).round().astype(int))
    cells = [[console.number(k[i]), *(f"{power[j, i]:.5g}" for j in range(len(z)))] for i in rows]
    console.say(f"\n{result['output']}" + (f" [{unit}]" if unit else ""))
    console.table(["k [h/Mpc]", *(f"z = {value:g}" for value in z)], cells, left=0)


def _write(path: Path, result: dict, unit: str, k, z, power) -> None:
    import json

    import numpy as np

    from galaxyjax.core.files import atomic_path, write_npz

    about = json.dumps({**result, "unit": unit, "k_unit": "h/Mpc"})
    if path.suffix == ".npz":
        write_npz(path, {"k": k, "z": z, "power": power, "about": np.asarray(about)})
        return
    columns = np.stack([np.repeat(z, len(k)), np.tile(k, len(z)), power.ravel()], axis=1)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        handle.write(f"# {about}\n")
        handle.write("z,k,power\n")
        np.savetxt(handle, columns, delimiter=",", fmt="%.8g")
