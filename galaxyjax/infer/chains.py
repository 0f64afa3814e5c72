"""Chains on disk: ArviZ NetCDF for Bayesian tools, GetDist text for cosmologists, summary.json for
programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import ConfigError, FileError
from galaxyjax.core.files import atomic_path, write_json
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.sample import Chains
from galaxyjax.infer.summary import log_likelihood, log_prior, summarise

NETCDF = "chains.nc"
SUMMARY = "summary.json"
ROOT = "chain"  # GetDist: chain_1.txt ... chain.paramnames, chain.ranges

LABELS = {
    "S8": r"S_8",
    "sigma_8": r"\sigma_8",
    "Omega_m": r"\Omega_{\rm m}",
    "omega_m": r"\omega_{\rm m}",
    "Omega_b": r"\Omega_{\rm b}",
    "omega_b": r"\omega_{\rm b}",
    "omega_cdm": r"\omega_{\rm cdm}",
    "Omega_cdm": r"\Omega_{\rm cdm}",
    "ln10A_s": r"\ln(10^{10}A_{\rm s})",
    "logA": r"\ln(10^{10}A_{\rm s})",
    "A_s": r"A_{\rm s}",
    "A_s_1e9": r"10^9A_{\rm s}",
    "n_s": r"n_{\rm s}",
    "h": r"h",
    "H0": r"H_0",
    "m_nu": r"\Sigma m_\nu",
    "w0": r"w_0",
    "wa": r"w_a",
    "A_IA": r"A_{\rm IA}",
    "logT_AGN": r"\log_{10}T_{\rm AGN}",
    "eta_IA": r"\eta_{\rm IA}",
    "r_drag": r"r_{\rm drag}/{\rm Mpc}",
    "sigma_gas": r"\Delta f_{\rm gas}",
    "sigma_star": r"\Delta M_*",
    "jet": r"f_{\rm jet}",
    "chi2": r"\chi^2",
}


def write(folder: str | Path, chains: Chains, posterior: Posterior, about: Mapping[str, object]) -> dict:
    """Writes every output of a run into `folder` and returns the summary.

    Each file is whole or absent, and summary.json comes last: where it is, everything is.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_netcdf(folder / NETCDF, chains, about)
    write_getdist(folder / ROOT, chains, posterior)
    summary = summarise(chains, posterior, about)
    write_json(folder / SUMMARY, summary)
    return summary


def inference_data(chains: Chains, about: Mapping[str, object]):
    """ArviZ InferenceData: posterior (sampled and derived parameters) and sample_stats, dimensions (chain,
    draw).
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # on import, of its next major version: pyproject has <1
        import arviz

    draws = chains.draws
    stats = {
        "lp": draws.log_density,
        "log_likelihood_total": log_likelihood(chains),
        "energy_error" if chains.kind == "mclmc" else "acceptance_rate": draws.acceptance,
        "n_steps": draws.gradients,
        "diverging": draws.divergent,
        "outside_domain": draws.outside,
    }
    data = arviz.from_dict(
        posterior={name: np.asarray(chains.column(name), np.float64) for name in chains.names},
        sample_stats=stats,
    )
    attributes = {key: value for key, value in about.items() if isinstance(value, (str, int, float))}
    data.posterior.attrs.update({"sampled": list(chains.names[: chains.sampled]), **attributes})
    return data


def write_netcdf(path: str | Path, chains: Chains, about: Mapping[str, object]) -> None:
    """Writes the chains as ArviZ NetCDF. Raises ConfigError when ArviZ is not installed."""
    try:
        data = inference_data(chains, about)
    except ImportError as missing:
        raise ConfigError("ArviZ is not installed: pip install 'galaxyjax[sample]'") from missing
    with atomic_path(path) as temporary:
        data.to_netcdf(str(temporary), engine="h5netcdf")


def read_columns(folder: str | Path) -> dict[str, np.ndarray]:
    """Name -> (chains, draws) of every sampled and derived parameter of a finished run, and "lp".

    Raises FileError when the folder holds no whole run.
    """
    folder = Path(folder)
    for name in (NETCDF, SUMMARY):
        if not (folder / name).is_file():
            raise FileError(f"{folder / name}: no such file; give the folder of a finished run")
    import xarray

    try:
        with xarray.open_dataset(folder / NETCDF, group="posterior", engine="h5netcdf") as data:
            columns = {str(name): np.asarray(data[name].values) for name in data.data_vars}
        with xarray.open_dataset(folder / NETCDF, group="sample_stats", engine="h5netcdf") as data:
            return {**columns, "lp": np.asarray(data["lp"].values)}
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{folder / NETCDF}: not a whole chain file ({error})") from error


def write_getdist(root: str | Path, chains: Chains, posterior: Posterior) -> None:
    """Writes <root>_1.txt ..., <root>.paramnames and <root>.ranges; derived columns are starred, chi2 is the
    last.

    Each line of a chain holds weight 1, -ln posterior (per unit of the parameters, up to a constant) and the
    columns.
    """
    root = Path(root)
    likelihood = log_likelihood(chains)
    minus = -(likelihood + log_prior(posterior, chains.draws.position))
    columns = np.concatenate([chains.quantities, (-2.0 * likelihood)[..., None]], -1)
    for i in range(len(minus)):
        table = np.column_stack([np.ones(len(minus[i])), minus[i], columns[i]])
        _write_text(root.with_name(f"{root.name}_{i + 1}.txt"), table)
    names = [*chains.names, "chi2"]
    stars = ["" if j < chains.sampled else "*" for j in range(len(names))]
    lines = [f"{name}{star}\t{label(name)}" for name, star in zip(names, stars, strict=True)]
    _write_text(root.with_name(f"{root.name}.paramnames"), lines)
    lines = [f"{name} {_bound(low)} {_bound(high)}" for name, (low, high) in posterior.prior.bounds.items()]
    _write_text(root.with_name(f"{root.name}.ranges"), lines)


def label(name: str) -> str:
    """LaTeX of a parameter, without dollars."""
    if name.startswith("dz_"):
        return rf"\delta z_{{{name[3:]}}}"
    return LABELS.get(name, name.replace("_", r"\_"))


def _bound(value: float | None) -> str:
    return "N" if value is None else f"{value:.9g}"


def _write_text(path: Path, content) -> None:
    with atomic_path(path) as temporary:
        if isinstance(content, np.ndarray):
            np.savetxt(temporary, content, fmt="%.9g")
        else:
            temporary.write_text("\n".join(content) + "\n", encoding="utf-8")
