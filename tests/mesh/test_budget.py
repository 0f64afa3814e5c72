"""Collectives and bytes read off compiled programs whose communication is known by hand."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from galaxyjax.mesh.budget import collectives, count, temp_bytes, total
from galaxyjax.mesh.topology import build_mesh

RING = [(0, 1), (1, 2), (2, 3), (3, 0)]


def compiled(function, shape, dtype=jnp.float32):
    """`function` on the blocks (shape / (4, 2)) of one array over a mesh of 4 x 2 devices."""
    block = jax.shard_map(function, mesh=build_mesh("x=4,y=2"), in_specs=P("x", "y"), out_specs=P("x", "y"))
    return jax.jit(block).lower(jax.ShapeDtypeStruct(shape, dtype)).compile()


@settings(max_examples=8)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([jnp.float32, jnp.int8, jnp.complex64, jnp.uint16]),
    st.integers(1, 3),
)
def test_permuted_bytes_are_what_each_device_receives(rows, columns, dtype, times):
    def shift(a):
        for _ in range(times):
            a = jax.lax.ppermute(a, "x", RING) + jnp.ones((), dtype)  # so that shifts do not merge
        return a

    found = collectives(compiled(shift, (4 * rows, 2 * columns), dtype))
    assert {c.kind for c in found} == {"collective-permute"}
    assert count(found) == times
    assert total(found, "collective-permute") == times * rows * columns * jnp.dtype(dtype).itemsize
    for c in found:
        assert (c.shape, c.exact) == ((rows, columns), True)
        assert sorted(c.groups) == sorted((2 * a + y, 2 * b + y) for a, b in RING for y in (0, 1))


def test_kinds_and_their_results():
    def every(a):
        gathered = jax.lax.all_gather(a, "x", axis=0, tiled=True)  # (32, 4)
        scattered = jax.lax.psum_scatter(gathered, "x", scatter_dimension=0, tiled=True)  # (8, 4)
        turned = jax.lax.all_to_all(a, "y", 0, 1, tiled=True)  # (4, 8)
        summed = jax.lax.psum(a, "x")  # (8, 4)
        return gathered.sum() + scattered * turned.sum() + summed

    found = {c.kind: c for c in collectives(compiled(every, (32, 8)))}
    bytes_of = {kind: c.bytes for kind, c in found.items()}
    expected = {"all-gather": 512, "reduce-scatter": 128, "all-to-all": 128, "all-reduce": 128}
    assert bytes_of == expected
    columns = {(0, 2, 4, 6), (1, 3, 5, 7)}
    assert set(found["all-gather"].groups) == set(found["all-reduce"].groups) == columns
    assert set(found["all-to-all"].groups) == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert "all_gather" in found["all-gather"].op_name


def test_loops_multiply_and_multiply_again():
    def nested(a):
        def inner(b, _):
            return jax.lax.ppermute(2 * b, "x", RING), None

        def outer(b, _):
            return jax.lax.scan(inner, jax.lax.ppermute(b, "x", RING), length=3)[0], None

        return jax.lax.scan(outer, a, length=5)[0]

    found = collectives(compiled(nested, (8, 8)))
    assert sorted(c.count for c in found) == [5, 15]
    assert all(c.exact for c in found)
    assert count(found) == 20
    assert total(found) == 20 * 2 * 4 * 4


def test_a_loop_of_unknown_length_counts_once_and_says_so():
    def until(a):
        def far(b):
            return jax.lax.pmax(jnp.max(b), ("x", "y")) < 9.0

        return jax.lax.while_loop(far, lambda b: jax.lax.ppermute(b, "x", RING) + 1, a)

    found = collectives(compiled(until, (8, 8)))
    assert {(c.kind, c.count, c.exact) for c in found} == {
        ("collective-permute", 1, False),
        ("all-reduce", 1, False),
    }


def test_every_branch_counts():
    def either(a):
        return jax.lax.cond(
            jax.lax.psum(jnp.sum(a), ("x", "y")) > 0,
            lambda b: jax.lax.ppermute(b, "x", RING),
            lambda b: jax.lax.ppermute(2 * b, "y", [(0, 1), (1, 0)]),
            a,
        )

    found = collectives(compiled(either, (8, 8)))
    assert count(found, "collective-permute") == 2
    assert not any(c.exact for c in found if c.kind == "collective-permute")


def test_a_silent_program_has_none():
    assert collectives(compiled(lambda a: jnp.sin(a) + 1, (8, 8))) == []


def test_temporary_memory_grows_with_what_is_kept():
    """A product of two matrices that are not arguments keeps at least those two."""

    def product(a):
        b = jnp.sin(a)
        return (b @ b.T) @ jnp.cos(b)

    small = temp_bytes(jax.jit(product).lower(jax.ShapeDtypeStruct((64, 64), jnp.float32)).compile())
    large = temp_bytes(jax.jit(product).lower(jax.ShapeDtypeStruct((128, 128), jnp.float32)).compile())
    assert small >= 64 * 64 * 4
    assert large >= 3 * small


TPU = """
%add (a: bf16[], b: bf16[]) -> bf16[] {
  %a = bf16[]{:T(256)} parameter(0)
  %b = bf16[]{:T(256)} parameter(1)
  ROOT %sum = bf16[]{:T(256)} add(%a, %b)
}

%fused (p: bf16[256,1024]) -> (bf16[64,1024], bf16[256,1024]) {
  %p = bf16[256,1024]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.9 = bf16[256,1024]{1,0:T(8,128)(2,1)} all-reduce(%p), replica_groups=mesh['u'=2,'v'=4] {'v'}, to_apply=%add
  ROOT %t = (bf16[64,1024]{1,0}, bf16[256,1024]{1,0}) tuple(%p, %all-reduce.9)
}

%body (carry: (s32[], bf16[256,1024], s32[])) -> (s32[], bf16[256,1024], s32[]) {
  %carry = (s32[]{:T(128)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %x = bf16[256,1024]{1,0:T(8,128)(2,1)} get-tuple-element(%carry), index=1
  %step = s32[]{:T(128)} get-tuple-element(%carry), index=2
  %start = (bf16[256,1024]{1,0:T(8,128)(2,1)S(1)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x), channel_id=1, source_target_pairs={{0,2},{2,0},{1,3},{3,1}}, metadata={op_name="jit(f)/while/body/ppermute"}
  %next = s32[]{:T(128)} add(%i, %step)
  %done = bf16[256,1024]{1,0:T(8,128)(2,1)} collective-permute-done(%start)
  ROOT %out = (s32[]{:T(128)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%next, %done, %step)
}

%condition (carry.1: (s32[], bf16[256,1024], s32[])) -> pred[] {
  %stop = s32[]{:T(128)} constant(7)
  %carry.1 = (s32[]{:T(128)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %stop), direction=DIRECTION
}

ENTRY %main (arg: bf16[256,1024]) -> bf16[256,1024] {
  %arg = bf16[256,1024]{1,0:T(8,128)(2,1)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %copied = s32[]{:T(128)} copy(%zero)
  %two = s32[]{:T(128)} constant(2)
  %init = (s32[]{:T(128)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, /*index=2*/s32[]{:T(128)}) tuple(%copied, %arg, %two)
  %loop = (s32[]{:T(128)}, bf16[256,1024]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) while(%init), condition=%condition, body=%body
  %y = bf16[256,1024]{1,0:T(8,128)(2,1)} get-tuple-element(%loop), index=1
  ROOT %f = bf16[256,1024]{1,0} fusion(%y), kind=kCustom, calls=%fused
}
"""  # noqa: E501


@pytest.mark.parametrize(("direction", "trips"), [("LT", 4), ("LE", 4), ("NE", None)])
def test_tpu_text_without_trip_counts(direction, trips):
    """i = 0, 2, 4, 6 < 7 (and <= 7): four trips; anything but < and <= is not guessed at."""
    permute, reduce = collectives(TPU.replace("DIRECTION", direction))
    assert permute.kind == "collective-permute" and permute.bytes == 256 * 1024 * 2
    assert (permute.count, permute.exact) == (trips or 1, trips is not None)
    assert permute.groups == ((0, 2), (2, 0), (1, 3), (3, 1))
    assert permute.op_name == "jit(f)/while/body/ppermute"
    assert reduce.kind == "all-reduce" and reduce.bytes == 256 * 1024 * 2
    assert reduce.groups == ((0, 1, 2, 3), (4, 5, 6, 7))


ASYNC = """
%wrapped (p: f32[4,8]) -> f32[4,8] {
  %p = f32[4,8]{1,0} parameter(0)
  ROOT %a2a = f32[4,8]{1,0} all-to-all(%p), replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}
}

ENTRY %main (a: f32[4,8], b: f64[3]) -> f32[32,8] {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f64[3]{0} parameter(1)
  %ar = (f32[4,8]{1,0}, f64[3]{0}) all-reduce-start(%a, %b), replica_groups={{0,1},{2,3}}, to_apply=%add
  %ard = (f32[4,8]{1,0}, f64[3]{0}) all-reduce-done(%ar)
  %ag = ((f32[4,8]{1,0}, f64[3]{0}), (f32[32,8]{1,0}, f64[24]{0})) all-gather-start(%a, %b), replica_groups=[1,8]<=[8], dimensions={0}
  %agd = (f32[32,8]{1,0}, f64[24]{0}) all-gather-done(%ag)
  %as = ((f32[4,8]{1,0}), f32[4,8]{1,0}, s32[]) async-start(%a), calls=%wrapped
  %ad = f32[4,8]{1,0} async-done(%as), calls=%wrapped
  %rs = ((f32[4,8]{1,0}), f32[2,8]{1,0}) reduce-scatter-start(%a), replica_groups={{0,1}}, dimensions={0}
  %rsd = f32[2,8]{1,0} reduce-scatter-done(%rs)
  ROOT %out = f32[32,8]{1,0} get-tuple-element(%agd), index=0
}
"""  # noqa: E501


def test_asynchronous_forms_count_once_by_their_results():
    reduce, gather, turn, scatter = collectives(ASYNC)
    assert (reduce.kind, reduce.bytes, reduce.arrays) == ("all-reduce", 4 * 8 * 4 + 3 * 8, 2)
    assert (gather.kind, gather.bytes) == ("all-gather", 32 * 8 * 4 + 24 * 8)
    assert gather.groups == ((0, 1, 2, 3, 4, 5, 6, 7),)
    assert (turn.kind, turn.bytes) == ("all-to-all", 128)
    assert turn.groups == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert (scatter.kind, scatter.bytes) == ("reduce-scatter", 64)
