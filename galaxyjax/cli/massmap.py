"""`galaxyjax massmap`: the convergence behind masked, noisy shear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.core.errors import ConfigError

Number = tyro.conf.arg(metavar="N")


@dataclass(frozen=True)
class Massmap:
    """Sample the convergence of shear maps, beside Kaiser & Squires' and Wiener's.

    Shear: one .npz or .h5 with gamma1, gamma2, std1, std2 (ny, nx), or images (FITS, npy) with --noise. The
    prior's power is that of --spectrum (two rows, l and C_l of the sky) or of --like, a simulated convergence
    map, which also teaches how convergence is distributed.
    """

    shear: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SHEAR", help_behavior_hint="(one or two)"),
    ]
    """One file of named maps, or the images of gamma1 and gamma2 (or one image with both)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for everything; a stopped run in it is taken up again."""
    pixel: Annotated[float, tyro.conf.arg(metavar="ARCMIN")]
    """Side of a pixel, arcmin."""
    noise: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE", help_behavior_hint="(one or two)")] = ()
    """Images of the noise's standard deviation, one for both components or one each; 0 is not seen."""
    spectrum: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: that of --like)")
    ] = None
    """Power of the convergence: .npy or text, rows (or columns) l and C_l."""
    like: Annotated[
        Path | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)"),
    ] = None
    """A simulated convergence map, FITS or npy, in pixels as large: teaches power and distribution."""
    prior: Literal["learnt", "lognormal", "gaussian"] = "learnt"
    """How the convergence of a pixel is distributed: as in --like, or by formula."""
    shift: Annotated[
        float | None, tyro.conf.arg(metavar="KAPPA", help_behavior_hint="(default: that of --like)")
    ] = None
    """Of the log-normal prior: depth of the emptiest line of sight."""
    noise_model: Literal["scaled", "uniform", "given"] = "scaled"
    """Noise in the proportions given, its size measured from the shear; one measured number everywhere; or as
    given."""
    truth: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """The true convergence of a simulation, against which the maps are judged."""
    method: Literal["mclmc", "hmc"] = "mclmc"
    """Sampler."""
    chains: Annotated[int, Number] = 4
    """Chains; R-hat compares them."""
    max_draws: Annotated[int, Number] = 1000
    """Draws a chain after which sampling stops even if not converged."""
    ess: Annotated[float, Number] = 100.0
    """Smallest effective sample size that counts as converged."""
    seed: Annotated[int, Number] = 0
    """Of the sampler."""
    mesh: Sizes = None
    """Devices along x and y over which every map is spread."""
    json: bool = False
    """Print the summary as JSON."""

    resume: ClassVar[str] = "the same command takes the chains up again"

    def run(self) -> None:
        console.start_jax()
        mesh = mesh_of(self.mesh, "massmap", ("x", "y"), why="maps lie along x and y", default="x=1")
        import numpy as np

        from galaxyjax.data.shear_maps import read_image, read_shear
        from galaxyjax.infer.field_level.sample import FieldSampler
        from galaxyjax.infer.mass_map.prior import MapGrid
        from galaxyjax.infer.mass_map.run import MAPS, SUMMARY, map_mass
        from galaxyjax.report import style
        from galaxyjax.report.field_level import mass_of

        maps = read_shear(self.shear, self.noise)
        pixel = self.pixel / 60.0 * np.pi / 180.0
        variance, marginal = self._learnt(MapGrid(maps.gamma1.shape, pixel))
        truth = None if self.truth is None else read_image(self.truth)
        sampler = FieldSampler(
            method=self.method, chains=self.chains, max_draws=self.max_draws, ess=self.ess, seed=self.seed,
            block=4, warmup=(12, 8, 4), min_draws=100, energy_error=1e-5, length=1.0, keep=50,
        )  # fmt: skip
        summary = map_mass(maps, pixel, variance, marginal, mesh, self.out, sampler, self.noise_model, truth)
        paths = {
            "maps and draws": self.out / MAPS,
            "figure": style.save(mass_of(self.out / MAPS, truth), self.out / "mass_map.png"),
            "summary": self.out / SUMMARY,
        }
        if self.json:
            console.print_json({**summary, "files": paths})
            return
        _show(summary, paths)

    def _learnt(self, grid):
        """Variance of the prior's modes, and what a pixel may be."""
        import numpy as np

        from galaxyjax.data.shear_maps import read_image
        from galaxyjax.infer.mass_map import marginal
        from galaxyjax.infer.mass_map.prior import MapGrid, gaussian_spectrum, shift_of, spectrum_of

        like = None if self.like is None else read_image(self.like)
        if self.spectrum is not None:
            text = self.spectrum.suffix != ".npy"
            rows = np.loadtxt(self.spectrum) if text else read_image(self.spectrum)
            ell, power = rows if rows.shape[0] == 2 else rows.T
        elif like is not None:
            ell, power = spectrum_of(like, MapGrid(like.shape, grid.pixel))
        else:
            raise ConfigError("massmap: nothing says what convergence looks like; give --spectrum or --like")
        # The power of a map is already that of its pixels.
        variance = gaussian_spectrum(grid, ell, power, averaged=self.spectrum is not None)
        std = float(np.sqrt(np.mean(variance)))
        if self.prior == "gaussian":
            return variance, None
        if like is None and (self.prior == "learnt" or self.shift is None):
            raise ConfigError(
                "massmap: nothing says how convergence is distributed; give --like FILE, or --prior "
                "lognormal with --shift KAPPA, or --prior gaussian"
            )
        if self.prior == "learnt":
            return variance, marginal.learnt(like, std)
        return variance, marginal.lognormal(std, self.shift if self.shift is not None else shift_of(like))


def _show(summary: Mapping, paths: Mapping[str, Path]) -> None:
    judged = summary.get("against_truth")
    if judged:
        rows = [(name, f"{row['r']:.4f}", f"{row['rmse']:.5f}") for name, row in judged.items()
                if name != "coverage"]  # fmt: skip
        console.table(["against the truth", "pixel r", "rmse"], rows)
        shares = ", ".join(f"{share} {value:.3f}" for share, value in judged["coverage"].items())
        console.say(f"truth within the central intervals of the draws: {shares}\n")
    worst = max(look["max_rhat"] for look in summary["convergence"].values())
    least = min(look["min_ess"] for look in summary["convergence"].values())
    console.say(
        f"noise {summary['noise_std']:.4g}, {summary['noise_scale']:.3f} times as given; {summary['draws']} "
        f"draws, R-hat {worst:.3f}, least ESS {least:.0f}, {summary['gradients']} gradients, "
        f"{summary['wall_s']:.0f} s"
        + ("" if summary["converged"] else "\nNOT CONVERGED: raise --max-draws and run the command again")
    )
    for name, path in paths.items():
        console.say(f"  {name:<16}{path}")
