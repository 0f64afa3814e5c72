"""`galaxyjax audit`: a chain against CAMB itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes, mesh_of
from galaxyjax.core.errors import ConfigError


@dataclass(frozen=True)
class Audit:
    """Re-evaluate draws of a finished run with CAMB, reweight the chain, and say how much changed."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of a finished `infer` or `quickstart`."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 100
    """How many draws; CAMB takes 1 to 3 s for each."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one a core)")] = (
        None
    )
    """Processes."""
    emulator: Annotated[
        str | None, tyro.conf.arg(metavar="EMULATOR", help_behavior_hint="(default: as the run wrote down)")
    ] = None
    """The emulator, where it is no longer under the name that the run wrote down."""
    mesh: Sizes = None
    """Devices along data, over which the draws are divided (CAMB runs on processes); one when left out."""
    json: bool = False
    """Print the report as JSON."""

    resume: ClassVar[str] = "nothing was written; the same command starts again"

    def run(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"--workers {self.workers}: give 1 or more")
        console.start_jax(x64=True)
        mesh = mesh_of(self.mesh, "audit", ("data",), why="draws lie along data", default="data=1")
        from galaxyjax.cli.pool import worker_pool
        from galaxyjax.infer.audit import AUDIT, audit

        with worker_pool(self.workers) as pool:
            report = audit(self.folder, self.samples, self.emulator, executor=pool, mesh=mesh)
        if self.json:
            console.print_json(report)
            return
        _show(report)
        console.say(f"wrote {self.folder / AUDIT}")


def _show(report: dict) -> None:
    difference = report["delta_chi2"]
    share = 100.0 * report["effective_fraction"]
    console.say(f"{report['samples']} of {report['of']} draws, re-evaluated with CAMB\n")
    rows = [
        ("chi2 of CAMB less that of the emulator, mean", f"{difference['mean']:+.3f}"),
        ("its scatter between draws", f"{difference['std']:.3f}"),
        ("effective size of the weights", f"{report['effective_samples']:.1f} ({share:.0f}%)"),
        ("largest shift of a mean, in posterior sigma", f"{report['max_shift_in_sigma']:.3f}"),
    ]
    rows += [
        (f"draws within 2% of the domain's edge in {n}", f"{100 * v:.0f}%")
        for n, v in report["near_domain_edge"].items()
    ]
    console.table(["", "value"], rows)
    console.say()
    # A scatter of 1 in Delta chi2 leaves 78% of the weights; below half, reweighting itself is in doubt.
    verdict = (
        "the emulator is good enough for this chain"
        if share > 50.0
        else "the weights are uneven: distrust the chain"
    )
    console.say(verdict)
