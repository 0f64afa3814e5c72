"""Normalisation: computed once, in float64, one example at a time; stored with the weights that need it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxyjax.core.errors import DataError, FileError, unknown_name
from galaxyjax.core.files import atomic_path

FILE_NAME = "normalisation.safetensors"


_DIRECTED = ("vector", "pseudovector")


def _plain(x):
    return x


_FORWARD: dict[str, Callable] = {"none": _plain, "log": np.log, "log1p": np.log1p, "asinh": np.arcsinh}
_BACK: dict[str, Callable] = {"none": _plain, "log": np.exp, "log1p": np.expm1, "asinh": np.sinh}


@dataclass(frozen=True, eq=False)
class Scale:
    """How one field becomes of order one: (transform(x) - mean) / std.

    mean, std: (channels,) float64, or (1,) for all of a vector's. transform: "none", "log", "log1p" or
    "asinh". Of a vector the mean is zero and std that of all components together: anything else would not
    turn with the field.
    """

    transform: str
    mean: np.ndarray
    std: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return x (..., channels) normalised, in its own dtype."""
        changed = _FORWARD[self.transform](x)
        return (changed - self.mean.astype(x.dtype)) / self.std.astype(x.dtype)

    def invert(self, y: np.ndarray) -> np.ndarray:
        """Return what `apply` made y of."""
        return _BACK[self.transform](y * self.std.astype(y.dtype) + self.mean.astype(y.dtype))


@dataclass(frozen=True, eq=False)
class Normalisation:
    """The scales of all fields of a dataset by name; pass it with the weights, it is part of the model."""

    scales: Mapping[str, Scale]

    def apply(self, example: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the example with every known field normalised; others (labels) as they are."""
        return {k: self.scales[k].apply(v) if k in self.scales else v for k, v in example.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return {"normalisation/<field>/mean", "/std": (channels,) float64}, to be stored as weights are."""
        return {
            f"normalisation/{name}/{part}": np.asarray(getattr(scale, part), np.float64)
            for name, scale in sorted(self.scales.items())
            for part in ("mean", "std")
        }

    @property
    def hash(self) -> str:
        """SHA-256 of names, transforms and numbers: a run that resumes with another is refused by it."""
        digest = hashlib.sha256()
        for name, scale in sorted(self.scales.items()):
            digest.update(f"{name}\0{scale.transform}\0{len(scale.mean)}\0".encode())
            digest.update(scale.mean.astype("<f8").tobytes() + scale.std.astype("<f8").tobytes())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> Path:
        """Write `normalisation.safetensors` into the folder of the weights, atomically; return its path."""
        from safetensors.numpy import save

        path = Path(folder) / FILE_NAME
        transforms = {name: scale.transform for name, scale in sorted(self.scales.items())}
        metadata = {"transforms": json.dumps(transforms, sort_keys=True)}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(self.arrays(), metadata))
        return path


def load_normalisation(folder: str | Path) -> Normalisation:
    """Return the normalisation beside weights. Raises FileError when it is missing, cut short or not one."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / FILE_NAME
    try:
        with safe_open(path, framework="numpy") as file:
            transforms = json.loads((file.metadata() or {})["transforms"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        scales = {
            name: Scale(transform, arrays[f"normalisation/{name}/mean"], arrays[f"normalisation/{name}/std"])
            for name, transform in transforms.items()
            if transform in _FORWARD
        }
    except FileNotFoundError:
        raise FileError(f"{path}: no such file; weights and normalisation belong together") from None
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise FileError(f"{path}: not a normalisation ({error}); fetch or make it again") from None
    if len(scales) != len(transforms) or len(arrays) != 2 * len(scales):
        raise FileError(f"{path}: not a normalisation: fields and transforms do not go together")
    return Normalisation(scales)


class Moments:
    """Mean and variance of a stream, for each channel, in float64: Chan, Golub & LeVeque (1983), eq. 2.1.

    Merging blocks instead of summing squares keeps the variance of a field whose mean is large.
    """

    def __init__(self, channels: int):
        self.count, self.mean, self.squares = 0, np.zeros(channels), np.zeros(channels)

    def add(self, values: np.ndarray) -> None:
        """Take in values (..., channels)."""
        values = values.reshape(-1, values.shape[-1]).astype(np.float64)
        other = Moments(values.shape[-1])
        other.count, other.mean = len(values), values.mean(axis=0)
        other.squares = ((values - other.mean) ** 2).sum(axis=0)
        self.merge(other)

    def merge(self, other: "Moments") -> None:
        """Take in what another has seen."""
        total = self.count + other.count
        if not other.count:
            return
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / total)
        self.mean, self.count = self.mean + step * (other.count / total), total

    @property
    def std(self) -> np.ndarray:
        """(channels,) standard deviation, with weight 1 / n."""
        return np.sqrt(self.squares / max(self.count, 1))


def measure(
    examples: Iterable[Mapping[str, np.ndarray]],
    kinds: Mapping[str, str],
    transforms: Mapping[str, str] | None = None,
) -> Normalisation:
    """Return the normalisation of a stream of examples: of the training fold, nothing else.

    examples: dicts of fields (..., channels). kinds: of each field to normalise (see `augment.KINDS`).
    transforms: "log", "log1p" or "asinh" for fields that want it. Raises DataError naming example and field
    on values that are not finite (or not positive, for a logarithm), and on a field that never changes.
    """
    transforms = {name: (transforms or {}).get(name, "none") for name in kinds}
    for name, transform in transforms.items():
        if transform not in _FORWARD:
            raise unknown_name(f"transform of {name}", transform, _FORWARD)
    seen: dict[str, Moments] = {}
    for number, example in enumerate(examples):
        for name, kind in kinds.items():
            values = _transformed(name, number, example[name], transforms[name])
            if kind in _DIRECTED:
                values = values.reshape(-1, 1)
            seen.setdefault(name, Moments(values.shape[-1])).add(values)
    scales = {}
    for name, moments in seen.items():
        mean, std = moments.mean, moments.std
        if kinds[name] in _DIRECTED:  # about zero: a mean would pick out a direction
            mean, std = np.zeros(1), np.hypot(std, mean)
        if not (std > 0).all():
            raise DataError(f"{name}: channel {int(np.argmin(std))} never changes, so it cannot be scaled")
        scales[name] = Scale(transforms[name], mean, std)
    if not scales:
        raise DataError("no examples to measure a normalisation from")
    return Normalisation(scales)


def _transformed(name: str, number: int, values: np.ndarray, transform: str) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = _FORWARD[transform](values.astype(np.float64))
    if not np.isfinite(changed).all():
        raise DataError(
            f"{name} of example {number}: {int((~np.isfinite(changed)).sum())} values are not finite"
            + (f" after {transform}" if np.isfinite(values).all() else "")
        )
    return changed
