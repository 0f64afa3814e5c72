"""`galaxyjax infer`: sample the posterior of a survey."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes
from galaxyjax.cli.recipe import constant, run_python
from galaxyjax.core.errors import ConfigError, FileError, unknown_name

SURVEYS = ("kids1000", "mock", "desi_dr1_bao", "desi_dr2_bao", "union3")


@dataclass(frozen=True)
class Infer:
    """Sample a posterior until the chains have converged: chains, figures, summary.json.

    A Python configuration defines ANALYSIS, and where it likes SURVEY, SAMPLER and EMULATOR, for instance

        from galaxyjax.infer.surveys.kids1000 import KiDS1000
        ANALYSIS = KiDS1000(logT_AGN=7.8)
    """

    analysis: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ANALYSIS")]
    """kids1000, or a Python configuration file."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for everything; a stopped run in it is taken up again."""
    survey: Annotated[
        str | None, tyro.conf.arg(metavar="SURVEY", help_behavior_hint="(default: the analysis's own)")
    ] = None
    """kids1000, mock or a survey's .npz file; more after commas, e.g. kids1000,desi_dr2_bao,union3."""
    emulator: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: matter_power)")
    ] = None
    """An emulator on the shelf, or its folder."""
    baryons: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: logT_AGN of HMcode)")
    ] = None
    """A response emulator in place of logT_AGN, e.g. baryon_response."""
    sampler: Annotated[
        str | None, tyro.conf.arg(metavar="SAMPLER", help_behavior_hint="(default: the analysis's, or nuts)")
    ] = None
    """nuts, mclmc (fastest), adjusted-mclmc, or smc, which gives the evidence too."""
    chains: Annotated[
        int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 4; populations of smc: 8)")
    ] = None
    """Chains, or populations, spread over the devices."""
    particles: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 256)")] = None
    """Particles in each population of smc."""
    mesh: Sizes = None
    """Devices along data, which carry the chains; their number divides them. All devices when left out."""
    max_draws: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 5000)")] = None
    """Draws a chain after which sampling stops even if not converged."""
    r_hat: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="(default: 1.01)")] = None
    """Largest R-hat that counts as converged."""
    ess: Annotated[float | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 400)")] = None
    """Smallest effective sample size that counts as converged."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 0)")] = None
    """Seed of the sampler."""
    double: bool = False
    """Sample in float64 (slower; the result does not need it)."""
    json: bool = False
    """Print the summary as JSON."""

    resume: ClassVar[str] = "the same command takes the chains up again"

    def run(self) -> None:
        console.start_jax(x64=self.double)
        from galaxyjax.cli.sampling import chain_devices, sample_survey, show

        analysis, given = configuration(self.analysis, self.baryons)
        sampler = self._sampler(given["SAMPLER"])
        count = sampler.populations if sampler.kind == "smc" else sampler.chains
        devices = chain_devices(self.mesh, "infer", count)
        survey = read_survey(self.survey or given["SURVEY"])
        console.note(f"{survey.name}: {survey.data.size} data points")
        summary, paths = sample_survey(
            analysis, survey, self.out, sampler, self.emulator or given["EMULATOR"], devices
        )
        if self.json:
            console.print_json({**summary, "files": paths})
            return
        show(summary, paths)
        console.say(f"\nnext: galaxyjax audit {self.out}")

    def _sampler(self, configured):
        """The configured sampler, or another of that kind, with the options of the command line."""
        from galaxyjax.infer.evidence import Sequential
        from galaxyjax.infer.sample import KINDS, Sampler

        kind = self.sampler or configured.kind
        if kind not in (*KINDS, "smc"):
            raise unknown_name("sampler", kind, (*KINDS, "smc"))
        smc = kind == "smc"
        useless = ("max_draws",) if smc else ("particles",)
        for name in useless:
            if getattr(self, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} says nothing to {kind}; leave it out")
        names = ["r_hat", "ess", "seed", "particles" if smc else "max_draws"]
        changes = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.chains is not None:
            changes["populations" if smc else "chains"] = self.chains
        if self.double:
            changes["dtype"] = "float64"
        if smc:
            return replace(configured if configured.kind == "smc" else Sequential(), **changes)
        return replace(Sampler() if configured.kind == "smc" else configured, kind=kind, **changes)


def configuration(analysis: str, baryons: str | None = None) -> tuple[Any, dict[str, Any]]:
    """The analysis of that name or file, and what it says (or leaves) about survey, sampler and emulator."""
    from galaxyjax.infer.evidence import Sequential
    from galaxyjax.infer.sample import Sampler
    from galaxyjax.infer.surveys.kids1000 import KiDS1000

    given = {"SURVEY": "kids1000", "SAMPLER": Sampler(), "EMULATOR": "matter_power"}
    if not analysis.endswith(".py"):
        if analysis != "kids1000":
            raise unknown_name("analysis (or a .py file)", analysis, ["kids1000"])
        return KiDS1000(baryons=baryons), given
    file = Path(analysis)
    if baryons:
        raise ConfigError(f"--baryons {baryons}: say it in {file}, KiDS1000(baryons=...)")
    if not file.is_file():
        raise FileError(f"{file}: no such file")
    module = run_python(file, "configuration")
    for name, default in given.items():
        kind = str
        if name == "SAMPLER":
            kind = Sequential if isinstance(getattr(module, name, None), Sequential) else Sampler
        if hasattr(module, name):
            given[name] = constant(module, name, kind, file)
        else:
            given[name] = default
    return constant(module, "ANALYSIS", KiDS1000, file), given


def read_survey(names: str):
    """The survey of that name, or in that .npz file; several after commas make one. Raises UnknownName,
    FileError, ConfigError.
    """
    from galaxyjax.data.joint import join

    return join([_one_survey(name.strip()) for name in names.split(",")])


def _one_survey(name: str):
    if name == "kids1000":
        from galaxyjax.data.survey import kids1000

        return kids1000()
    if name == "mock":
        from galaxyjax.simulate.mock import load_mock

        return load_mock()
    if name in SURVEYS:
        from galaxyjax.data.distances import distances

        return distances(name)
    if not name.endswith(".npz"):
        raise unknown_name("survey (or an .npz file)", name, SURVEYS)
    from galaxyjax.data.joint import load_any

    return load_any(name)
