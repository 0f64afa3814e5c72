"""`galaxyjax reconstruct`: initial conditions and cosmology from a tracer on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.core.errors import ConfigError, unknown_name

Number = tyro.conf.arg(metavar="N")
BASE = {"Omega_m": 0.3153, "Omega_b": 0.0493, "h": 0.6736, "n_s": 0.9649, "sigma_8": 0.8111}
FREE = {"Omega_m": (0.1, 0.6), "sigma_8": (0.3, 1.3)}
BIAS_STD = {"b1": 0.5, "b2": 2.0, "bs2": 2.0, "bn2": 5.0}
MOCK = "mock"


@dataclass(frozen=True)
class Reconstruct:
    """Sample the initial conditions, and the cosmology, that a noisy, biased tracer grew from.

    The tracer: an .h5 (or .npz) file with `contrast` and `noise_std` (n, n, n), attributes `box_size` (Mpc/h)
    and `z`. The word `mock` makes one instead, from --cells, --box-size, --z, --density and --mock-seed.
    """

    tracer: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TRACER")]
    """A tracer's file, or the word mock."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for everything; a stopped run in it is taken up again."""
    evolution: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "lpt2"
    """linear, lpt1, lpt2, mesh (5 steps of the particle mesh), or an emulator such as nbody_field."""
    redshift_space: bool = False
    """Positions are seen in redshift space, along the third axis."""
    bias: tuple[str, ...] = ("b1", "b2")
    """Lagrangian bias that is sampled: any of b1, b2, bs2, bn2."""
    fix: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """Parameters held fixed, e.g. Omega_m=0.31; Omega_b, h and n_s are, at Planck 2018, unless said."""
    method: Literal["mclmc", "hmc"] = "mclmc"
    """Sampler: mclmc (fast, a bias that its step size controls) or hmc (exact)."""
    chains: Annotated[int, Number] = 4
    """Chains; R-hat compares them."""
    max_draws: Annotated[int, Number] = 4000
    """Draws a chain after which sampling stops even if not converged."""
    r_hat: Annotated[float, tyro.conf.arg(metavar="R")] = 1.01
    """Largest R-hat that counts as converged, of parameters, power in shells and single cells."""
    ess: Annotated[float, tyro.conf.arg(metavar="N")] = 100.0
    """Smallest effective sample size that counts as converged."""
    seed: Annotated[int, Number] = 0
    """Of the sampler."""
    cells: Annotated[int, Number] = 32
    """mock: cells a side."""
    box_size: Annotated[float, tyro.conf.arg(metavar="L")] = 320.0
    """mock: side of the box, Mpc/h."""
    z: Annotated[float, tyro.conf.arg(metavar="Z")] = 1.0
    """mock: redshift."""
    density: Annotated[float, tyro.conf.arg(metavar="N")] = 1e-3
    """mock: tracers in a (Mpc/h)^3; their noise is Poisson's, as a Gaussian."""
    mock_seed: Annotated[int, Number] = 1
    """mock: seed of its initial conditions and noise."""
    mesh: Sizes = None
    """Devices along x and y over which every field is spread."""
    json: bool = False
    """Print the summary as JSON."""

    resume: ClassVar[str] = "the same command takes the chains up again"

    def run(self) -> None:
        console.start_jax()
        mesh = mesh_of(self.mesh, "reconstruct", ("x", "y"), why="fields lie along x and y", default="x=1")
        from galaxyjax.infer.field_level.run import MAPS, SUMMARY, reconstruct
        from galaxyjax.infer.field_level.sample import FieldSampler

        evolution, prior = self._evolution(), self._prior()
        survey = self._survey(mesh, evolution)
        console.note(f"{survey.cells}³ cells of {survey.box_size / survey.cells:g} Mpc/h at z = {survey.z:g}")
        sampler = FieldSampler(
            method=self.method, chains=self.chains, max_draws=self.max_draws, r_hat=self.r_hat, ess=self.ess,
            seed=self.seed,
        )  # fmt: skip
        summary = reconstruct(survey, evolution, prior, mesh, self.out, sampler, self.redshift_space)
        figure = _draw(self.out, summary, survey)
        paths = {"maps and chains": self.out / MAPS, "figure": figure, "summary": self.out / SUMMARY}
        if self.json:
            console.print_json({**summary, "files": paths})
            return
        _show(summary, paths)

    def _survey(self, mesh, evolution):
        from galaxyjax.infer.field_level.survey import read_survey

        if self.tracer != MOCK:
            return read_survey(self.tracer)
        path = self.out / "mock.h5"
        if path.exists():
            return read_survey(path)
        survey = _mock(self, mesh, evolution)
        survey.save(path)
        return survey

    def _evolution(self):
        from galaxyjax.infer.field_level.evolve import Emulated, Linear, Lpt, ParticleMesh

        known = {"linear": Linear(), "lpt1": Lpt(1), "lpt2": Lpt(2), "mesh": ParticleMesh()}
        if self.evolution in known:
            return known[self.evolution]
        import galaxyjax
        from galaxyjax.emulator.field import FieldEmulator

        emulator = galaxyjax.load(self.evolution)
        if not isinstance(emulator, FieldEmulator):
            raise ConfigError(f"--evolution {self.evolution}: {emulator!r} is no emulator of matter fields")
        return Emulated(emulator)

    def _prior(self):
        from galaxyjax.infer.priors import Normal, Prior, Uniform

        terms = dict(BASE)
        terms |= {name: Uniform(*bounds) for name, bounds in FREE.items()}
        for name in self.bias:
            if name not in BIAS_STD:
                raise unknown_name("bias", name, BIAS_STD)
            terms[name] = Normal(1.0 if name == "b1" else 0.0, BIAS_STD[name])
        return Prior({**terms, **_pairs(self.fix, (*BASE, *BIAS_STD))})


def _mock(given: Reconstruct, mesh, evolution):
    import jax
    import numpy as np

    from galaxyjax.infer.field_level.survey import TracerSurvey
    from galaxyjax.infer.field_level.tracer import TracerModel, mock
    from galaxyjax.mesh import fft

    theta = {**BASE, **{name: 1.0 if name == "b1" else 0.0 for name in given.bias}}
    theta |= _pairs(given.fix, (*BASE, *BIAS_STD))
    model = TracerModel(given.cells, given.box_size, given.z, mesh, evolution, given.redshift_space)
    std = 1.0 / np.sqrt(given.density * (given.box_size / given.cells) ** 3)
    seen, noise = mock(model, theta, std, jax.random.key(given.mock_seed))
    matter = jax.jit(lambda m, w: fft.inverse(m.linear_matter(theta, m.noise_modes(w)), mesh))(model, noise)
    return TracerSurvey(
        np.asarray(seen), np.asarray(std), given.box_size, given.z, np.asarray(matter), theta
    )  # fmt: skip


def _pairs(given: tuple[str, ...], known) -> dict[str, float]:
    """NAME=VALUE words as a mapping. Raises ConfigError, UnknownName."""
    values = {}
    for word in given:
        name, equals, text = word.partition("=")
        if name not in known:
            raise unknown_name("parameter", name, known)
        try:
            values[name] = float(text)
        except ValueError:
            raise ConfigError(f"--fix {word}: write NAME=VALUE, a number") from None
    return values


def _draw(out: Path, summary: Mapping, survey) -> Path:
    import h5py
    import numpy as np

    from galaxyjax.infer.field_level.run import MAPS
    from galaxyjax.report import field_level, style

    with h5py.File(out / MAPS) as file:
        maps = {"posterior mean": file["mean"][()]}
        if len(file["samples"]):
            maps["one draw"] = file["samples"][-1]
        maps["Wiener filter"] = file["linear_reconstruction"][()]
        maps["std"] = file["std"][()]
    if survey.truth is not None:
        maps = {"truth": survey.truth, **maps}
    coherence = {name: np.asarray(values) for name, values in summary["coherence"].items()}
    figure = field_level.reconstruction(maps, survey.box_size, np.asarray(summary["k"]), coherence)
    return style.save(figure, out / "reconstruction.png")


def _show(summary: Mapping, paths: Mapping[str, Path]) -> None:
    rows = [
        (name, f"{row['mean']:.4g}", f"{row['std']:.2g}", f"{row['truth']:.4g}" if "truth" in row else "")
        for name, row in summary["parameters"].items()
    ]
    if rows:
        console.table(["", "mean", "std", "truth"], rows)
        console.say()
    rows = []
    for name, look in summary["convergence"].items():
        cost = look["evaluations_per_sample"]
        span = f"{min(cost):.0f} to {max(cost):.0f}"
        rows.append((name, f"{look['max_rhat']:.4f}", f"{look['min_ess']:.0f}", span))
    console.table(["", "R-hat", "least ESS", "evaluations per effective sample"], rows)
    console.say(
        f"\n{summary['draws']} draws, {summary['gradients']} gradients, {summary['wall_s']:.0f} s"
        + ("" if summary["converged"] else "\nNOT CONVERGED: raise --max-draws and run the command again")
    )
    for name, path in paths.items():
        console.say(f"  {name:<16}{path}")
