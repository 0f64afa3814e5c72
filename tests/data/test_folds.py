"""Folds are split by simulation, never by crop, and say so when they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.data.folds import check_folds, k_fold, split


def test_maps_of_one_simulation_are_in_one_fold_and_every_map_is_in_one():
    simulations = np.arange(15_000) // 15  # CAMELS Multifield: 15 maps a simulation
    folds = split(simulations, (0.9, 0.05, 0.05), seed=1)
    assert {name: len(indices) for name, indices in folds.items()} == {
        "train": 13_500,
        "validation": 750,
        "test": 750,
    }
    assert sorted(np.concatenate(list(folds.values()))) == list(range(15_000))
    check_folds(folds, simulations)
    by_crop = {"train": np.arange(0, 15_000, 2), "test": np.arange(1, 15_000, 2)}
    with pytest.raises(DataError, match="simulation 0 is in train and in test"):
        check_folds(by_crop, simulations)


@given(st.integers(20, 60), st.integers(0, 5))
def test_a_simulation_keeps_its_fold_when_examples_are_listed_in_another_order(count, seed):
    rng = np.random.default_rng(seed)
    simulations = [*range(20), *rng.integers(0, 20, count).tolist()]
    folds = split(simulations, seed=seed)
    shuffled = rng.permutation(simulations)
    again = split(shuffled, seed=seed)
    for name, indices in folds.items():
        assert {simulations[i] for i in indices} == {shuffled[i] for i in again[name]}
    assert len({simulations[i] for i in folds["train"]}) == round(0.8 * len(set(simulations)))


def test_another_seed_is_another_split_and_names_do_as_well_as_numbers():
    names = [f"LH_{i}" for i in range(100)]
    one, other = split(names, seed=0)["test"], split(names, seed=1)["test"]
    assert len(one) == len(other) == 10 and set(one) != set(other)
    np.testing.assert_array_equal(split(np.arange(50))["test"], split(list(range(50)))["test"])


def test_parts_of_a_k_fold_share_the_simulations_out():
    simulations = np.arange(60) // 3
    parts = [k_fold(simulations, 5, fold) for fold in range(5)]
    assert sorted(np.concatenate([part["validation"] for part in parts])) == list(range(60))
    for part in parts:
        check_folds(part, simulations)
        assert len(part["validation"]) == 12 and len(part["train"]) == 48


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.9, 0.2, -0.1), (0.5, 0.1, 0.1)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ConfigError, match="three, not negative, of sum 1"):
        split(range(10), fractions)


def test_too_few_simulations_are_refused():
    with pytest.raises(ConfigError, match="3 simulations leave no test, .* 0.1 of them"):
        split(range(3))
    with pytest.raises(ConfigError, match="fold 5 of 5"):
        k_fold(range(10), 5, 5)
