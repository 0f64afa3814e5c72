"""Calibration by simulation: ranks of truths among draws from the posteriors of their mock data.

    calibration = calibrate(family, truths, data, folder)
    calibration.verdicts, calibration.tarp, calibration.passes

Mock data sets are sampled some at a time in one compiled program; each group that is done is kept in a file,
so that a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxyjax.core.errors import ConfigError, DataError, GalaxyjaxError
from galaxyjax.core.files import read_npz, write_npz
from galaxyjax.core.progress import Progress
from galaxyjax.infer.ensemble import Drawn, Effort, Ensemble, Family
from galaxyjax.infer.ranks import LEVEL, Verdict, judge, ranks, tarp

LIKELIHOOD = "log likelihood"
ROUNDS = (0.9, 0.9, 1.0)  # shares of a group that must have converged; what has not is sampled again


class Miscalibrated(GalaxyjaxError):
    """Posteriors that do not mean what they say."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What came out.

    names: parameters, and the log likelihood last. ranks: (m, q) uniform numbers if all is well. tarp_ranks:
    (m,) the same of all parameters at once. ess, r_hat: (m,) the worst of each data set. draws: handed out
    for each.
    """

    names: tuple[str, ...]
    ranks: np.ndarray
    tarp_ranks: np.ndarray
    ess: np.ndarray
    r_hat: np.ndarray
    draws: int
    gradients: int
    wall_s: float

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """One of each name."""
        return judge(self.names, self.ranks)

    @cached_property
    def tarp(self) -> Verdict:
        """Coverage of all parameters at once."""
        return judge(("TARP",), self.tarp_ranks[:, None])[0]

    @property
    def short(self) -> int:
        """Data sets with fewer effective draws than were handed out."""
        return int(np.sum(self.ess < self.draws))

    @property
    def failures(self) -> list[Verdict]:
        """Verdicts that fail, TARP's included."""
        return [one for one in (*self.verdicts, self.tarp) if one.fails]

    @property
    def passes(self) -> bool:
        """No verdict fails, and every posterior was sampled well enough for ranks to mean anything."""
        return not self.failures and not self.short

    def check(self) -> None:
        """Raises Miscalibrated, saying which quantity fails and how."""
        if self.short:
            raise Miscalibrated(
                f"calibrate: {self.short} of {len(self.ess)} mocks have fewer than {self.draws} effective "
                f"draws (fewest {self.ess.min():.0f}); their ranks mean nothing: sample them longer"
            )
        if self.failures:
            said = "; ".join(f"{one.name} {one.how} (p = {one.p:.2g})" for one in self.failures)
            raise Miscalibrated(f"calibrate: posteriors of {len(self.ess)} mocks are not calibrated: {said}")

    def as_dict(self) -> dict:
        """Plain values for JSON."""
        line = lambda v: {  # noqa: E731
            "p": v.p, "bias": v.bias, "width": v.width, "spread": v.spread, "fails": v.fails, "how": v.how
        }  # fmt: skip
        return {
            "mocks": len(self.ess),
            "draws": self.draws,
            "passes": self.passes,
            "asked_p": LEVEL / len(self.names),
            "quantities": {one.name: line(one) for one in self.verdicts},
            "tarp": line(self.tarp),
            "smallest_ess": float(self.ess.min()),
            "median_ess": float(np.median(self.ess)),
            "largest_r_hat": float(self.r_hat.max()),
            "short": self.short,
            "gradients": self.gradients,
            "wall_s": self.wall_s,
            "ranks": self.ranks.tolist(),
            "tarp_ranks": self.tarp_ranks.tolist(),
        }


def calibrate(
    family: Family,
    truths,
    data,
    folder: str | Path | None = None,
    effort: Effort = Effort(),  # noqa: B008
) -> Calibration:
    """Samples the posterior of every mock data set and ranks its truth.

    Args:
        family: the posteriors.
        truths: (m, d) coordinates, independent draws from the prior.
        data: (m, n) drawn from the truths, one set each.
        folder: where finished groups are kept; None keeps nothing.
        effort: how long to sample each.

    Raises:
        ConfigError: `folder` holds another calibration.
        DataError: shapes that do not fit, or values that are not finite.
    """
    began = time.monotonic()
    truths, data = np.asarray(truths, np.float32), np.asarray(data)
    prior = family.posterior(jnp.asarray(data[0], jnp.float32)).prior
    if truths.shape != (len(data), prior.dimension) or len(truths) < 20:
        raise DataError(f"truths {truths.shape} and data {data.shape}: give 20 or more rows of both, and "
                        f"{prior.dimension} coordinates")  # fmt: skip
    if not (np.isfinite(truths).all() and np.isfinite(data).all()):
        raise DataError("truths or data hold NaN or infinity")
    ensemble, joined, seconds, late = None, None, 0.0, np.arange(len(data))
    # A chain may stay where it began: its data set is sampled again, from other starts.
    for again, share in enumerate(ROUNDS):
        # Padding costs as much as data: a program for the few that are left is soon worth compiling.
        size = min(effort.at_once, len(late))
        if ensemble is None or size < ensemble.effort.at_once:
            ensemble = Ensemble(family, prior.dimension, replace(effort, at_once=size))
        groups = [late[i : i + effort.at_once] for i in range(0, len(late), effort.at_once)]
        with Progress(len(late), "sampling again" if again else "calibrating", unit="mocks") as progress:
            for number, group in enumerate(groups):
                name = f"again_{again}_{number:04d}.npz" if again else f"group_{number:04d}.npz"
                path = None if folder is None else Path(folder) / name
                identity = _identity(family, effort, truths[group], data[group])
                found, took = _load(path, identity) if path is not None and path.exists() else (None, 0.0)
                if found is None:
                    start = time.monotonic()
                    seeds = 1000 * effort.seed + group + 10**6 * again
                    found = ensemble.draw(data[group], seeds, share)
                    took = time.monotonic() - start
                    if path is not None:
                        write_npz(path, {"identity": identity, "wall_s": took, **found._asdict()})
                joined = _joined(joined, found, group, len(data))
                seconds += took
                progress.advance(len(group), **{"smallest ESS": float(found.ess.min())})
        late = np.flatnonzero((joined.ess < effort.ess) | (joined.r_hat >= effort.r_hat))
        if not len(late):
            break
    seconds = max(seconds, time.monotonic() - began)
    return _rank(family, truths, data, joined, effort, seconds)


def _joined(joined: Drawn | None, found: Drawn, group: np.ndarray, count: int) -> Drawn:
    """All data sets' draws with those of one group in their place; gradients add up."""
    if joined is None:
        arrays = [np.zeros((count, *values.shape[1:]), values.dtype) for values in found[:-1]]
        joined = Drawn(*arrays, 0)
    for whole, part in zip(joined[:-1], found[:-1], strict=True):
        whole[group] = part
    return joined._replace(gradients=joined.gradients + int(np.sum(found.gradients)))


def _rank(family: Family, truths, data, drawn: Drawn, effort: Effort, seconds: float) -> Calibration:
    rng = np.random.default_rng([effort.seed, 30])
    prior = family.posterior(jnp.asarray(data[0], jnp.float32)).prior
    likelihood = jax.jit(jax.vmap(lambda u, one: family.posterior(one).log_weight(u)))
    true = np.asarray(likelihood(truths, data.astype(np.float32)), np.float64)
    values = lambda u: np.stack([np.asarray(prior.constrain(u)[n]) for n in prior.names], -1)  # noqa: E731
    columns = np.concatenate([values(drawn.position), drawn.log_likelihood[..., None]], -1)
    uniform = ranks(np.concatenate([values(truths), true[:, None]], -1), columns, rng)
    references = rng.standard_normal(truths.shape)
    return Calibration(
        names=(*prior.names, LIKELIHOOD),
        ranks=uniform,
        tarp_ranks=tarp(truths, drawn.position, references, rng),
        ess=drawn.ess,
        r_hat=drawn.r_hat,
        draws=effort.draws,
        gradients=drawn.gradients,
        wall_s=seconds,
    )


def _identity(family: Family, effort: Effort, truths, data) -> str:
    digest = hashlib.sha256(f"{family.identity}\n{effort!r}\n{jax.__version__}".encode())
    for array in (truths, data):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _load(path: Path, identity: str) -> tuple[Drawn, float]:
    arrays = read_npz(path)
    if str(arrays.get("identity")) != identity:
        raise ConfigError(
            f"{path} belongs to another calibration: give another folder, or remove it to start afresh"
        )
    return Drawn(*(arrays[name] for name in Drawn._fields)), float(arrays["wall_s"])
