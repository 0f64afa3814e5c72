"""`galaxyjax calibrate`: whether an analysis's posteriors mean what they say."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.recipe import run_python
from galaxyjax.core.errors import ConfigError, unknown_name

TRUTHS = ("emulator", "camb")
REPORT = "calibration.json"


@dataclass(frozen=True)
class Calibrate:
    """Draw truths from the prior, make mock data, sample their posteriors, rank the truths among the draws.

    The ranks of every parameter, and of the log likelihood, are uniform if the posteriors are calibrated
    (simulation-based calibration); so is the coverage of all parameters at once (TARP). When they are not,
    the command says which parameter fails and how, and exits with 2. The analysis is that of `infer`, or a
    posterior of fields: then power in shells and single cells are ranked beside the parameters.
    """

    analysis: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ANALYSIS")]
    """kids1000; tracer (initial conditions of a small box); or a Python configuration file: of `galaxyjax
    infer`, or one with FIELDS, a family of posteriors of fields."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for everything; finished mocks in it are kept, and a stopped run goes on."""
    truth: Annotated[str, tyro.conf.arg(metavar="TRUTH")] = "emulator"
    """emulator, or camb: the mocks' spectra from CAMB itself, 2 to 4 s each."""
    mocks: Annotated[int, tyro.conf.arg(metavar="N")] = 200
    """Mock data sets."""
    draws: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 100, of fields 50)")
    ] = None
    """Independent draws of each posterior."""
    survey: Annotated[
        str | None, tyro.conf.arg(metavar="SURVEY", help_behavior_hint="(default: the analysis's own)")
    ] = None
    """kids1000, mock, or a survey's .npz file: its n(z) and covariance are used."""
    emulator: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: matter_power)")
    ] = None
    """An emulator on the shelf, or its folder."""
    without_emulator_error: bool = False
    """Leave the emulator's measured error out of the covariance."""
    covariance_scale: Annotated[float, tyro.conf.arg(metavar="X")] = 1.0
    """Multiply the covariance that the posteriors are told, to see what a wrong one does."""
    at_once: Annotated[int, tyro.conf.arg(metavar="N")] = 25
    """Mocks sampled together; each such group is kept when it is done."""
    max_draws: Annotated[int, tyro.conf.arg(metavar="N")] = 1500
    """Transitions a chain after which a group ends, sampled well or not."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one a core)")] = (
        None
    )
    """Processes for CAMB."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of truths, noise and chains."""
    json: bool = False
    """Print the report as JSON."""

    resume: ClassVar[str] = "the same command goes on from the mocks that are done"

    def run(self) -> None:
        if self.draws is not None and self.draws < 2:
            raise ConfigError(f"--draws {self.draws}: give 2 or more")
        if self.truth not in TRUTHS:
            raise unknown_name("truth", self.truth, TRUTHS)
        if self.mocks < 20:
            raise ConfigError(f"--mocks {self.mocks}: ranks of fewer than 20 say nothing")
        if not self.covariance_scale > 0:
            raise ConfigError(f"--covariance-scale {self.covariance_scale}: give a positive number")
        console.start_jax()
        family = self._fields()
        if family is not None:
            self._calibrate_fields(family)
            return
        import galaxyjax
        from galaxyjax.cli.infer import configuration, read_survey
        from galaxyjax.infer.calibrate import calibrate
        from galaxyjax.infer.ensemble import Effort
        from galaxyjax.infer.mocks import shear_family

        analysis, given = configuration(self.analysis)
        if self.without_emulator_error:
            analysis = replace(analysis, emulator_error=False)
        draws = self.draws or 100
        effort = Effort(
            draws=draws,
            ess=2.0 * draws,
            at_once=self.at_once,
            max_draws=self.max_draws,
            seed=self.seed,
        )
        survey = read_survey(self.survey or given["SURVEY"])
        emulator = galaxyjax.load(self.emulator or given["EMULATOR"])
        family = shear_family(analysis, emulator, survey, self.covariance_scale)
        mocks = self._mocks(analysis, emulator, survey)
        found = calibrate(family, mocks.truths, mocks.data, self.out, effort)
        report = {"analysis": self.analysis, "survey": survey.name, "truth": self.truth}
        report |= {"emulator_error": analysis.emulator_error, "covariance_scale": self.covariance_scale}
        self._end(found, report)

    def _end(self, found, report: dict) -> None:
        """Write the report and its figures, and fail loudly."""
        from galaxyjax.core.files import write_json
        from galaxyjax.report.calibration import calibration_figure, coverage_figure

        report |= found.as_dict()
        write_json(self.out / REPORT, report)
        ranks = self.out / "ranks.png"
        paths = [
            calibration_figure(ranks, found.verdicts, found.ranks, found.tarp, found.tarp_ranks),
            coverage_figure(self.out / "coverage.png", {"TARP": found.tarp_ranks}),
        ]
        if self.json:
            console.print_json({**report, "files": [str(path) for path in paths]})
        else:
            _show(found, [self.out / REPORT, *paths])
        found.check()

    def _fields(self):
        """The family of posteriors of fields that was asked for, or None."""
        if self.analysis == "tracer":
            import jax

            from galaxyjax.infer.field_level.calibrate import small_tracer
            from galaxyjax.mesh.topology import build_mesh

            family = small_tracer(build_mesh("x=1", devices=jax.devices()[:1]))
        else:
            file = Path(self.analysis)
            if file.suffix != ".py" or not file.is_file():
                return None
            family = getattr(run_python(file, "configuration"), "FIELDS", None)
            if family is None:
                return None
        own = {field.name: field.default for field in fields(self)}
        for name in ("truth", "survey", "emulator", "without_emulator_error", "covariance_scale"):
            if getattr(self, name) != own[name]:
                raise ConfigError(f"--{name.replace('_', '-')}: a posterior of fields knows no such thing")
        return family

    def _calibrate_fields(self, family) -> None:
        from galaxyjax.infer.field_level.calibrate import SAMPLER, calibrate_fields

        draws = self.draws or 50
        sampler = replace(SAMPLER, ess=2.0 * draws, max_draws=max(self.max_draws, SAMPLER.min_draws))
        found = calibrate_fields(family, self.mocks, self.out, sampler, draws, self.seed)
        self._end(found, {"analysis": self.analysis})

    def _mocks(self, analysis, emulator, survey):
        from galaxyjax.cli.pool import worker_pool
        from galaxyjax.infer.mocks import shear_mocks

        arguments = (analysis, emulator, survey, self.mocks, self.seed, self.out)
        if self.truth == "emulator":
            return shear_mocks(*arguments, camb=False)
        with worker_pool(self.workers) as pool:
            return shear_mocks(*arguments, camb=True, executor=pool)


def _show(found, paths) -> None:
    rows = []
    for one in (*found.verdicts, found.tarp):
        rows.append([one.name, f"{one.p:.2g}", f"{one.bias:+.1f}", f"{one.width:+.1f}", one.how or "uniform"])
    console.table(["", "p (KS)", "bias", "width", ""], rows)
    console.say(
        f"\n{len(found.ess)} mocks, {found.draws} draws each (effective: {found.ess.min():.0f} or more), "
        f"{found.gradients} gradients, {found.wall_s:.0f} s\nbias and width are in deviations by chance: "
        "positive says low, and too narrow"
    )
    for path in paths:
        console.say(f"wrote {path}")
