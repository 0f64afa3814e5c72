"""The family `VNet`: a field at several resolutions, periodic, sharded, conditioned on a few numbers.

    entry conv -> [residual blocks -> down]* -> trunk -> [up, + skip -> residual blocks]* -> exit

Every convolution takes one cell of halo and nothing is cut off afterwards: a block of cells comes out as it
does on one device. Resampling and the exit have no halo. Skips are added, not concatenated, which halves the
largest tensors. The trunk, the blocks at the coarsest level, is one stack of equal blocks whose parameters
have a leading axis, so that a pipeline can own it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import prod, sqrt

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.mesh.collect import varying
from galaxyjax.mesh.halo import exchange, halo_bytes
from galaxyjax.mesh.pipeline import STAGE, pipeline_block
from galaxyjax.mesh.topology import FIELD, REPLICATED, SPATIAL, axis_size, check_field
from galaxyjax.nn.blocks import ResidualBlock, activation
from galaxyjax.nn.conv import Conv, Pad
from galaxyjax.nn.functional import functional
from galaxyjax.nn.resample import Down, Up

AXES = ("data", *SPATIAL)
# ((parameters of a block, (field, style)) -> (field, style), stacked parameters, (field, style)) -> the same
Trunk = Callable[[Callable, dict, tuple], tuple]


@dataclass(frozen=True)
class VNet:
    """Hyperparameters of the family; its methods are pure functions of (weights, field, style).

    inputs, outputs: channels. widths: channels at each level, finest first. blocks: residual blocks at each
    level, on the way down and again on the way up; the last is the trunk's. style: how many numbers condition
    the network, best of order one; 0 for none. kernel: 3 or 1 cells. remat: the backward pass computes each
    block again, and exchanges its halos again, instead of keeping what is inside. dtype: "bfloat16" computes
    in it from weights that stay float32; None computes in the field's.

    Raises ConfigError when these contradict each other.
    """

    inputs: int = 3
    outputs: int = 3
    widths: tuple[int, ...] = (16, 32)
    blocks: tuple[int, ...] = (1, 2)
    style: int = 2
    kernel: int = 3
    remat: bool = False
    dtype: str | None = None

    def __post_init__(self):
        for name in ("widths", "blocks"):  # JSON knows lists, a hash wants tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ConfigError(
                f"V-Net: widths={self.widths} and blocks={self.blocks} must name equally many levels"
            )
        if min(self.inputs, self.outputs, *self.widths) < 1 or min(self.style, *self.blocks) < 0:
            raise ConfigError("V-Net: channels must be at least 1, blocks and style at least 0")
        if self.kernel not in (1, 3):
            raise ConfigError(f"V-Net: kernel={self.kernel} must be 3 or 1")
        if self.dtype not in (None, "bfloat16", "float16", "float32", "float64"):
            raise ConfigError(f"V-Net: dtype={self.dtype!r} must be None or a floating-point type")

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``VNet(**hyperparameters)``."""
        return asdict(self)

    @property
    def multiple(self) -> int:
        """What the sides of a field, and of each device's block, must be multiples of."""
        return 2 ** (len(self.widths) - 1)

    @property
    def stacked(self) -> str:
        """The pattern of the parameters with a leading axis of layers, which a pipeline divides."""
        return "^trunk/"

    def init(self, key: jax.Array) -> dict:
        """Return parameters, a nested dict of float32 arrays; those under "trunk" have a leading axis."""
        outer, trunk = jax.random.split(key)
        params = {"outer": self._outer[0](outer)}
        if self.blocks[-1]:
            params["trunk"] = jax.vmap(self._block[0])(jax.random.split(trunk, self.blocks[-1]))
        return params

    def apply(
        self,
        params,
        x: jax.Array,
        style: jax.Array | None = None,
        mesh: Mesh | None = None,
        microbatches: int | None = None,
    ) -> jax.Array:
        """Return the field that the network makes of a whole periodic field.

        Args:
            params: from `init`.
            x: (batch, nx, ny, nz, inputs), sides multiples of `multiple`.
            style: (batch, style), or None when style is 0.
            mesh: shards batch, x and y; None computes where the field is. With an axis "stage" the trunk is a
                pipeline over it (1F1B, which has no `jvp`), and the batch lies over ("data", "stage").
            microbatches: of the pipeline, as many as there are stages unless given.

        Returns:
            (batch, nx, ny, nz, outputs) of x's dtype, sharded as x.

        Raises:
            DataError: a rank or a number of channels is wrong. ConfigError: the field does not divide.
        """
        self._check(x, style, mesh)
        if mesh is None:
            return self.apply_block(params, x, style, ())
        stages = axis_size(mesh, STAGE)
        trunk, batch = None, ("data",)
        if stages > 1:
            count = microbatches or stages
            self.check_pipeline(x.shape[0], count, stages, axis_size(mesh, "data"))
            trunk, batch = partial(pipeline_block, microbatches=count), ("data", STAGE)

        def local(params, x, style):
            # Varying first: each gradient is then summed over the mesh once, in the parameters' precision.
            params, style = varying((params, style), mesh.axis_names)
            return self.apply_block(params, x, style, trunk=trunk)

        field = P(batch, *FIELD[1:])
        specs = (self.specs(mesh), field, P(batch))
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=field, check_vma=True)(
            params, x, style
        )

    def specs(self, mesh: Mesh) -> dict:
        """Return the layout of the parameters: whole everywhere, but each stage has its part of the trunk."""
        trunk = P(STAGE) if axis_size(mesh, STAGE) > 1 else REPLICATED
        return {"outer": REPLICATED} | ({"trunk": trunk} if self.blocks[-1] else {})

    def apply_block(
        self,
        params,
        x: jax.Array,
        style: jax.Array | None = None,
        axis_names: Sequence[str | None] = SPATIAL,
        trunk: Trunk | None = None,
    ) -> jax.Array:
        """Return one device's block of the output, inside `shard_map`.

        Args:
            params: from `init`; varying over the mesh when a gradient is to be summed later.
            x: (batch, nx, ny, nz, inputs), this device's cells.
            style: (batch, style), of this device's fields.
            axis_names: mesh axes of x and y; () for a whole field on one device.
            trunk: runs the trunk, e.g. as a pipeline over "stage"; None runs its blocks one after another.
        """
        return self.apply_padded(params, x, style, partial(exchange, axis_names=axis_names), trunk)

    def apply_padded(
        self, params, x: jax.Array, style: jax.Array | None, pad: Pad, trunk: Trunk | None = None
    ):
        """Return the output of a block whose periodic neighbours `pad` knows; else as `apply_block`."""
        compute = x.astype(self.dtype or x.dtype)

        def block(params, carry):
            return self._block[1](params, *carry, pad), carry[1]

        def coarsest(h):
            if not self.blocks[-1]:
                return h
            return (trunk or in_turn)(self._checkpoint(block), params["trunk"], (h, style))[0]

        return self._outer[1](params["outer"], compute, style, pad, coarsest).astype(x.dtype)

    def exchanges(self, cells: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return (cells, channels) of the field before each halo exchange of one forward pass, in any order.

        cells: (nx, ny, nz) of one device's block.
        """
        if self.kernel == 1:
            return []
        found = [(tuple(cells), self.inputs)]
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            passes = 1 if level == len(self.widths) - 1 else 2
            found += [(tuple(n >> level for n in cells), width)] * (2 * blocks * passes)
        return found

    def permuted_bytes(
        self, cells: Sequence[int], sizes: Mapping[str, int], batch: int = 1, itemsize: int = 4
    ) -> tuple[int, int]:
        """Return the bytes a device sends in a forward pass, and in the gradient for the parameters.

        The gradient sends each halo back once more, but the entry's: nobody asks for the input's cotangent.
        Rematerialised blocks send theirs up to three times, and the count is then a bound.

        Args:
            cells: (nx, ny, nz) of one device's block. sizes: devices along each mesh axis.
            batch: fields on one device. itemsize: bytes of the dtype in which it computes.
        """
        sent = [halo_bytes(c, 1, width * itemsize, sizes, batch) for c, width in self.exchanges(cells)]
        if not sent:
            return 0, 0
        return sum(sent), sent[0] + (3 if self.remat else 2) * sum(sent[1:])

    def flops(self, cells: Sequence[int]) -> int:
        """Return twice the multiplications of a forward pass over (nx, ny, nz) cells; gradients take 3 x."""
        taps, finest = self.kernel**3, self.widths[0]
        total = prod(cells) * (taps * self.inputs * finest + finest * self.outputs)
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            last = level == len(self.widths) - 1
            total += prod(cells) // 8**level * taps * width**2 * 2 * blocks * (1 if last else 2)
            if not last:
                total += 2 * prod(cells) // 8**level * width * self.widths[level + 1]
        return 2 * total

    def _check(self, x: jax.Array, style: jax.Array | None, mesh: Mesh | None) -> None:
        if x.ndim != 5 or x.shape[-1] != self.inputs:
            raise DataError(
                f"V-Net: a field of shape {x.shape} must be (batch, nx, ny, nz, {self.inputs}); "
                f"its channels are the network's {self.inputs} inputs"
            )
        wanted = (x.shape[0], self.style) if self.style else None
        given = None if style is None else style.shape
        if given != wanted:
            raise DataError(
                f"V-Net: style has shape {given}, not {wanted}: {self.style} numbers for each field"
            )
        # No mesh is the mesh of one device.
        check_field(mesh or AbstractMesh((1, 1, 1), AXES), x.shape[1:4], x.shape[0], self.multiple)

    def check_pipeline(self, batch: int, microbatches: int, stages: int, data: int) -> None:
        """Check that a pipeline fits; `batch` fields go through it at once. Raises ConfigError."""
        if self.blocks[-1] % stages or not self.blocks[-1] or microbatches % stages:
            raise ConfigError(
                f"V-Net: a trunk of {self.blocks[-1]} blocks and {microbatches} microbatches must both be "
                f"multiples of stage={stages} of the mesh"
            )
        if batch % (data * microbatches):
            raise ConfigError(
                f"V-Net: a batch of {batch} fields does not divide into {microbatches} microbatches over "
                f"data={data}; choose a multiple of {data * microbatches}"
            )

    def _checkpoint(self, function: Callable) -> Callable:
        return jax.checkpoint(function) if self.remat else function

    @cached_property
    def _gain(self) -> float:
        """Of each residual branch when training begins: all together multiply the variance by a few."""
        passes = [*(2 * n for n in self.blocks[:-1]), self.blocks[-1]]
        return 1.0 / sqrt(max(sum(passes), 1))

    @cached_property
    def _block(self) -> tuple[Callable, Callable]:
        """One block of the trunk, pure."""
        width = self.widths[-1]
        return functional(lambda rngs: ResidualBlock(width, self.style, self.kernel, self._gain, rngs=rngs))

    @cached_property
    def _outer(self) -> tuple[Callable, Callable]:
        """Everything around the trunk, pure."""
        return functional(lambda rngs: _Outer(self, rngs))


def in_turn(block: Callable, params, carry: tuple) -> tuple:
    """Run a stack of equal blocks one after another, unrolled; a `Trunk`."""
    for i in range(len(jax.tree.leaves(params)[0])):
        carry = block(jax.tree.map(lambda leaf: leaf[i], params), carry)  # noqa: B023
    return carry


class _Outer(nnx.Module):
    """Entry, the levels above the trunk down and up, exit."""

    def __init__(self, config: VNet, rngs: nnx.Rngs):
        self.levels, self.counts, self.remat = len(config.widths) - 1, config.blocks, config.remat
        self.entry = Conv(config.inputs, config.widths[0], config.kernel, rngs=rngs)
        for level in range(self.levels):
            width, next_width = config.widths[level : level + 2]
            setattr(self, f"down{level}", Down(width, next_width, rngs=rngs))
            setattr(self, f"up{level}", Up(next_width, width, rngs=rngs))
            for i in range(self.counts[level]):
                for way in ("encode", "decode"):
                    block = ResidualBlock(width, config.style, config.kernel, config._gain, rngs=rngs)
                    setattr(self, f"{way}{level}_{i}", block)
        self.exit = Conv(config.widths[0], config.outputs, kernel=1, rngs=rngs)

    def __call__(self, x, style, pad: Pad, trunk: Callable) -> jax.Array:
        h, skips = self.entry(x, pad), []
        for level in range(self.levels):
            h = self._blocks("encode", level, h, style, pad)
            skips.append(h)
            h = getattr(self, f"down{level}")(h)
        h = trunk(h)
        for level in reversed(range(self.levels)):
            # Two fields of unit variance: their sum is brought back to it.
            h = (getattr(self, f"up{level}")(h) + skips[level]) * sqrt(0.5)
            h = self._blocks("decode", level, h, style, pad)
        return self.exit(activation(h), pad)

    def _blocks(self, way: str, level: int, h, style, pad: Pad) -> jax.Array:
        for i in range(self.counts[level]):
            block = getattr(self, f"{way}{level}_{i}")
            run = lambda h, style, block=block: block(h, style, pad)  # noqa: E731
            h = jax.checkpoint(run)(h, style) if self.remat else run(h, style)
        return h
