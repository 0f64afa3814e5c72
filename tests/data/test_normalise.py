"""Normalisation agrees with two passes in float64, turns with vector fields, and is what was stored."""

import numpy as np
import pytest

from galaxyjax.core.errors import DataError, FileError, UnknownName
from galaxyjax.data.normalise import FILE_NAME, Moments, Normalisation, Scale, load_normalisation, measure

rng = np.random.default_rng(5)
KINDS = {"density": "scalar", "velocity": "vector", "two": "scalar"}


def examples(n=5):
    return [
        {
            "density": rng.lognormal(3, 1, (4, 4, 4, 1)).astype(np.float32),
            "velocity": rng.normal(30, 200, (4, 4, 4, 3)).astype(np.float32),
            "two": rng.normal([1e5, -3], [1e-1, 2], (4, 4, 4, 2)),
            "label": rng.normal(size=6),
        }
        for _ in range(n)
    ]


def test_it_is_that_of_two_passes_over_everything():
    data = examples()
    made = measure(data, KINDS, {"density": "log"})
    density = np.log(np.stack([e["density"] for e in data]).astype(float))
    two = np.stack([e["two"] for e in data])
    velocity = np.stack([e["velocity"] for e in data]).astype(float)
    np.testing.assert_allclose(made.scales["density"].mean, density.mean(), rtol=1e-13)
    np.testing.assert_allclose(made.scales["density"].std, density.std(), rtol=1e-12)
    np.testing.assert_allclose(made.scales["two"].std, two.std((0, 1, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(made.scales["velocity"].std, np.sqrt((velocity**2).mean()), rtol=1e-12)
    assert made.scales["velocity"].mean == 0.0


def test_merging_in_any_order_is_one_stream_and_keeps_a_small_variance_on_a_large_mean():
    values = 1e9 + rng.normal(size=(1000, 2))
    one, parts = Moments(2), [Moments(2) for _ in range(4)]
    one.add(values)
    for part, block in zip(parts, np.split(values, 4), strict=True):
        part.add(block)
    parts[2].merge(parts[0])
    parts[1].merge(parts[3])
    parts[2].merge(parts[1])
    np.testing.assert_allclose(parts[2].std, one.std, rtol=1e-7)
    np.testing.assert_allclose(one.std, (values - values.mean(0)).std(0), rtol=1e-9)


@pytest.mark.parametrize("transform", ["none", "log", "log1p", "asinh"])
def test_inverting_gives_back_the_field(transform):
    data = [{"density": e["density"]} for e in examples()]
    scale = measure(data, {"density": "scalar"}, {"density": transform}).scales["density"]
    x = data[0]["density"]
    y = scale.apply(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(scale.invert(y), x, rtol=2e-5)


def test_what_is_normalised_has_mean_0_and_variance_1_and_labels_stay():
    data = examples()
    made = measure(data, KINDS)
    done = [made.apply(e) for e in data]
    two = np.stack([e["two"] for e in done])
    np.testing.assert_allclose(two.mean((0, 1, 2, 3)), 0, atol=1e-9)
    np.testing.assert_allclose(two.std((0, 1, 2, 3)), 1, rtol=1e-9)
    assert done[0]["label"] is data[0]["label"]


def test_it_is_stored_with_the_weights_and_comes_back_bit_by_bit(tmp_path):
    made = measure(examples(), KINDS, {"density": "log"})
    path = made.save(tmp_path / "weights")
    back = load_normalisation(tmp_path / "weights")
    assert path.name == FILE_NAME and back.hash == made.hash
    for name, scale in made.scales.items():
        assert back.scales[name].transform == scale.transform
        np.testing.assert_array_equal(back.scales[name].mean, scale.mean)
    before = path.read_bytes()
    made.save(tmp_path / "weights")
    assert path.read_bytes() == before
    assert set(made.arrays()) == {f"normalisation/{n}/{p}" for n in KINDS for p in ("mean", "std")}


def test_the_hash_knows_every_number_name_and_transform():
    def hashed(name="a", transform="log", mean=0.0, std=1.0):
        return Normalisation({name: Scale(transform, np.array([mean]), np.array([std]))}).hash

    all_of_them = [hashed(), hashed("b"), hashed(transform="none"), hashed(mean=1e-300), hashed(std=2.0)]
    assert len(set(all_of_them)) == 5 and hashed() == all_of_them[0]


def test_what_cannot_be_normalised_is_named():
    data = examples()
    data[3]["density"][0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"density of example 3: 1 values are not finite$"):
        measure(data, KINDS)
    data[3]["density"][0, 0, 0, 0] = -1
    with pytest.raises(DataError, match="density of example 3: 1 values are not finite after log"):
        measure(data, KINDS, {"density": "log"})
    with pytest.raises(DataError, match="flat: channel 0 never changes"):
        measure([{"flat": np.ones((2, 2, 2, 1))}], {"flat": "scalar"})
    with pytest.raises(DataError, match="no examples"):
        measure([], KINDS)
    with pytest.raises(UnknownName, match="transform of two 'sqrt'"):
        measure(data, KINDS, {"two": "sqrt"})


@pytest.mark.parametrize("spoil", ["missing", "short", "other"])
def test_a_file_that_is_not_one_is_named(tmp_path, spoil):
    path = measure(examples(), KINDS).save(tmp_path)
    if spoil == "missing":
        path.unlink()
    elif spoil == "short":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        from safetensors.numpy import save

        path.write_bytes(save({"x": np.ones(3)}))
    with pytest.raises(FileError, match=FILE_NAME):
        load_normalisation(tmp_path)
