"""All samplers on KiDS-1000 in one run: effective draws a gradient, agreement, and the evidence.

    python benchmarks/samplers.py [--seed 0] [--mock] [--quick] [--json FILE]

Asked: the smallest bulk or tail effective size over all sampled and derived columns, over every gradient that
the integration took, warm-up apart: at least 0.07 for NUTS and 0.12 for MCLMC; aims 0.15 and 0.25. Means of
MCLMC within 0.1 sigma of those of NUTS, whose own errors, printed beside them, are a part of that.

`walls` is the share of draws in which a trajectory met the end of the emulator's domain, where ln10A_s cuts
the flat priors. `sigma` are the smallest and largest standard deviation over NUTS's.
"""

import argparse
import json
import os
import sys
from pathlib import Path

KINDS = ("nuts", "mclmc", "adjusted-mclmc", "smc")


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mock", action="store_true", help="the packaged mock in place of KiDS-1000")
    parser.add_argument("--quick", action="store_true", help="a test: the mock, few draws, no answer")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    given = parser.parse_args()
    import jax

    jax.config.update("jax_num_cpu_devices", 4)  # a thread a chain: none waits for another's tree
    import galaxyjax
    from galaxyjax.data.survey import kids1000
    from galaxyjax.infer.surveys.kids1000 import KiDS1000
    from galaxyjax.simulate.mock import load_mock

    survey = load_mock() if given.mock or given.quick else kids1000()
    posterior = KiDS1000().posterior(galaxyjax.load("matter_power"), survey)
    print(f"{survey.name}, {posterior.dimension} parameters; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'':<15}{'ESS/gradient':>13}{'of':>11}{'R-hat':>8}{'ESS':>6}{'gradients':>11}{'s':>6}{'walls':>7}"
        f"{'means':>8}{'error':>7}{'sigma':>12}"
    )
    found = {}
    for kind in given.only:
        got = draw(posterior, kind, given)
        found[kind] = row(got, found.get("nuts"))
        show(kind, found[kind])
    if "smc" in found:
        value, error = found["smc"]["log_evidence"]
        print(f"\nln evidence {value:.2f} +- {error:.2f} by sequential Monte Carlo", end="")
        print(f", {found['smc']['laplace']:.2f} by the normal approximation at the peak")
    if given.json:
        kept = {
            kind: {k: v for k, v in one.items() if k not in ("mean", "sigma")} for kind, one in found.items()
        }
        given.json.write_text(json.dumps(kept, indent=2) + "\n")
    missed = [k for k, asked in (("nuts", 0.07), ("mclmc", 0.12)) if k in found and found[k]["ratio"] < asked]
    apart = "mclmc" in found and "nuts" in found and found["mclmc"]["means"] > 0.1
    return int((bool(missed) or apart) and not given.quick)


def draw(posterior, kind: str, given):
    """Chains of one kind."""
    from galaxyjax.infer.evidence import Sequential, sequential
    from galaxyjax.infer.sample import Sampler, sample

    if kind == "smc":
        settings = Sequential(seed=given.seed)
        if given.quick:
            settings = Sequential(populations=2, particles=16, moves=1, final=1)
        return sequential(posterior, settings)
    if given.quick:
        return sample(posterior, Sampler(kind=kind, block=10, min_draws=20, max_draws=20, warmup=(1, 1)))
    # A thousand effective draws: an estimate of the effective size is itself good to 3%.
    ess = 4000.0 if kind == "nuts" else 2500.0
    return sample(posterior, Sampler(kind=kind, ess=ess, seed=given.seed))


def row(got, reference: dict | None) -> dict:
    """Numbers of one line."""
    import numpy as np

    flat = got.quantities.reshape(-1, len(got.names)).astype(float)
    look = got.convergence
    both = np.fmin(look.ess_bulk, look.ess_tail)
    sampling = got.gradients - got.warmup_gradients
    one = {
        "ratio": look.min_ess / sampling,
        "worst": got.names[int(np.argmin(both))],
        "r_hat": look.max_r_hat,
        "ess": look.min_ess,
        "gradients": sampling,
        "warmup_gradients": got.warmup_gradients,
        "wall_s": got.wall_s,
        "walls": float(got.draws.outside.mean()),
        "mean": flat.mean(0),
        "sigma": flat.std(0),
        "ess_bulk": look.ess_bulk.tolist(),
    }
    if reference:
        shift = np.abs(one["mean"] - reference["mean"]) / reference["sigma"]
        i = int(np.argmax(shift))
        noise = np.sqrt(1.0 / look.ess_bulk[i] + 1.0 / reference["ess_bulk"][i])
        scale = one["sigma"] / reference["sigma"]
        one |= {"means": float(shift[i]), "noise": float(noise), "furthest": got.names[i]}
        one |= {"sigmas": [float(scale.min()), float(scale.max())]}
    if got.log_evidence is not None:
        one["log_evidence"] = list(got.log_evidence)
        one["laplace"] = got.fit.log_density + 0.5 * float(np.linalg.slogdet(got.fit.covariance)[1])
    return one


def show(kind: str, one: dict) -> None:
    print(
        f"{kind:<15}{one['ratio']:>13.3f}{one['worst']:>11}{one['r_hat']:>8.4f}{one['ess']:>6.0f}"
        f"{one['gradients']:>11}{one['wall_s']:>6.0f}{one['walls']:>7.3f}",
        end="",
    )
    if "means" in one:
        low, high = one["sigmas"]
        print(f"{one['means']:>8.3f}{one['noise']:>7.3f}{low:>7.3f}{high:>6.3f}", end="")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
