"""What `infer` and `quickstart` share: run an analysis, draw it, say what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from galaxyjax.cli import console
from galaxyjax.cli.mesh import mesh_of, one_process
from galaxyjax.core.errors import ConfigError

SHOWN = (
    "S8",
    "Omega_m",
    "sigma_8",
    "A_IA",
    "logT_AGN",
    "sigma_gas",
    "sigma_star",
    "jet",
    "h",
    "n_s",
    "omega_b",
    "omega_cdm",
    "m_nu",
    "w0",
    "wa",
    "eta_IA",
    "r_drag",
)


def chain_devices(sizes: str | None, verb: str, chains: int) -> list | None:
    """The devices along "data" of --mesh, on which the chains lie; None, all that divide them, without it.

    Raises ConfigError when they do not divide the chains, and as `mesh_of`.
    """
    if sizes is None:
        return one_process(verb)
    mesh = mesh_of(sizes, verb, ("data",), why="chains lie along data")
    if chains % mesh.size:
        raise ConfigError(
            f"{verb} --mesh {sizes}: {chains} chains do not divide over data={mesh.size}; "
            f"give a multiple of {mesh.size}, or another mesh"
        )
    return mesh.devices.ravel().tolist()


def sample_survey(
    analysis, survey, out: Path, sampler, emulator: str, devices=None
) -> tuple[dict, dict[str, Path]]:
    """Sample a survey into `out`, draw the figures; return the summary and name -> path of every product."""
    import galaxyjax
    from galaxyjax.core.progress import Progress
    from galaxyjax.infer import chains, run

    loaded = galaxyjax.load(emulator)
    summary = run.run(analysis, survey, out, sampler, loaded, devices)
    with Progress(None, "figures"):
        figures = _figures(analysis, survey, out, loaded, summary)
    paths = {
        **figures,
        "chains, NetCDF (ArviZ)": out / chains.NETCDF,
        "chains, GetDist": out / f"{chains.ROOT}_1.txt ...",
        "summary": out / chains.SUMMARY,
    }
    return summary, paths


def _figures(analysis, survey, out: Path, emulator, summary: Mapping) -> dict[str, Path]:
    import jax.numpy as jnp
    import numpy as np

    from galaxyjax.infer.chains import read_columns
    from galaxyjax.report.posterior import posterior_figures

    prior = analysis.prior(survey)
    values = {name: jnp.asarray(summary["best_fit"][name], float) for name in prior.names}
    values |= {name: jnp.asarray(value, float) for name, value in prior.fixed.items()}
    known, kind = reference(summary)
    return posterior_figures(
        out,
        read_columns(out),
        prior.names,
        replace(survey.shear, name=survey.name),
        np.asarray(analysis.model(emulator, survey).vector(values))[: survey.shear.data.size],
        bounds=prior.bounds,
        markers=known,
        markers_name=kind,
    )


def reference(summary: Mapping) -> tuple[dict[str, float], str]:
    """What a result is to be held against, and what that is: the mock's truth, or a published value."""
    if summary["data"] == "mock":
        from galaxyjax.simulate.mock import load_truth

        truth = load_truth()
        return {**truth["parameters"], **truth["derived"]}, "truth"
    published = summary.get("published")
    return ({"S8": published["S8"]["value"]}, "published") if published else ({}, "")


def show(summary: Mapping, paths: Mapping[str, Path]) -> None:
    """The result as a table, its diagnostics, and where everything lies."""
    known, kind = reference(summary)
    rows = []
    for name in (n for n in SHOWN if n in summary["parameters"]):
        rows.append([name, *_rounded(summary["parameters"][name])])
        if kind:
            rows[-1].append(f"{known[name]:.4g}" if name in known else "")
    console.table(["", "mean", "std", "68% interval", *([kind] if kind else [])], rows)
    console.say()
    published = summary.get("published")
    if published:
        entry = published["S8"]
        console.say(
            f"published: S8 = {entry['value']:g} +{entry['plus']:g} -{entry['minus']:g}\n"
            f"  ({published['source']}: {published['statistic']}; HMcode2016)"
        )
    diverged = summary["divergences"] - summary["outside_domain"]
    console.say(
        f"best-fit chi2 {summary['best_fit_chi2']:.1f} for {summary['data_points']} data points; "
        f"R-hat {summary['max_rhat']:.4f}, ESS {summary['min_ess']:.0f}, "
        f"{diverged} divergences, {summary['gradients']} gradients, {summary['wall_s']:.0f} s"
    )
    if "log_evidence" in summary:
        error = summary["log_evidence_error"]
        console.say(f"log evidence {summary['log_evidence']:.2f} +- {error:.2f}, of exp(-chi2 / 2)")
    if not summary["converged"]:
        console.say(
            "NOT CONVERGED: raise --particles, in another folder"
            if "log_evidence" in summary
            else "NOT CONVERGED: raise --max-draws and run the same command again; the chains go on from here"
        )
    for name, share in summary["at_prior_edge"].items():
        console.say(f"{name}: {100 * share:.0f}% of the draws are at the edge of its prior, which limits it")
    console.say()
    width = max(map(len, paths))
    for name, path in paths.items():
        console.say(f"  {name:<{width}}  {path}")


def _rounded(entry: Mapping[str, float]) -> tuple[str, str, str]:
    """mean, std and 68% interval, all to the second digit of std."""
    std = entry["std"]
    digits = max(1 - math.floor(math.log10(std)), 0) if std > 0 else 4
    mean, std, low, high = (f"{entry[name]:.{digits}f}" for name in ("mean", "std", "q16", "q84"))
    return mean, std, f"{low} to {high}"
