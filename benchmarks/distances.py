"""chi2 of DESI and Union3 against Cobaya's own likelihoods with CAMB, same files, same cosmology.

    GALAXYJAX_DATA=... python benchmarks/distances.py        # needs CAMB and Cobaya; 10 s

The data come through data_manifests; surveys that cannot be had are left out and named. Cobaya's classes read
the very files (BAO, SN: the columns and covariance of CosmoMC), and marginalise the supernovae's magnitude.
Printed: both chi2, and their difference; asked: 0.05.
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from cobaya.likelihoods.base_classes import BAO, SN
from cobaya.model import get_model

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.data.distances import distances
from galaxyjax.data.fetch import Unavailable, fetch
from galaxyjax.data.manifest import load_manifest
from galaxyjax.infer.distances import theory
from galaxyjax.infer.likelihood import gaussian

ASKED = 0.05
POINTS = (
    {"omega_b": 0.0223, "omega_cdm": 0.119, "h": 0.68, "n_s": 0.965, "ln10A_s": 3.05, "m_nu": 0.06},
    {"omega_b": 0.0215, "omega_cdm": 0.130, "h": 0.65, "n_s": 0.965, "ln10A_s": 3.05, "m_nu": 0.2, "w0": -0.8,
     "wa": -0.5},
)  # fmt: skip


class Acoustic(BAO):
    """Cobaya's likelihood of a table of distances, without its installer."""

    install_options = {}
    path: str | None = None
    prob_dist_bounds: tuple | None = None


class Supernovae(SN):
    """Cobaya's likelihood of a CosmoMC data set, without its installer."""

    install_options = {}
    path: str | None = None
    dataset_file: str | None = None
    dataset_params: dict | None = None
    aliases: tuple = ()


def main() -> int:
    """Print the comparison; return 1 when the limit is missed, 2 when there are no data."""
    jax.config.update("jax_enable_x64", True)
    print(f"{'survey':14} {'point':>5} {'ours':>10} {'Cobaya':>10} {'difference':>11}   asked {ASKED}")
    worst, seen = 0.0, 0
    for name in ("desi_dr1_bao", "desi_dr2_bao", "union3"):
        try:
            survey = distances(name)
        except Unavailable as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        likelihood = gaussian(survey.data, survey.covariance)
        for number, point in enumerate(POINTS):
            ours = float(likelihood.chi2(theory(survey, Cosmology(**point))))
            peer = cobaya(name, point)
            print(f"{name:14} {number:5} {ours:10.4f} {peer:10.4f} {ours - peer:+11.5f}")
            worst, seen = max(worst, abs(ours - peer)), seen + 1
    return 2 if not seen else int(worst > ASKED)


def cobaya(name: str, point) -> float:
    """chi2 of Cobaya's likelihood at a point (pecz is tiny, as Cobaya divides by it; Union3 has none)."""
    manifest = load_manifest(name)
    first, second = (fetch(manifest)[source.name] for source in manifest.files)
    params = {"ombh2": "omega_b", "omch2": "omega_cdm", "mnu": "m_nu", "ns": "n_s"}
    values = {theirs: point[ours] for theirs, ours in params.items()}
    values |= {"H0": 100.0 * point["h"], "As": 2.1e-9, "w": point.get("w0", -1.0), "wa": point.get("wa", 0.0)}
    extra = {"nnu": 3.044, "num_massive_neutrinos": 3, "neutrino_hierarchy": "degenerate", "TCMB": 2.7255,
             "dark_energy_model": "ppf"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        if name == "union3":
            text = (
                f"name = Union3\ndata_file = {first}\npecz = 1e-6\nintrinsicdisp = 0\ntwoscriptmfit = F\n"
                f"has_mag_covmat = T\nmag_covmat_file = {second}\n"
            )
            text += "".join(
                f"has_{kind}_covmat = F\n"
                for kind in ("stretch", "colour", "mag_stretch", "mag_colour", "stretch_colour")
            )
            Path(folder, "set.dataset").write_text(text)
            entry = {
                "external": Supernovae,
                "path": folder,
                "dataset_file": "set.dataset",
                "use_abs_mag": False,
            }
        else:
            entry = {"external": Acoustic, "path": str(first.parent), "measurements_file": first.name,
                     "cov_file": second.name}  # fmt: skip
        model = get_model(
            {"theory": {"camb": {"extra_args": extra}}, "params": values, "likelihood": {"peer": entry}}
        )
        chi2 = -2.0 * float(model.loglikes({})[0][0])
        # Cobaya's supernovae carry the norm of the integral over the magnitude.
        return (
            chi2 - np.log(model.likelihood["peer"].invcov.sum() / (2 * np.pi)) if name == "union3" else chi2
        )


if __name__ == "__main__":
    sys.exit(main())
