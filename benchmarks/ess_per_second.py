"""KiDS-1000: effective draws a second beside NumPyro with cosmopower-jax, and Cobaya with CAMB.

    python benchmarks/ess_per_second.py [--only numpyro cobaya] [--mock] [--quick] [--json FILE]

Asked: at least 3 times NumPyro with cosmopower-jax, aim 10, and 100 times Cobaya with CAMB, aim 1000. ESS is
the smallest bulk or tail effective size over the sampled parameters, the same estimator on all sides. Ours
and NumPyro stop at R-hat < 1.01 and ESS >= 400. `whole` counts compiling, fit and warm-up; `sampling` and
`gradients` what follows. Cobaya is charged for sampling alone, of which `peer_cobaya` says how; `peer_shear`
says what of the model is the peer's. The priors are cut to what both emulators know: omega_b in [0.019,
0.025], omega_cdm in [0.06, 0.2].

S8 stands there to show that all sample the same. Fewer `--evaluations` shorten it.
NumPyro's chains run a thread each; `--methods vectorized parallel` tries both ways, and the better counts.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from unittest import mock

ASKED = {"numpyro": (3.0, 10.0), "cobaya": (100.0, 1000.0)}
LABELS = {"numpyro": "NumPyro + cosmopower-jax", "cobaya": "Cobaya + CAMB"}
OURS = ("nuts", "mclmc")


def main() -> int:
    """Print the table; return 1 when a limit is missed, 2 without a peer's package."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--only", nargs="+", choices=tuple(ASKED), default=tuple(ASKED), help="these peers")
    parser.add_argument("--ours", nargs="+", choices=OURS, default=OURS, help="these samplers of ours")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=("vectorized", "parallel"),
        default=("parallel",),
        help="how NumPyro lays out its chains; the better counts",
    )
    parser.add_argument("--ess", type=float, default=400.0, help="where ours and NumPyro stop")
    parser.add_argument("--warmup", type=int, default=300, help="NumPyro's, draws a chain")
    parser.add_argument("--evaluations", type=int, default=80000, help="of Cobaya's chains, for each scheme")
    parser.add_argument("--camb", type=float, default=60.0, help="seconds for the timing of CAMB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mock", action="store_true", help="the packaged mock in place of KiDS-1000")
    parser.add_argument("--quick", action="store_true", help="a test: the mock, few draws, no answer")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    given = parser.parse_args()
    import jax

    jax.config.update("jax_num_cpu_devices", 4)  # a thread a chain: none waits for another's tree
    if missing := [name for name in needed(given.only) if not installed(name)]:
        print(f"not installed: {', '.join(missing)}; --only chooses the peers", file=sys.stderr)
        return 2
    problem = Problem(given)
    print(
        f"{problem.survey.name}, {problem.posterior.dimension} parameters, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} (a load above 0 makes all times longer)\n"
    )
    print(f"{'':34}{'ESS':>6}{'whole s':>9}{'sampling s':>11}{'gradients':>11}{'R-hat':>8}{'S8':>18}")
    ours = {kind: show(f"galaxyjax, {kind}", problem.ours(kind)) for kind in given.ours}
    peers = {}
    if "numpyro" in given.only:
        peers["numpyro"] = {m: show(f"{LABELS['numpyro']}, {m}", problem.numpyro(m)) for m in given.methods}
    if "cobaya" in given.only:
        peers["cobaya"] = problem.cobaya()
    found = {kind: {"effective_a_second": speed(one), **one} for kind, one in ours.items()}
    ratios = compare(ours, peers)
    if given.json:
        kept = {"load": os.getloadavg()[0], "ours": found, "peers": peers, "ratios": ratios}
        given.json.write_text(json.dumps(kept, indent=2) + "\n")
    bad = [name for name, ratio in ratios.items() if max(ratio["least"].values()) < ASKED[name][0]]
    return int(bool(bad) and not given.quick)


def needed(peers) -> list[str]:
    """Packages of these peers."""
    return [
        package
        for peer, packages in (("numpyro", ("numpyro", "cosmopower_jax")), ("cobaya", ("cobaya", "camb")))
        for package in packages
        if peer in peers
    ]


def installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


class Problem:
    """One survey, prior and likelihood, sampled by all sides."""

    def __init__(self, given):
        import galaxyjax
        from galaxyjax.data.survey import kids1000
        from galaxyjax.infer.shear import likelihood_of
        from galaxyjax.infer.surveys.kids1000 import KiDS1000
        from galaxyjax.simulate.mock import load_mock

        self.given = given
        self.survey = load_mock() if given.mock or given.quick else kids1000()
        analysis = KiDS1000(omega_b=(0.019, 0.025), omega_cdm=(0.06, 0.2))
        emulator = galaxyjax.load("matter_power")
        self.model = analysis.model(emulator, self.survey)
        self.fiducial = dict(analysis.fiducial(self.survey))
        self.likelihood = likelihood_of(self.model, self.survey, self.fiducial)
        self.posterior = analysis.posterior(emulator, self.survey)
        self.drawn = None  # by our NUTS or MCLMC; Cobaya's chains start from them

    def ours(self, kind: str) -> dict:
        """Chains by a sampler of ours."""
        from galaxyjax.infer import sample as module
        from galaxyjax.infer.sample import Sampler

        given, ended = self.given, []

        class Clock(module.Progress):
            """Notes when the warm-up ended: what `sample` returns has one time for all of it."""

            def advance(self, n=1, **metrics):
                super().advance(n, **metrics)
                if metrics.get("stage") == "warm-up":
                    ended[:] = [time.perf_counter()]

        settings = Sampler(kind=kind, ess=given.ess, seed=given.seed)
        if given.quick:
            settings = Sampler(kind=kind, block=10, min_draws=40, max_draws=40, warmup=(1, 1))
        began = time.perf_counter()
        with mock.patch.object(module, "Progress", Clock):
            got = module.sample(self.posterior, settings)
        finished = time.perf_counter()
        if self.drawn is None or kind == "nuts":
            self.drawn = got
        return {
            **described(got.quantities[..., : got.sampled], got.names),
            "whole_s": finished - began,
            "sampling_s": finished - ended[0],
            "gradients": got.gradients - got.warmup_gradients,
            "converged": bool(got.converged),
        }

    def numpyro(self, method: str) -> dict:
        """Chains by NumPyro on the peer's spectrum."""
        import peer_shear

        given = self.given
        peer = peer_shear.posterior(self.posterior.prior, self.model.shear, self.likelihood)
        values = {**self.fiducial, "c_min": 2.6}
        start = peer.prior.unconstrain({name: values[name] for name in peer.prior.names})
        settings = {
            "chains": 4, "block": 25, "warmup": given.warmup, "seed": given.seed, "min_draws": 100,
            "max_draws": 2000, "ess": given.ess, "r_hat": 1.01,
        }  # fmt: skip
        if given.quick:
            settings |= {"block": 10, "warmup": 20, "min_draws": 20, "max_draws": 20}
        got = peer_shear.sample(peer, start, method, settings)
        return {
            **described(got["values"], got["names"]),
            "whole_s": got["compile_s"] + got["warmup_s"] + got["sampling_s"],
            **{name: got[name] for name in ("compile_s", "warmup_s", "sampling_s", "gradients", "divergent")},
        }

    def cobaya(self) -> dict:
        """What CAMB costs inside Cobaya, and the chains that are charged for it."""
        import numpy as np
        import peer_cobaya

        given, got = self.given, self.drawn
        flat = got.quantities.reshape(-1, len(got.names))
        rows = np.linspace(0, len(flat) - 1, 3 if given.quick else 12).astype(int)
        points = [dict(zip(got.names, map(float, flat[row]), strict=True)) for row in rows]
        fixed = self.posterior.prior.fixed
        made = peer_cobaya.camb_model(self.model, self.likelihood, fixed)
        cost = peer_cobaya.rates(made, points, self.model.shifts, 1.0 if given.quick else given.camb)
        coordinates = peer_cobaya.Coordinates(self.posterior)
        positions = got.draws.position.reshape(len(flat), -1)
        x = coordinates.of_chains(flat, positions)
        here = [float(coordinates.log_likelihood(x[row].astype(np.float32))) for row in rows]
        apart = max(abs(a - b) for a, b in zip(cost["log_likelihoods"], here, strict=False))
        print(f"\nCAMB in Cobaya: largest difference of ln L to the emulator's {apart:.3f}; ms an evaluation")
        for threads, seconds in cost["seconds"].items():
            each = ", ".join(f"{kind} {1e3 * s:.1f}" for kind, s in seconds.items())
            print(f"  {threads} threads: {each}")
        seconds = {kind: 1.0 / rate for kind, rate in cost["rates"].items()}
        schemes, readings = peer_cobaya.schemes(coordinates.groups, seconds), {}
        evaluations = 400 if given.quick else given.evaluations
        for name, blocks in schemes.items():
            run = peer_cobaya.chains(coordinates, x, name, blocks, evaluations, given.seed)
            readings[name] = {
                **described(run["values"], self.posterior.prior.names),
                "counts": run["counts"],
                "sampling_s": sum(n * seconds[kind] for kind, n in run["counts"].items()),
                "wall_s": run["wall_s"],
            }
            show(f"{LABELS['cobaya']}, {name}", readings[name], run["counts"])
        return {**cost, "apart": apart, "schemes": schemes, "readings": readings}


def described(values, names) -> dict:
    """Effective size, R-hat and S8 of draws (chains, draws, d) of sampled parameters."""
    import numpy as np

    from galaxyjax.infer.diagnostics import convergence

    look = convergence(values)
    both = np.fmin(look.ess_bulk, look.ess_tail)
    s8 = values[..., list(names).index("S8")]
    return {
        "ess": look.min_ess,
        "worst": names[int(np.argmin(both))],
        "r_hat": look.max_r_hat,
        "chains": list(values.shape[:2]),
        "S8": [float(s8.mean()), float(s8.std())],
    }


def show(label: str, one: dict, counts: dict | None = None) -> dict:
    """Print one line; return its numbers."""
    whole = f"{one['whole_s']:9.1f}" if "whole_s" in one else f"{'-':>9}"
    work = f"{one['gradients']:>11}" if counts is None else f"{'-':>11}"
    print(
        f"{label:34}{one['ess']:6.0f}{whole}{one['sampling_s']:11.1f}{work}{one['r_hat']:8.4f}"
        f"{one['S8'][0]:9.4f} +- {one['S8'][1]:.4f}",
        flush=True,
    )
    if counts:
        print(f"{'':34}evaluations: {', '.join(f'{kind} {n}' for kind, n in counts.items())}")
    return one


def speed(one: dict) -> dict:
    """Effective draws a second, over the whole wall time where there is one, and over sampling alone."""
    return {way: one["ess"] / one[f"{way}_s"] for way in ("whole", "sampling") if f"{way}_s" in one}


def compare(ours: dict, peers: dict) -> dict:
    """Ratios of effective draws a second, ours over the best of each peer's readings."""
    found = {}
    print(f"\n{'effective draws a second':34}{'whole':>12}{'sampling':>12}")
    for kind, one in ours.items():
        fast = speed(one)
        print(f"{'galaxyjax, ' + kind:34}{fast['whole']:12.4g}{fast['sampling']:12.4g}")
    for name, peer in peers.items():
        lines = [speed(one) for one in peer.get("readings", peer).values()]
        best = {way: max(line[way] for line in lines) for way in lines[0]}
        # Cobaya is charged for no start: the same number stands beside both of ours.
        best = {"whole": best["sampling"], **best}
        print(f"{LABELS[name]:34}{best['whole']:12.4g}{best['sampling']:12.4g}")
        found[name] = {"best": best, "ratios": {}, "least": {}}
        for kind, one in ours.items():
            ratio = {way: value / best[way] for way, value in speed(one).items()}
            found[name]["ratios"][kind] = ratio
            found[name]["least"][kind] = min(ratio.values())
    print()
    for name, one in found.items():
        asked, aim = ASKED[name]
        for kind, ratio in one["ratios"].items():
            print(
                f"{kind} over {LABELS[name]}: whole {ratio['whole']:.1f}x, sampling {ratio['sampling']:.1f}x"
                f" (asked {asked:g}x, aim {aim:g}x)"
            )
    return found


if __name__ == "__main__":
    sys.exit(main())
