"""`galaxyjax quickstart`: from survey data to a posterior in one command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from galaxyjax.cli import console
from galaxyjax.cli.mesh import Sizes


@dataclass(frozen=True)
class Quickstart:
    """Sample the cosmic-shear band powers of KiDS-1000 with the emulator matter_power, in about a minute.

    The data come from GALAXYJAX_DATA, the cache, or the survey's own address (checked by sha256). Where none
    has the files, a mock survey that CAMB made, packaged with galaxyjax, stands in, and the output says so.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("galaxyjax-quickstart")
    """Folder for chains, figures and summary."""
    mock: bool = False
    """Use the mock survey whether or not the data are at hand."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of the sampler."""
    mesh: Sizes = None
    """Devices along data, which carry the 4 chains: data=2 or data=4. All that divide them when left out."""
    json: bool = False
    """Print the summary as JSON."""

    resume: ClassVar[str] = "the same command takes the chains up again"

    def run(self) -> None:
        console.start_jax()
        from galaxyjax.cli.sampling import chain_devices, sample_survey, show
        from galaxyjax.infer.sample import Sampler
        from galaxyjax.infer.surveys.kids1000 import KiDS1000

        sampler = Sampler(seed=self.seed)
        devices = chain_devices(self.mesh, "quickstart", sampler.chains)
        survey, source = self._survey()
        (console.note if self.json else console.say)(source)
        summary, paths = sample_survey(KiDS1000(), survey, self.out, sampler, "matter_power", devices)
        if self.json:
            console.print_json({**summary, "files": paths})
            return
        console.say()
        show(summary, paths)
        self._next(survey)

    def _survey(self):
        """The survey, and what it is and where it came from, in words."""
        from galaxyjax.core.progress import Progress
        from galaxyjax.data.fetch import Unavailable, fetch
        from galaxyjax.data.survey import kids1000
        from galaxyjax.simulate.mock import load_mock

        reason = "Asked for with --mock."
        if not self.mock:
            try:
                with Progress(None, "looking for the KiDS-1000 data"):
                    folder = next(iter(fetch("kids1000").values())).parent
                return kids1000(), f"KiDS-1000 band powers (real data), from {folder}"
            except Unavailable as missing:
                reason = f"The real data could not be had: {missing}"
        return load_mock(), f"MOCK SURVEY, not real data: spectra from CAMB at a known cosmology.\n{reason}"

    def _next(self, survey) -> None:
        steps = {
            f"galaxyjax audit {self.out}": "hold the chain against CAMB itself",
            "galaxyjax infer my_analysis.py --out DIR": "your own priors (galaxyjax infer --help)",
            "galaxyjax predict --plot spectra.png": "the emulator by itself",
        }
        width = max(map(len, steps))
        console.say("\nnext:")
        for command, what in steps.items():
            console.say(f"  {command:<{width}}  {what}")
        for line in survey.citation:
            console.say(f"cite: {line}")
