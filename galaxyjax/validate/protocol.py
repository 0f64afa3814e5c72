"""The rules of a fair test: seeds that stay, sets that do not overlap, a test set touched once a release."""

from pathlib import Path

import numpy as np

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.core.files import read_json, write_json
from galaxyjax.simulate.fields import FieldSuite
from galaxyjax.simulate.suite import Run

# Of the cosmologies at which gradients are checked; never changed between releases.
GRADIENT_SEED = 41_017
LEDGER = "test_ledger.json"


def check_apart(train: list[Run], test: list[Run]) -> float:
    """Return the smallest distance between a training and a test run, in units of the prior's spread.

    The split is by run: all draws from one transfer function stay on one side, since they share its numerical
    noise. Raises DataError when a test run is also a training run.
    """
    names = sorted(test[0].background)
    seen, fresh = (np.array([[run.background[n] for n in names] for run in runs]) for runs in (train, test))
    spread = np.maximum(np.ptp(np.concatenate([seen, fresh]), axis=0), np.finfo(float).tiny)
    distance = np.sqrt((((fresh[:, None] - seen[None]) / spread) ** 2).sum(-1))
    if distance.min() < 1e-9:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        raise DataError(f"test run {i} is training run {j}: draw the test suite with another seed")
    return float(distance.min())


def check_seeds(train: FieldSuite, test: FieldSuite) -> None:
    """Raise DataError when two suites of fields draw white noise and cosmologies from the same seed."""
    if train.seed == test.seed:
        raise DataError(
            f"test suite: seed {test.seed} is the training suite's, so its runs were seen; choose another"
        )


def touch_test_set(folder: str | Path, release: str, weights: str, test_set: str) -> bool:
    """Record in `folder`/test_ledger.json that weights meet the test set; return whether for the first time.

    weights: sha256 of the weights; test_set: what identifies the truth. Repeating the same evaluation is
    free. Other weights under a release already tested are refused (ConfigError): a test set that is looked at
    until it agrees has become a training set. Make a new release, or choose with the validation set.
    """
    path = Path(folder) / LEDGER
    entries = read_json(path) if path.exists() else []
    entry = {"release": release, "weights": weights, "test_set": test_set}
    if entry in entries:
        return False
    for old in entries:
        if (old["release"], old["test_set"]) == (release, test_set):
            raise ConfigError(
                f"{path}: release {release} met this test set with weights {old['weights'][:12]}, now "
                f"{weights[:12]}: raise the version, or compare candidates on the validation set"
            )
    write_json(path, [*entries, entry])
    return True
