"""Simulation-based calibration of the KiDS-1000 analysis over mock surveys made by CAMB, not by the emulator.

    python benchmarks/calibration.py --folder DIR [--mocks 200] [--store] [--quick]

Asked: 200 mocks or more in at most 2 hours on 2 cores; at least 100 independent draws of each; every
parameter's ranks uniform, p of Kolmogorov and Smirnov above 0.01 / number of parameters, with the emulator's
error in the covariance. Beside it: the same mocks with that error left out, and with half of the covariance,
which must fail.

Truths are drawn from the analysis's own prior with S8 flat in [0.5, 1.0] in place of [0.1, 1.3], in truths
and posteriors alike, so that ranks are uniform still. Nearer to the ends of [0.1, 1.3] posteriors lean on an
end of the emulator's domain, where chains are slow; KiDS-1000's own is far from either cut. S8 is made by
CAMB's sigma_8, CAMB run at the settings that the emulator was trained at. Spectra and finished mocks are kept
in the folder; a stopped run goes on. --store writes numbers and figures to benchmarks/results/calibration,
which the manual shows.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

S8 = (0.5, 1.0)  # flat prior of truths and posteriors
STORED = Path(__file__).parent / "results" / "calibration"
CASES = {
    "with the emulator's error": (True, 1.0),
    "without it": (False, 1.0),
    "half the covariance": (True, 0.5),
}


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--mocks", type=int, default=200)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--ess", type=float, help="least effective size of a mock; twice --draws if left out")
    parser.add_argument("--at-once", type=int, default=25)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--survey", default="kids1000")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="a test: the emulator's own mocks, few draws")
    parser.add_argument("--store", action="store_true")
    given = parser.parse_args()
    import galaxyjax
    from galaxyjax.cli.infer import read_survey
    from galaxyjax.cli.pool import worker_pool
    from galaxyjax.infer.calibrate import calibrate
    from galaxyjax.infer.ensemble import Effort
    from galaxyjax.infer.mocks import shear_family, shear_mocks
    from galaxyjax.infer.surveys.kids1000 import KiDS1000

    analysis, emulator = KiDS1000(S8=S8), galaxyjax.load("matter_power")
    survey = read_survey("mock" if given.quick else given.survey)
    effort = Effort(draws=given.draws, ess=given.ess or 2.0 * given.draws, at_once=given.at_once)
    if given.quick:
        effort = Effort(draws=10, ess=10.0, at_once=10, max_draws=50, warmup=(1,), block=10)
    began = time.monotonic()
    arguments = (analysis, emulator, survey, given.mocks, 0, given.folder)
    if given.quick:
        mocks = shear_mocks(*arguments, camb=False)
    else:
        with worker_pool(given.workers) as pool:
            mocks = shear_mocks(*arguments, camb=True, executor=pool)
    made = time.monotonic() - began
    print(
        f"{given.mocks} mocks of {survey.name} in {made:.0f} s (those found again cost nothing)", flush=True
    )
    results = {}
    for name in given.only:
        error, scale = CASES[name]
        family = shear_family(replace(analysis, emulator_error=error), emulator, survey, scale)
        folder = given.folder / name.replace(" ", "_").replace("'", "")
        results[name] = calibrate(family, mocks.truths, mocks.data, folder, effort)
        show(name, results[name])
    if given.store:
        store(results)
    first = results.get("with the emulator's error")
    return int(first is not None and not first.passes and not given.quick)


def show(name: str, found) -> None:
    worst = min(found.verdicts, key=lambda one: one.p)
    content = found.as_dict()
    print(
        f"\n{name}: {'passes' if found.passes else 'FAILS'}; smallest p {worst.p:.2g} ({worst.name}), asked "
        f"{content['asked_p']:.2g}; TARP p {found.tarp.p:.2g}; effective draws "
        f"{content['smallest_ess']:.0f} to {content['median_ess']:.0f} (median); {found.gradients} "
        f"gradients, {found.wall_s:.0f} s"
    )
    for one in (*found.verdicts, found.tarp):
        print(f"  {one.name:<16} p {one.p:8.2g}  bias {one.bias:+5.1f}  width {one.width:+5.1f}  {one.how}")
    sys.stdout.flush()


def store(results) -> None:
    """Numbers and figures for the manual."""
    from galaxyjax.report.calibration import calibration_figure, coverage_figure

    STORED.mkdir(parents=True, exist_ok=True)
    content = {"date": time.strftime("%Y-%m-%d"), "S8": S8}
    content["cases"] = {name: one.as_dict() for name, one in results.items()}
    (STORED / "kids1000.json").write_text(json.dumps(content, indent=1) + "\n")
    first = next(iter(results.values()))
    calibration_figure(STORED / "ranks.png", first.verdicts, first.ranks, first.tarp, first.tarp_ranks)
    coverage_figure(STORED / "coverage.png", {name: one.tarp_ranks for name, one in results.items()})


if __name__ == "__main__":
    sys.exit(main())
