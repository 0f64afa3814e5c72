"""The symmetries of the cube form a group, and fields move under it as fields do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxyjax.core.errors import ConfigError, DataError, UnknownName
from galaxyjax.data.augment import Move, draw, moved, read_periodic, still, symmetries

N = 4
rng = np.random.default_rng(3)


def reader(field, record=None):
    def read(low, high):
        if record is not None:
            record.append(np.prod(np.subtract(high, low)))
        return field[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]

    return read


def slow_move(field, kind, move, n):
    """Cell by cell: where it goes under the matrix, about the centre of the box, after the shift."""
    d, matrix = len(move.shift), move.symmetry.matrix
    sign = np.linalg.det(matrix) if kind == "pseudovector" else 1.0
    out = np.empty_like(field)
    for cell in np.ndindex(*(n,) * d):
        shifted = (np.array(cell) + np.array(move.shift) * (n // move.cells)) % n
        centred = shifted - (n - 1) / 2
        goes = tuple(np.rint(matrix @ centred + (n - 1) / 2).astype(int))
        out[goes] = field[cell] if kind == "scalar" else sign * matrix @ field[cell]
    return out


def test_there_are_48_of_a_cube_and_8_of_a_square_and_they_form_a_group():
    for d, count in ((3, 48), (2, 8)):
        matrices = [s.matrix for s in symmetries(d)]
        keys = {m.tobytes() for m in matrices}
        assert len(keys) == count and np.array_equal(matrices[0], np.eye(d))
        assert all((a @ b + 0.0).tobytes() in keys for a in matrices for b in matrices)
        assert sum(s.parity for s in symmetries(d)) == 0
        assert all(s.parity == round(np.linalg.det(s.matrix)) for s in symmetries(d))


@pytest.mark.parametrize("kind", ["scalar", "vector", "pseudovector"])
@pytest.mark.parametrize("d", [2, 3])
def test_every_symmetry_moves_a_field_as_cell_by_cell(kind, d):
    field = rng.normal(size=(N,) * d + ((1,) if kind == "scalar" else (d,)))
    for number, symmetry in enumerate(symmetries(d)):
        move = Move(symmetry, tuple((number * k) % N for k in (1, 3, 2)[:d]), N)
        fast = moved(reader(field), (N,) * d, kind, move)
        np.testing.assert_array_equal(fast, slow_move(field, kind, move, N))
        assert fast.flags.c_contiguous


@given(
    st.integers(0, 47), st.tuples(*[st.integers(0, 5)] * 3), st.tuples(*[st.integers(0, 5)] * 3), st.data()
)
def test_a_block_is_that_of_the_whole_moved_field_and_no_other_cell_is_read(which, shift, low, data):
    field = rng.normal(size=(6, 6, 6, 3))
    high = tuple(data.draw(st.integers(a + 1, 6)) for a in low)
    move = Move(symmetries(3)[which], shift, 6)
    cells = []
    block = moved(reader(field, cells), (6, 6, 6), "vector", move, low, high)
    whole = moved(reader(field), (6, 6, 6), "vector", move)
    np.testing.assert_array_equal(block, whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    assert sum(cells) == np.prod(np.subtract(high, low))


def test_a_gradient_moves_as_a_vector_and_a_curl_as_a_pseudovector():
    def derivative(f, axis):
        return (np.roll(f, -1, axis) - np.roll(f, 1, axis)) / 2

    scalar, vector = rng.normal(size=(N, N, N)), rng.normal(size=(N, N, N, 3))

    def gradient(f):
        return np.stack([derivative(f, a) for a in range(3)], -1)

    def curl(v):
        d = [[derivative(v[..., i], a) for i in range(3)] for a in range(3)]
        return np.stack([d[1][2] - d[2][1], d[2][0] - d[0][2], d[0][1] - d[1][0]], -1)

    for symmetry in symmetries(3):
        move = Move(symmetry, (1, 2, 3), N)

        def go(field, kind, move=move):
            return moved(reader(field), (N, N, N), kind, move)

        np.testing.assert_allclose(
            gradient(go(scalar[..., None], "scalar")[..., 0]), go(gradient(scalar), "vector"), atol=1e-14
        )
        np.testing.assert_allclose(curl(go(vector, "vector")), go(curl(vector), "pseudovector"), atol=1e-14)


def test_a_coarse_and_a_fine_field_stay_in_place_of_each_other():
    fine = rng.normal(size=(8, 8, 8, 1))
    coarse = fine.reshape(4, 2, 4, 2, 4, 2, 1).mean((1, 3, 5))
    for bits in rng.integers(0, 2**60, (20, 4)):
        move = draw([int(b) for b in bits], {"fine": (8, 8, 8), "coarse": (4, 4, 4)}, True, True)
        a = moved(reader(fine), (8, 8, 8), "scalar", move)
        b = moved(reader(coarse), (4, 4, 4), "scalar", move)
        np.testing.assert_allclose(a.reshape(4, 2, 4, 2, 4, 2, 1).mean((1, 3, 5)), b, atol=1e-15)


def test_what_cannot_be_moved_says_why():
    field = rng.normal(size=(4, 4, 2, 2))
    turn = Move(symmetries(3)[-1], (0, 0, 0), 1)
    with pytest.raises(ConfigError, match=r"\(4, 4, 2\) cells is no cube"):
        moved(reader(field), (4, 4, 2), "scalar", turn)
    with pytest.raises(DataError, match="2 channels, not a multiple of 3"):
        moved(reader(rng.normal(size=(4, 4, 4, 2))), (4, 4, 4), "vector", turn)
    with pytest.raises(UnknownName, match="kind of field 'tensor'"):
        moved(reader(rng.normal(size=(4, 4, 4, 3))), (4, 4, 4), "tensor", turn)
    with pytest.raises(ConfigError, match="does not divide"):
        draw([0, 1, 2, 3], {"a": (4, 4, 4), "b": (6, 6, 6)}, True, True)
    with pytest.raises(ConfigError, match="a block of 5 cells"):
        read_periodic(reader(field), (4, 4, 4), (0, 0, 0), (5, 1, 1))


def test_staying_still_changes_nothing():
    field = rng.normal(size=(4, 4, 4, 3))
    np.testing.assert_array_equal(moved(reader(field), (4, 4, 4), "vector", still(3)), field)
