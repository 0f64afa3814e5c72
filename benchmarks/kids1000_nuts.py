"""KiDS-1000 from a fresh process to a converged posterior: wall time, gradients, effective draws.

    python benchmarks/kids1000_nuts.py [--seeds 0 1 2] [--devices 4] [--mock]

Asked: at most 120 s on 2 cores from the start of the process to max R-hat < 1.01 and ESS >= 400 in every
parameter, sampled and derived; aim 40 s. Known before: 36 s of warm-up and 79 s of sampling, at 0.07 ESS a
gradient.

Each seed is a process of its own, started twice: `cold` has an empty cache of compiled programs, as on the
first use of a machine, `warm` finds the programs that the first left. Times are from before the interpreter
starts. `CPU` is the time of all its threads: on two cores that nothing else uses, the wall time lies between
half of it and all of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = "GALAXYJAX_BENCHMARK_START"


def child(folder: str, seed: int, devices: int, mock: bool, cache: str) -> None:
    """One run, in this process; prints one JSON line."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    from galaxyjax.data.survey import kids1000
    from galaxyjax.infer.run import run
    from galaxyjax.infer.sample import Sampler
    from galaxyjax.infer.surveys.kids1000 import KiDS1000
    from galaxyjax.simulate.mock import load_mock

    survey = load_mock() if mock else kids1000()
    began = time.time()
    summary = run(KiDS1000(), survey, folder, Sampler(seed=seed))
    ended = time.time()
    start = float(os.environ[START])
    # run() = load, build, sample, write; the writing is what follows convergence.
    writing = ended - began - summary["setup_s"] - summary["wall_s"]
    clock = os.times()
    print(
        json.dumps(
            {
                "converged_s": ended - start - writing,
                "total_s": ended - start,
                "cpu_s": clock.user + clock.system,
                **{k: summary[k] for k in ("converged", "max_rhat", "min_ess", "chains", "draws")},
                **{k: summary[k] for k in ("gradients", "ess_per_gradient", "divergences")},
                **{k: summary[k] for k in ("outside_domain", "best_fit_chi2")},
                "S8": summary["S8"],
            }
        )
    )


def one(folder: Path, given, seed: int, cache: Path) -> dict:
    """Starts a child and reads its line."""
    arguments = [str(folder), str(seed), str(given.devices), str(int(given.mock)), str(cache)]
    environment = {**os.environ, START: repr(time.time()), "GALAXYJAX_QUIET": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--devices", type=int, default=4, help="forced CPU devices, one thread a chain")
    parser.add_argument("--mock", action="store_true", help="the packaged mock in place of KiDS-1000")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} (a load above 0 makes wall times longer)")
    print(
        f"{'seed':>4} {'start':>5} {'converged':>10} {'all':>6} {'CPU':>6} {'R-hat':>7} {'ESS':>5} "
        f"{'draws':>8} {'gradients':>9} {'ESS/grad':>8} {'diverged':>8} {'walls':>5} {'S8':>16} {'chi2':>6}"
    )
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as place:
            for start in ("cold", "warm"):
                got = one(Path(place) / start, given, seed, Path(place) / "compiled")
                print(
                    f"{seed:>4} {start:>5} {got['converged_s']:>8.1f} s {got['total_s']:>4.0f} s "
                    f"{got['cpu_s']:>4.0f} s "
                    f"{got['max_rhat']:>7.4f} {got['min_ess']:>5.0f} {got['chains']:>2} x {got['draws']:<4}"
                    f"{got['gradients']:>9} {got['ess_per_gradient']:>8.3f} "
                    f"{got['divergences'] - got['outside_domain']:>8} {got['outside_domain']:>5} "
                    f"{got['S8']['mean']:>8.4f} +- {got['S8']['std']:.4f} {got['best_fit_chi2']:>6.1f}"
                    f"{'' if got['converged'] else '  NOT CONVERGED'}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), bool(int(sys.argv[5])), sys.argv[6])
    else:
        main()
