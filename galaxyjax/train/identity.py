"""What a run is, as hashes: so that a checkpoint can refuse to go on as something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from galaxyjax.core.errors import ConfigError


def fingerprint(thing: Any) -> str:
    """SHA-256 of a tree of dataclasses, mappings, sequences, arrays, numbers and text: 64 hexadecimal digits.

    Two dataclasses with the same fields but other names differ, so that swapping a loss is seen. Fields with
    the metadata {"identity": False} do not count.

    Raises ConfigError for anything else: a function's name does not say what it does.
    """
    return hashlib.sha256(json.dumps(_plain(thing), sort_keys=True).encode()).hexdigest()


def _plain(thing: Any) -> Any:
    if is_dataclass(thing) and not isinstance(thing, type):
        counted = [field.name for field in fields(thing) if field.metadata.get("identity", True)]
        content = {name: _plain(getattr(thing, name)) for name in counted}
        return {"class": type(thing).__qualname__, "fields": content}
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(value) for value in thing]
    if isinstance(thing, (np.ndarray, np.generic)) or hasattr(thing, "addressable_shards"):
        array = np.ascontiguousarray(thing)
        return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise ConfigError(
        f"recipe: {thing!r} is a {type(thing).__name__}, which has no hash; use dataclasses, arrays, "
        "numbers and text"
    )
