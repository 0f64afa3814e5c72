"""The physics that `hydro_field` starts from: its filtering scale and temperature-density relation, fitted.

GALAXYJAX_DATA=DIR python benchmarks/hydro_baselines.py [--recipe emulators/hydro_field]

Least squares on the recipe's training pairs alone. filtering: R a^p, from ln of P_matter / P_gas = (k R)^2 to
Nyquist. relation: ln T = sum (c_i + d_i a) x^i, x the ln of the
filtered density, saturated; gas counts by the root of its mass.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.cli.recipe import load_recipe
from galaxyjax.fields.spectra import power_spectrum
from galaxyjax.mesh import fft
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.models.hydro_features import log_density, saturated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="emulators/hydro_field")
    recipe = load_recipe(parser.parse_args().recipe)[1]
    mesh = build_mesh("x=1", devices=jax.devices()[:1])
    found = [recipe.TRAIN.fields(i, 0) for i in range(len(recipe.TRAIN))]
    edges, scales = np.arange(0.3, 4.0, 0.25), {}
    for one in found:
        options = dict(box_size=one.box_size, mesh=mesh, edges=edges)
        shells = [power_spectrum(jnp.asarray(f), **options) for f in (one.matter, one.gas / one.gas.mean())]
        k, power = np.asarray(shells[0].k), [np.asarray(s.power) for s in shells]
        weight = np.asarray(shells[0].modes)
        square = np.sum(weight * np.log(power[0] / power[1]) * k**2) / np.sum(weight * k**4)
        scales.setdefault(round(1.0 / (1.0 + one.redshift), 2), []).append(max(square, 1e-4) ** 0.5)
    a = np.array(sorted(scales))
    radius = np.array([np.mean(scales[each]) for each in a])
    slope, first = np.polyfit(np.log(a), np.log(radius), 1)
    print(f"filtering = ({np.exp(first):.3f}, {slope:.2f})")
    print("   R at a:", ", ".join(f"{r:.3f} at {when:.2f}" for when, r in zip(a, radius, strict=True)))
    rows, heats = [], []
    for one in found:
        a = 1.0 / (1.0 + one.redshift)
        modes = fft.forward(jnp.asarray(one.matter), mesh, one.box_size)
        kernel = jnp.exp(-0.5 * modes.k_squared * (np.exp(first) * a**slope) ** 2)
        x = np.asarray(log_density(fft.inverse(modes.replace(modes.values * kernel), mesh)))
        warm = one.temperature > 0
        x, weight = np.asarray(saturated(x[warm])), one.gas[warm] ** 0.25
        powers = np.stack([np.ones_like(x), x, x**2, a * np.ones_like(x), a * x, a * x**2], axis=1)
        rows.append(powers * weight[:, None])
        heats.append(np.log(one.temperature[warm]) * weight)
    rows, heats = np.concatenate(rows), np.concatenate(heats)
    relation = np.linalg.lstsq(rows, heats, rcond=None)[0]
    print(f"relation = ({', '.join(f'{c:.3f}' for c in relation)})")
    shares = []
    for one in found:
        square = np.sort(((one.pressure - one.pressure.mean()) ** 2).ravel())
        shares.append(square[-10:].sum() / square.sum())
    print(f"variance of pressure in ten cells of a box: {min(shares):.0%} to {max(shares):.0%}")
    print(f"   weighted rms of ln T: {np.std(heats - rows @ relation):.3f}")


if __name__ == "__main__":
    main()
