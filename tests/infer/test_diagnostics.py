import numpy as np
import pytest

from galaxyjax.infer.diagnostics import convergence, ess_tail


def chains(kind: str, rng) -> np.ndarray:
    """(chains, draws, 3) autoregressive series, some with a chain apart, a heavy tail or rounding ties."""
    n, draws, memory = {
        "short": (4, 11, 0.3), "long": (4, 500, 0.8), "anti": (3, 300, -0.7), "two": (2, 160, 0.5),
        "apart": (4, 200, 0.2), "heavy": (4, 250, 0.4), "ties": (4, 240, 0.6), "slow": (4, 400, 0.995),
    }[kind]  # fmt: skip
    x = rng.standard_t(2, size=(n, draws, 3)) if kind == "heavy" else rng.standard_normal((n, draws, 3))
    for i in range(1, draws):
        x[:, i] += memory * x[:, i - 1]
    if kind == "apart":
        x[0] += 1.5
    return np.round(x, 1) if kind == "ties" else x


@pytest.mark.parametrize("kind", ["short", "long", "anti", "two", "apart", "heavy", "ties", "slow"])
def test_rank_normalised_r_hat_and_ess_are_arviz_s(kind):
    arviz = pytest.importorskip("arviz")
    x = chains(kind, np.random.default_rng(3))
    ours = convergence(x)
    for q in range(3):
        one = x[..., q]
        assert ours.r_hat[q] == pytest.approx(float(arviz.rhat(one)), rel=1e-10)
        assert ours.ess_bulk[q] == pytest.approx(float(arviz.ess(one, method="bulk")), rel=1e-10)
        assert ours.ess_tail[q] == pytest.approx(float(arviz.ess(one, method="tail")), rel=1e-10)


def test_independent_draws_count_themselves_and_a_stuck_chain_is_seen():
    rng = np.random.default_rng(0)
    fine = convergence(rng.standard_normal((4, 1000, 20)))
    assert fine.max_r_hat < 1.01
    assert 3000 < fine.min_ess <= fine.ess_bulk.mean() < 5000
    stuck = rng.standard_normal((4, 1000, 2))
    stuck[2, :, 1] = 0.0
    assert convergence(stuck).max_r_hat > 1.1
    # A column that never moves has no diagnostics, and must not pass for converged.
    still = convergence(np.zeros((4, 100, 1)))
    assert still.max_r_hat == np.inf and still.min_ess == 0.0


def test_a_chain_that_repeats_its_extreme_has_a_small_tail_size_not_none():
    draws = np.random.default_rng(0).normal(size=(2, 40, 1))
    draws[0, 20:] = 5.0
    assert 0 < ess_tail(draws)[0] < 20
