"""Random numbers that are a pure function of their key: the same on every machine, in every version."""

import hashlib

import numpy as np

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def keyed_bits(*key: int | str) -> int:
    """Return 64 random bits of a key: the first 8 bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")


def keyed_numbers(key: int, counters: np.ndarray) -> np.ndarray:
    """Return one uint64 for each counter (any shape): SplitMix64 (Steele, Lea & Flood 2014) at that place.

    NumPy's own generators promise no fixed stream of permutations from one version to the next.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
        return z ^ (z >> np.uint64(31))


def permutation(key: int, count: int) -> np.ndarray:
    """Return a permutation of 0..count - 1 (int64): the order of keyed random numbers."""
    return np.argsort(keyed_numbers(key, np.arange(count)), kind="stable")
