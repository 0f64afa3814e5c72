"""Whether draws of an emulator of baryons can be told from the truth: exact tests by exchangeability.

If a simulation were one more draw, its place among the draws would be any with equal chance, whatever the
correlations between cells and shells are. So each statistic of the truth is ranked among those of the draws
(a one-against-many permutation test), and examples are put together by Fisher's method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from scipy.stats import chi2

from galaxyjax.data.baryons import BaryonFields
from galaxyjax.emulator.hydro import HydroEmulator
from galaxyjax.fields.spectra import power_spectrum

SEED = 20_251
# Field -> centres at which its cumulative distribution is compared.
LEVELS = {
    "gas": np.geomspace(0.02, 100.0, 40),
    "temperature": np.geomspace(1e3, 3e7, 40),
    "pressure": np.geomspace(0.3, 1e8, 40),
    "stars": np.geomspace(1e-3, 100.0, 30),
}
SPECTRA = ("gas", "pressure", "stars")
EDGES = np.array([0.2, 0.75, 1.15, 1.6, 2.01])  # h/Mpc: few and wide, as there are few draws


def draw(
    emulator: HydroEmulator,
    theta: Mapping[str, float],
    matter: jax.Array,
    truth: BaryonFields,
    mesh: Mesh,
    count: int,
    steps: int,
) -> list[dict[str, np.ndarray]]:
    """Return `count` samples at one truth's matter, each field -> (n, n, n), in the truth's units."""
    from galaxyjax.validate.hydro import inputs_of, scaled

    x, made = inputs_of(emulator, theta), []
    options = dict(matter=matter, box_size=truth.box_size, z=truth.redshift, mesh=mesh, steps=steps)
    model = emulator.with_policy("extrapolate")
    for number in range(count):
        key = jax.random.fold_in(jax.random.key(SEED), number)
        made.append(scaled(model.sample(x, key=key, **options), x))
    return made


def tests(truth: Mapping[str, np.ndarray], draws: Sequence[Mapping], box_size: float, mesh: Mesh) -> dict:
    """Return the p-values of one example: "pdf" and "power" -> field -> p.

    pdf: of the largest distance between a member's cumulative distribution and the mean of the others'.
    power: of the Mahalanobis distance of ln P in wide shells to k = 2 h/Mpc. A field that the truth does not
    hold (less than a thousandth of the baryons in stars) is left out.
    """
    members = [truth, *draws]
    found: dict = {"pdf": {}, "power": {}}
    for name, levels in LEVELS.items():
        if name == "stars" and np.mean(truth[name]) < 1e-3:
            continue
        curves = np.array([[np.mean(one[name] <= level) for level in levels] for one in members])
        found["pdf"][name] = rank(_distances(curves))
        if name in SPECTRA:
            powers = np.log([_power(one[name], box_size, mesh) for one in members])
            found["power"][name] = rank(mahalanobis(powers))
    return found


def rank(values: np.ndarray) -> float:
    """Return p of the first of (n,) values being as large as it is: its place among all, from above."""
    return float(np.mean(values >= values[0]))


def mahalanobis(rows: np.ndarray) -> np.ndarray:
    """Return squared distances (n,) of rows (n, d) from the mean of all, by the covariance of all."""
    centred = rows - rows.mean(axis=0)
    covariance = centred.T @ centred / len(rows) + 1e-12 * np.eye(rows.shape[1])
    return np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)


def together(parts: Sequence[Mapping]) -> dict:
    """Return the p-values of several examples as one, by Fisher's method (1925): kind -> field -> p."""
    out: dict = {}
    for kind in ("pdf", "power"):
        names = [name for name in LEVELS if any(name in part[kind] for part in parts)]
        out[kind] = {
            name: fisher([part[kind][name] for part in parts if name in part[kind]]) for name in names
        }
    return out


def fisher(p: Sequence[float]) -> float:
    """Return the p-value of several independent ones."""
    return float(chi2.sf(-2.0 * np.sum(np.log(p)), 2 * len(p)))


def agreement(mean: Mapping[str, np.ndarray], draws: Sequence[Mapping]) -> dict[str, float]:
    """Return how the mean of draws agrees with the mean head, weighted by volume.

    Of gas, which the mean head expects, ln of the draws' mean; of T, which it says typically, mean of ln T.
    shift: mean over cells of the difference. spread: rms scatter of draws about their mean. off: rms of the
    difference, less what few draws alone would scatter, over the spread.
    """
    out = {}
    for name in ("gas", "temperature"):
        found = np.array([one[name] for one in draws])
        logs = np.log(found)
        middle = np.log(found.mean(axis=0)) if name == "gas" else logs.mean(axis=0)
        difference = middle - np.log(mean[name])
        variance = logs.var(axis=0, ddof=1).mean()
        excess = max(np.mean(difference**2) - variance / len(draws), 0.0)
        out[f"{name}_shift"] = float(difference.mean())
        out[f"{name}_spread"] = float(np.sqrt(variance))
        out[f"{name}_off"] = float(np.sqrt(excess / variance))
    return out


def _distances(curves: np.ndarray) -> np.ndarray:
    others = (curves.sum(axis=0) - curves) / (len(curves) - 1)
    return np.abs(curves - others).max(axis=1)


def _power(values: np.ndarray, box_size: float, mesh: Mesh) -> np.ndarray:
    return np.maximum(np.asarray(_shells(jax.numpy.asarray(values, "float32"), box_size, mesh), float), 1e-30)


@partial(jax.jit, static_argnums=(1, 2))
def _shells(values: jax.Array, box_size: float, mesh: Mesh) -> jax.Array:
    """Compiled once for all members."""
    return power_spectrum(values, box_size=box_size, mesh=mesh, edges=EDGES).power
