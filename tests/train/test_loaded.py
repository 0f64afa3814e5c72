"""A recipe draws from a suite of simulations: the same batches at any step, on any mesh, in any order."""

import dataclasses

import jax
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.data.examples import ArrayExamples
from galaxyjax.data.folds import split
from galaxyjax.data.loader import Loader
from galaxyjax.data.normalise import measure
from galaxyjax.mesh.topology import FIELD, build_mesh
from galaxyjax.train.field import FieldTraining, train
from galaxyjax.train.loaded import LoadedFields
from tests.train.toy_field import FIT, Pointwise

N, CELLS = 60, 4


@pytest.fixture(scope="module")
def loaders():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N, CELLS, CELLS, CELLS)).astype(np.float32)
    style = rng.random((N, 1)).astype(np.float32)
    arrays = {"a": a, "b": b, "style": style, "product": np.tanh(a * b) + style[..., None, None]}
    kinds = dict(zip(arrays, ("scalar", "scalar", "label", "scalar"), strict=True))
    examples = ArrayExamples(arrays, kinds, [f"LH_{i // 2}" for i in range(N)])
    folds = split(examples.simulations, (0.6, 0.4, 0.0))
    normal = measure(({"a": one[..., None]} for one in a[folds["train"]]), {"a": "scalar"})
    return [Loader(examples, 1, 0, folds[name], normalisation=normal) for name in ("train", "validation")]


def source(loaders, **changes):
    content = dict(data="toy 1", inputs=("a", "b"), style="style", targets=("product",))
    return LoadedFields(**{**content, **changes}, training=loaders[0], validation=loaders[1])


@pytest.mark.parametrize("shape", ["data=1", "data=2,x=2,y=2"])
def test_batches_are_the_loaders_whatever_was_asked_before(loaders, shape):
    mesh = build_mesh(shape, None if "x" in shape else jax.devices()[:1])
    made = source(loaders)
    for step in (3, 4, 5, 2, 3):
        batch = made.batch(mesh, 4, 11, step)
        plain = next(dataclasses.replace(loaders[0], batch=4, seed=11).batches(start=step))
        np.testing.assert_array_equal(batch.field, np.concatenate([plain["a"], plain["b"]], -1))
        np.testing.assert_array_equal(batch.target, plain["product"])
        np.testing.assert_array_equal(batch.style, plain["style"])
        assert batch.field.sharding.is_equivalent_to(_sharding(mesh), 5)


def _sharding(mesh):
    from jax.sharding import NamedSharding

    return NamedSharding(mesh, FIELD)


def test_held_out_is_the_validation_fold_unmoved(loaders):
    batches = source(loaders).held_out(build_mesh("data=2,x=2,y=2"), 8)
    indices = loaders[1].indices
    assert len(batches) == len(indices) // 8
    found = np.concatenate([np.asarray(batch.target) for batch in batches])[..., 0]
    known = loaders[1].examples.arrays["product"][indices]
    for one in found:
        assert (one == known).all(axis=(1, 2, 3)).sum() == 1
    with pytest.raises(ConfigError, match="fewer than a batch of 50"):
        source(loaders).held_out(build_mesh("data=2,x=2,y=2"), 50)


def test_identity_knows_data_folds_and_moves(loaders):
    first = source(loaders)
    assert first.identity() == source(loaders).identity()
    others = [
        source(loaders, data="toy 2"),
        source(loaders, inputs=("b", "a")),
        source([dataclasses.replace(loaders[0], indices=loaders[0].indices[1:]), loaders[1]]),
        source([dataclasses.replace(loaders[0], rotate=False), loaders[1]]),
    ]
    assert len({first.identity(), *(other.identity() for other in others)}) == 5
    assert set(first.normalisation()) == {"hash", "normalisation/a/mean", "normalisation/a/std"}


def test_folds_that_share_a_simulation_are_refused(loaders):
    both = dataclasses.replace(loaders[1], indices=[*loaders[1].indices, loaders[0].indices[0]])
    with pytest.raises(ConfigError, match="LH_.* is in training and in validation"):
        source([loaders[0], both])
    with pytest.raises(ConfigError, match="normalised differently"):
        source([loaders[0], dataclasses.replace(loaders[1], normalisation=None)])
    with pytest.raises(UnknownName, match="field of the examples 'c'"):
        source(loaders, inputs=("c",))


def test_a_network_learns_from_it(loaders, tmp_path):
    recipe = FieldTraining(model=Pointwise(), source=source(loaders), cells=CELLS, fit=FIT)
    trained = train(recipe, build_mesh("data=2,x=2,y=2"), tmp_path)
    first, last = trained.history[0][2], trained.history[-1][3]
    assert last < 0.6 * first
