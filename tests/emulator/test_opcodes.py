"""Pickles read as data: what Python's own module would give for plain content, and nothing for the rest."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from galaxyjax.core.errors import FileError
from galaxyjax.emulator.opcodes import read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=12,
)
DTYPES = st.sampled_from(["<f4", ">f4", "<f8", "<i8", "<i4", "|u1", "|b1", "<c8", "<U5"])


@given(PLAIN, st.integers(0, 5))
def test_plain_content_is_read_as_it_was(value, protocol):
    assert read_pickle(pickle.dumps(value, protocol)) == value


@given(
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3))),
    st.integers(0, 5),
)
def test_arrays_are_read_bit_for_bit(array, protocol):
    for original in (array, np.asfortranarray(array)):
        found = read_pickle(pickle.dumps([original, original], protocol))
        for copy in found:
            assert copy.dtype == original.dtype and copy.shape == original.shape
            assert copy.tobytes() == original.tobytes()


def test_numpy_numbers_object_arrays_and_ordered_dictionaries():
    value = {"n": np.float64(2.5), "fields": np.array({"w": [np.arange(3.0)]}, dtype=object)}
    found = read_pickle(pickle.dumps(value, 2))
    assert found["n"] == 2.5
    np.testing.assert_array_equal(found["fields"]["w"][0], [0.0, 1.0, 2.0])
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros(2), np.ones(3)]
    np.testing.assert_array_equal(read_pickle(pickle.dumps(ragged))[1], np.ones(3))
    assert read_pickle(pickle.dumps(OrderedDict(a=1))) == {"a": 1}


class Trap:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_never_run(tmp_path, protocol):
    trap = tmp_path / "sprung"
    content = pickle.dumps([np.arange(3.0), Trap(trap)], protocol)
    with pytest.raises(FileError, match=r"would import '(_)?io.open'"):
        read_pickle(content, "network.pkl")
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nndarray\n(tR.",  # a class, called
        b"cos\nsystem\n(S'true'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n.",  # a name as the result
        b"(lp0\ng0\na.",  # a list that contains itself
        b"\x80\x04\x95",
        b"",
        b"I1\n",  # no end
        b"]Q.",  # a persistent reference
        b"\x80\x02]K\x01b.",  # state for a list
    ],
)
def test_everything_else_ends_in_one_error(content):
    with pytest.raises(FileError, match=r"^network\.pkl: "):
        read_pickle(content, "network.pkl")


def test_a_small_file_that_names_a_huge_tree_is_read_in_no_time():
    """Sixty levels of (x, x): 2^60 leaves for whoever walks every branch."""
    value = ()
    for _ in range(60):
        value = (value, value)
    found = read_pickle(pickle.dumps(value))
    assert found[0] is found[1]


@given(st.binary(max_size=60))
def test_noise_gives_an_error_or_a_plain_value(content):
    try:
        read_pickle(content)
    except FileError:
        pass


def test_cut_short_or_altered(tmp_path):
    content = pickle.dumps([np.arange(100.0), {"a": 1}])
    for length in range(0, len(content), 37):
        with pytest.raises(FileError):
            read_pickle(content[:length])
    shape = pickle.dumps(np.zeros((3, 5)), 2)
    assert shape.count(b"K\x03K\x05") == 1
    with pytest.raises(FileError, match="array of shape"):
        read_pickle(shape.replace(b"K\x03K\x05", b"K\x63K\x05"))
