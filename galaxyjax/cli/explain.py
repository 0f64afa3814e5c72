"""`galaxyjax explain`: why an emulator says what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.predict import complete, settings
from galaxyjax.core.errors import ConfigError

CELLS = 32


@dataclass(frozen=True)
class Explain:
    """Responses, saliency and integrated gradients of a spectrum, or what moves and makes the densest halo.

    For spectra, and responses to baryons: d ln P / d theta against k (with --truth beside CAMB's
    differences), and each parameter's share of the change from the middle of the domain or the defaults,
    which must add up (completeness). For a field: what of the initial field moves the densest halo of a
    box, and each cell's share of its contrast.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EMULATOR")] = "matter_power"
    """An emulator on the shelf, or its folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("explained")
    """Folder for figures and explained.npz."""
    set: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(repeatable)"),
    ] = ()
    """Parameters, e.g. --set omega_cdm=0.12 h=0.68; the others as `galaxyjax predict` has them."""
    z: Annotated[float, tyro.conf.arg(metavar="Z")] = 0.0
    """Redshift."""
    output: Annotated[
        str | None,
        tyro.conf.arg(metavar="OUTPUT", help_behavior_hint="(default: nonlinear, or the only one)"),
    ] = None
    """Which output (spectra only)."""
    truth: bool = False
    """Run CAMB for its differences beside the responses (spectra only; minutes, needs the extra camb)."""
    cells: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 32)")] = None
    """Particles a side (fields only)."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 0)")] = None
    """Of the white noise (fields only)."""
    json: bool = False
    """Print the numbers as JSON instead."""

    resume: ClassVar[str] = "nothing was written"

    def run(self) -> None:
        given = settings([word for words in self.set for word in words])
        from galaxyjax.emulator.contract import read_contract
        from galaxyjax.emulator.shelf import find

        family = read_contract(find(self.name)).family
        kinds = {"spectrum": "spectra", "response": "spectra", "displacement": "fields"}
        if family not in kinds:
            raise ConfigError(
                f"{self.name}: explain knows spectra, responses and matter fields, not the family {family}"
            )
        if family == "response" and self.truth:
            raise ConfigError(f"--truth has no meaning for {self.name}: its truth is a table of simulations")
        strange = {"--cells": self.cells, "--seed": self.seed}
        if kinds[family] == "fields":
            strange = {"--output": self.output, "--truth": self.truth or None}
        for option, value in strange.items():
            if value is not None:
                raise ConfigError(f"{option} has no meaning for {self.name}, an emulator of {kinds[family]}")
        console.start_jax(x64=kinds[family] == "spectra")
        import galaxyjax

        emulator = galaxyjax.load(self.name)
        (self._spectrum if kinds[family] == "spectra" else self._field)(emulator, given)

    def _spectrum(self, emulator, given: dict[str, float]) -> None:
        import numpy as np

        from galaxyjax.core.files import write_npz
        from galaxyjax.report import explain as draw
        from galaxyjax.report import style
        from galaxyjax.validate.attribution import explain_spectrum

        only = [entry.name for entry in emulator.contract.outputs]
        output = self.output or ("nonlinear" if len(only) > 1 else only[0])
        ratio = emulator.contract.family == "response"
        symbol = "R" if ratio else "P"
        theta = complete(emulator.contract, given)
        names = emulator.contract.output(output).inputs
        theta = {name: theta[name] for name in names}
        k = np.geomspace(0.03 if ratio else 1e-3, emulator.contract.k_range[1], 240)
        found = explain_spectrum(emulator, theta, k=k, z=self.z, output=output)
        truth = self._truth(emulator, theta, k, output) if self.truth else None
        title = f"{emulator.contract.name}: {output}, z = {self.z:g}"
        figures = [
            style.save(draw.responses(found, truth, title, symbol), self.out / "responses.png"),
            style.save(draw.shares(found, title, symbol), self.out / "shares.png"),
        ]
        arrays = {"k": k, "change": found.change}
        for part in ("response", "saliency", "attribution"):
            arrays |= {f"{part}.{name}": values for name, values in getattr(found, part).items()}
        arrays |= {f"truth.{name}": values for name, values in (truth or {}).items()}
        write_npz(self.out / "explained.npz", arrays)
        result = {
            "emulator": f"{emulator.contract.name} {emulator.contract.version}",
            "output": output,
            "z": self.z,
            "theta": theta,
            "base": found.base,
            "completeness": found.completeness,
            "largest_saliency": {n: float(np.abs(v).max()) for n, v in found.saliency.items()},
            "files": [*figures, self.out / "explained.npz"],
        }
        if truth is not None:
            result["slope_error"] = {
                name: float(np.abs(found.response[name] - slope).max() / np.abs(slope).max())
                for name, slope in truth.items()
            }
        if self.json:
            console.print_json({**result, **arrays})
            return
        at = 5.0 if ratio else 0.2  # where baryons matter, where surveys measure
        here = int(np.argmin(np.abs(k - at)))
        rows = [
            (
                name, f"{theta[name]:g}", f"{found.base[name]:g}", f"{found.response[name][here]:+.3g}",
                f"{np.abs(found.saliency[name]).max():.3g}", f"{found.attribution[name][here]:+.4f}",
            )
            for name in names
        ]  # fmt: skip
        headers = [
            "parameter",
            "here",
            "base",
            f"d ln {symbol} at k = {at:g}",
            "largest over its domain",
            f"share at k = {at:g}",
        ]
        console.table(headers, rows)
        console.say(
            f"shares add up to ln {symbol} - ln {symbol}_base = {found.change[here]:+.4f} at "
            f"k = {k[here]:.2g} h/Mpc, to {found.completeness:.1e} everywhere"
        )
        self._wrote(result["files"])

    def _truth(self, emulator, theta, k, output: str) -> dict:
        """CAMB's differences, parameter -> (nk,); none of a parameter too near an end of its domain."""
        from galaxyjax.simulate.boltzmann import smooth_power
        from galaxyjax.validate.gradients import differences

        sizes = {}
        for name, value in theta.items():
            entry = emulator.contract.domain[name]
            width = entry.high - entry.low
            # Two steps to either side stay inside: beyond, a neutrino's mass could be negative.
            room = 0.5 * min(value - entry.low, entry.high - value)
            if room > 0.005 * width:
                sizes[name] = min(0.05 * width, room)
        slopes = differences(smooth_power, theta, sizes, [self.z], k, {output: tuple(sizes)})
        return {name: slope[0] for name, slope in slopes[output].items()}

    def _field(self, emulator, given: dict[str, float]) -> None:
        import jax
        import numpy as np

        from galaxyjax.cli.predict_field import FIDUCIAL
        from galaxyjax.core.files import write_npz
        from galaxyjax.core.progress import Progress
        from galaxyjax.fields.gaussian import white_noise
        from galaxyjax.mesh.topology import build_mesh
        from galaxyjax.report import explain as draw
        from galaxyjax.report import style
        from galaxyjax.validate.attribution import explain_halo

        cells = CELLS if self.cells is None else self.cells
        if cells < 8:
            raise ConfigError(f"--cells {cells}: give 8 or more")
        mesh = build_mesh("x=1", devices=jax.devices()[:1])
        theta = complete(emulator.contract, given, FIDUCIAL)
        noise = white_noise(jax.random.key(self.seed or 0), cells, mesh)
        with Progress(None, f"gradients of {cells}³ particles"):
            found = explain_halo(emulator, theta, noise, z=self.z, mesh=mesh)
            made = emulator.predict(theta, white_noise=noise, box_size=found.box_size, z=self.z, mesh=mesh)
            density = np.asarray(made.density(cells, "tsc"))
        figure = style.save(draw.halo(found, density), self.out / "halo.png")
        arrays = {"moves": found.moves, "attribution": found.attribution, "density": density}
        write_npz(self.out / "explained.npz", arrays)
        result = {
            "emulator": f"{emulator.contract.name} {emulator.contract.version}",
            "theta": theta,
            "z": self.z,
            "seed": self.seed or 0,
            **{n: v for n, v in found._asdict().items() if n not in ("moves", "attribution")},
            "files": [figure, self.out / "explained.npz"],
        }
        if self.json:
            console.print_json(result)
            return
        place = lambda where: "(" + ", ".join(f"{value:.1f}" for value in where) + ")"  # noqa: E731
        console.say(
            f"densest place at {place(found.peak)} Mpc/h, {found.members} particles, from {place(found.home)}"
        )
        console.say(f"half of what moves it lies within {found.reach:.1f} Mpc/h of where it came from")
        console.say(
            f"contrast {found.height:.2f}; the cells' shares add up to it within {found.completeness:.1%}"
        )
        self._wrote(result["files"])

    def _wrote(self, files) -> None:
        for path in files:
            console.say(f"wrote {path}")
