"""Forecast of KiDS-1000 by the emulator's exact derivatives against finite differences of CAMB.

    python benchmarks/fisher.py [--free ln10A_s omega_cdm ...]

The same likelihood, projection and priors (flat ones as normal ones of the same variance); only P(k, z) and
its derivatives differ. Prints, for each parameter, both deviations with all others free and with all others
known, their ratio, and what each side took.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import galaxyjax
from galaxyjax.data.fetch import Unavailable
from galaxyjax.data.survey import kids1000
from galaxyjax.infer.fisher import by_differences, fisher
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.infer.truth import steps, truth_vector
from galaxyjax.simulate.mock import load_mock

COSMOLOGY = ("ln10A_s", "omega_cdm", "omega_b", "h", "n_s", "logT_AGN")
NUISANCE = ("A_IA", "dz_1", "dz_2", "dz_3", "dz_4", "dz_5")


def survey():
    """KiDS-1000, or the packaged mock of the same shape."""
    try:
        return kids1000(download=False)
    except Unavailable:
        return load_mock()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--free", nargs="+", default=[*COSMOLOGY, *NUISANCE])
    names = tuple(parser.parse_args().free)
    jax.config.update("jax_enable_x64", True)
    data, analysis = survey(), KiDS1000()
    model = analysis.model(galaxyjax.load("matter_power"), data)
    values = dict(analysis.fiducial(data))
    cosmology = jax.jit(model.cosmology)({name: jnp.asarray(value, float) for name, value in values.items()})
    values = {name: value for name, value in values.items() if name != "S8"} | {
        "ln10A_s": float(cosmology.ln10A_s)
    }
    likelihood, prior = likelihood_of(model, data, analysis.fiducial(data)), analysis.prior(data)

    began = time.perf_counter()
    ours = fisher(model.vector, likelihood, values, names, prior)
    middle = time.perf_counter()
    camb = by_differences(lambda point: truth_vector(model, point), likelihood, values, steps(names), prior)
    end = time.perf_counter()

    print(
        f"{data.name}, {len(names)} parameters: {middle - began:.2f} s by derivatives, compiling "
        f"included, {end - middle:.0f} s by CAMB"
    )
    print(f"{'':10} {'sigma':>10} {'CAMB':>10} {'ratio':>8} {'known':>10} {'CAMB':>10} {'ratio':>8}")
    for name in names:
        a, b, c, d = (
            ours.sigma[name],
            camb.sigma[name],
            ours.conditional_sigma[name],
            camb.conditional_sigma[name],
        )
        print(f"{name:10} {a:10.4g} {b:10.4g} {a / b:8.4f} {c:10.4g} {d:10.4g} {c / d:8.4f}")
    ratios = np.array([ours.sigma[n] / camb.sigma[n] for n in names])
    print(f"largest difference: sigma {100 * np.abs(ratios - 1).max():.2f}%, correlations "
          f"{np.abs(ours.correlation - camb.correlation).max():.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
