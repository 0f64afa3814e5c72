"""Calibration passes posteriors that are right, and says what is wrong with those that are not."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.infer import calibrate as module
from galaxyjax.infer.calibrate import LIKELIHOOD, Miscalibrated, calibrate
from galaxyjax.infer.ensemble import Effort, Ensemble, Family
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import Normal, Prior, Uniform
from galaxyjax.infer.ranks import band, ecdf_difference, judge, ranks, tarp

D, N, M = 3, 6, 120
RNG = np.random.default_rng(8)
DESIGN = RNG.normal(size=(N, D)) * np.array([3.0, 1.0, 0.3])
TRUTHS = RNG.standard_normal((M, D))
DATA = TRUTHS @ DESIGN.T + RNG.standard_normal((M, N))
COVARIANCE = np.linalg.inv(np.eye(D) + DESIGN.T @ DESIGN)
NAMES = ("a", "b", "c")
EFFORT = Effort(draws=40, ess=60.0, r_hat=1.15, at_once=40, block=50, warmup=(1, 1))


def family(variance: float = 1.0, shift: float = 0.0) -> Family:
    """Linear models of normal data; told a wrong variance of the noise, or data that are off, if asked."""

    def posterior(data):
        def log_likelihood(values):
            x = jnp.stack([values[name] for name in NAMES])
            return -0.5 * jnp.sum((data + shift - jnp.asarray(DESIGN, x.dtype) @ x) ** 2) / variance

        return Posterior(Prior({name: Normal(0.0, 1.0) for name in NAMES}), log_likelihood)

    return Family(posterior, f"{variance} {shift}")


def exact(variance: float = 1.0, shift: float = 0.0, count: int = 400, draws: int = 99):
    """Truths, and draws from their conjugate posteriors: told a wrong variance, or shifted data."""
    rng = np.random.default_rng(1)
    truths = rng.standard_normal((count, D))
    data = (truths + shift) @ DESIGN.T + rng.standard_normal((count, N))
    covariance = np.linalg.inv(np.eye(D) + DESIGN.T @ DESIGN / variance)
    means = data @ DESIGN @ covariance / variance
    noise = rng.standard_normal((count, draws, D)) @ np.linalg.cholesky(covariance).T
    return truths, means[:, None] + noise


@pytest.fixture(scope="module")
def ensemble():
    """Compiled once, for all calibrations of the right model."""
    return Ensemble(family(), D, EFFORT)


@pytest.fixture(scope="module")
def right(ensemble):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Ensemble", lambda *_: ensemble)
        return calibrate(family(), TRUTHS, DATA, effort=EFFORT)


def test_a_conjugate_model_is_calibrated(right):
    right.check()
    assert right.passes and right.names == (*NAMES, LIKELIHOOD) and right.ranks.shape == (M, 4)
    assert right.short == 0 and right.ess.min() >= 60.0
    assert min(one.p for one in right.verdicts) > 0.01 / 4 and right.tarp.p > 0.01


@pytest.mark.slow
def test_the_draws_of_all_data_sets_have_the_conjugate_moments():
    """Vectorised chains, one data set's beside another's: means and covariances of each."""
    drawn = Ensemble(family(), D, replace(EFFORT, draws=400, ess=400.0, at_once=5)).draw(
        DATA[:4], np.arange(4)
    )
    sigma = np.sqrt(np.diag(COVARIANCE))
    for position, data in zip(drawn.position, DATA, strict=False):
        np.testing.assert_allclose((position.mean(0) - COVARIANCE @ DESIGN.T @ data) / sigma, 0.0, atol=0.3)
        np.testing.assert_allclose(position.std(0) / sigma, 1.0, atol=0.2)
    assert drawn.position.shape == (4, 400, D) and drawn.gradients > 0


def test_half_the_covariance_is_over_confident_and_the_message_says_so():
    with pytest.raises(Miscalibrated, match="over-confident") as caught:
        calibrate(family(variance=0.5), TRUTHS, DATA, effort=EFFORT).check()
    assert LIKELIHOOD in str(caught.value)


@pytest.mark.parametrize(
    "fault, said",
    [({}, ""), ({"variance": 3.0}, "under-confident"), ({"variance": 0.4}, "over-confident"),
     ({"shift": 0.3}, "biased high"), ({"shift": -0.3}, "biased low")],
)  # fmt: skip
def test_every_fault_is_named(fault, said):
    """On exact draws, so that nothing but the posterior is at fault."""
    truths, draws = exact(**fault)
    rng = np.random.default_rng(0)
    verdicts = judge(NAMES, ranks(truths, draws, rng))
    covered = tarp(truths, draws, rng.standard_normal(truths.shape), rng)
    how = [one.how for one in verdicts if one.fails]
    if not said:
        assert not how and stats.kstest(covered, "uniform").pvalue > 0.01
    else:
        assert any(said in one for one in how)


def test_ranks_of_what_does_not_vary_are_uniform():
    same = np.ones((500, 20, 1))
    assert stats.kstest(ranks(same[:, 0], same, np.random.default_rng(0))[:, 0], "uniform").pvalue > 0.01


def test_the_band_holds_95_of_100_uniform_samples():
    grid, low, high = band(100)
    rng = np.random.default_rng(4)
    curves = np.array([ecdf_difference(rng.random(100), grid) for _ in range(1000)])
    inside = np.mean(((curves >= low) & (curves <= high)).all(1))
    assert 0.92 < inside < 0.98


class Killed(Exception):
    pass


def test_finished_mocks_are_kept(tmp_path, monkeypatch, right, ensemble):
    """Killed after two groups of three, taken up: the same ranks, and only what was missing is sampled."""
    drawn, draw = [], Ensemble.draw

    def dies(self, data, seeds, share):
        drawn.append(len(data))
        if len(drawn) == 3:
            raise Killed
        return draw(self, data, seeds, share)

    monkeypatch.setattr(Ensemble, "draw", dies)
    monkeypatch.setattr(module, "Ensemble", lambda *_: ensemble)
    with pytest.raises(Killed):
        calibrate(family(), TRUTHS, DATA, tmp_path, EFFORT)
    again = calibrate(family(), TRUTHS, DATA, tmp_path, EFFORT)
    assert drawn[:4] == [40] * 4 and sum(drawn[4:]) < 20  # the few that had not converged, again
    assert len(list(tmp_path.glob("group_*.npz"))) == 3
    np.testing.assert_array_equal(again.ranks, right.ranks)
    with pytest.raises(ConfigError, match="another calibration"):
        calibrate(family(2.0), TRUTHS, DATA, tmp_path, EFFORT)


def test_what_did_not_converge_is_sampled_again_from_other_starts(monkeypatch, right, ensemble):
    """Two data sets with a chain that stays put: they alone are drawn again, with new seeds."""
    calls, draw = [], Ensemble.draw

    def stuck(self, data, seeds, share):
        calls.append((np.asarray(seeds), share))
        found = draw(self, data, seeds, share)
        late = np.isin(seeds, [3, 50])  # the seeds of the first round are the data sets' numbers
        return found._replace(
            ess=np.where(late, 5.0, found.ess), position=np.where(late[:, None, None], 9.0, found.position)
        )

    monkeypatch.setattr(Ensemble, "draw", stuck)
    monkeypatch.setattr(module, "Ensemble", lambda *_: ensemble)
    again = calibrate(family(), TRUTHS, DATA, effort=EFFORT)
    assert [len(seeds) for seeds, _ in calls[:3]] == [40, 40, 40]
    redrawn = calls[3][0]
    assert set(redrawn % 1000) >= {3, 50} and (redrawn >= 10**6).all() and len(redrawn) < 20
    assert again.ess.min() >= EFFORT.ess and again.short == 0
    others = np.setdiff1d(np.arange(M), redrawn % 10**6)
    np.testing.assert_array_equal(again.ranks[others, 0].round(1), right.ranks[others, 0].round(1))
    assert again.gradients > right.gradients


@pytest.mark.slow
def test_posteriors_that_were_sampled_too_little_say_nothing():
    few = calibrate(
        family(), TRUTHS[:40], DATA[:40], effort=replace(EFFORT, max_draws=50, warmup=(1,), draws=190)
    )
    assert not few.passes
    with pytest.raises(Miscalibrated, match="effective draws"):
        few.check()


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="3 coordinates"):
        calibrate(family(), TRUTHS[:, :2], DATA)
    with pytest.raises(DataError, match="NaN"):
        calibrate(family(), TRUTHS, np.where(np.arange(N) == 2, np.nan, DATA))


@pytest.mark.slow
def test_a_prior_that_the_data_leave_alone_is_calibrated():
    """Bounded flat priors, one not measured at all: ranks of draws from the prior itself."""

    def posterior(data):
        prior = Prior({"x": Uniform(0.0, 1.0), "y": Uniform(-1.0, 3.0)})
        return Posterior(prior, lambda values: -0.5 * jnp.sum(((data - values["x"]) / 0.3) ** 2))

    rng = np.random.default_rng(9)
    truths = rng.standard_normal((M, 2))
    data = rng.normal(stats.norm.cdf(truths[:, :1]), 0.3)
    found = calibrate(Family(posterior), truths, data, effort=EFFORT)
    found.check()
    assert module.LIKELIHOOD in found.names
