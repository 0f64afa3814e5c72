"""Statistics of many fields of one kind: moments, histograms, spectra; which are odd, which come twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from galaxyjax.core.errors import DataError
from galaxyjax.data.coverage import Flag

FAR = 8.0
"""Robust standard deviations beyond which a field is an outlier: 1e-15 of a Gaussian's."""
ALIKE = 0.98
"""Correlation of two coarse-grained fields above which they are nearly the same."""
SAMPLED = 8
"""Fields that are read once more, for the limits of the histograms."""
_BINS, _COARSE, _PAIRS = 60, 8, 2000


@dataclass(frozen=True, eq=False)
class FieldStatistics:
    """What n fields of one kind look like.

    names: of the fields, and `of` how many there are in all. moments: name -> (n,): "mean", "std",
    "skewness", "minimum", "maximum", "zeros". edges: of the histograms (of log10 x where `logarithmic`),
    counts: (n, bins), densities. k: (nk,) in h/Mpc, power: (n, nk) in the volume's units, of x / mean - 1
    where `contrast`, else of x - mean. score: (n,) largest robust deviation of each.
    """

    kind: str
    names: tuple[str, ...]
    dimensions: int
    cells: int
    of: int
    moments: dict[str, np.ndarray]
    logarithmic: bool
    contrast: bool
    edges: np.ndarray
    counts: np.ndarray
    k: np.ndarray
    power: np.ndarray
    score: np.ndarray
    flags: list[Flag] = field(default_factory=list)


def examine(
    kind: str,
    names: Sequence[str],
    read: Callable[[int], np.ndarray],
    box_size: float = 1.0,
    parameters: np.ndarray | None = None,
    of: int | None = None,
) -> FieldStatistics:
    """Return the statistics of fields (cells along every axis), one in memory at a time.

    names: of the fields. read: number -> field. box_size: side in Mpc/h. parameters: (n, p) of each, whose
    smooth effect is taken out before outliers are sought. of: how many fields there are in all.
    """
    count = len(names)
    finite = np.concatenate([_sample(read(i)) for i in range(min(count, SAMPLED))])
    if not len(finite):
        raise DataError(f"{names[0]}: holds no finite value")
    positive = bool((finite >= 0).all() and finite.mean() > 0)
    # Densities have a long tail, and cells without anything.
    logarithmic = positive and bool(finite.max() > 20 * np.median(finite[finite > 0]))
    edges = _edges(finite, logarithmic)
    rows, counts, power, coarse, flags, k = [], [], [], [], [], None
    for i, name in enumerate(names):
        values = np.asarray(read(i), np.float64)
        broken = ~np.isfinite(values)
        if broken.any():
            flags.append(Flag("broken", f"{broken.sum()} values are not finite", (name,)))
            values = np.where(broken, np.median(values[~broken]) if (~broken).any() else 0.0, values)
        rows.append(_moments(values))
        counts.append(_histogram(values, edges, logarithmic))
        k, spectrum = power_spectrum(values, box_size, positive)
        power.append(spectrum)
        coarse.append(_coarse(values))
    moments = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    power, coarse = np.array(power), np.array(coarse)
    flags += [
        Flag("broken", "holds one value everywhere", (names[i],)) for i in np.flatnonzero(moments["std"] == 0)
    ]
    flags += _twice(names, moments) + _alike(names, coarse, moments)
    score, found = _odd(names, moments, power, parameters)
    cells, dimensions = values.shape[0], values.ndim
    return FieldStatistics(
        kind, tuple(names), dimensions, cells, of or count, moments, logarithmic, positive, edges,
        np.array(counts), k, power, score, flags + found,
    )  # fmt: skip


def _sample(values: np.ndarray) -> np.ndarray:
    """About 20,000 finite values of a field."""
    values = np.asarray(values).ravel()[:: max(1, values.size // 20_000)].astype(np.float64)
    return values[np.isfinite(values)]


def power_spectrum(values: np.ndarray, box_size: float, contrast: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return k (nk,) and P(k) (nk,) of a periodic field, in shells of one fundamental mode up to Nyquist.

    contrast: of x / mean - 1, else of x - mean. P is in box_size^d (and the field's unit squared); no shot
    noise and no window is taken out.
    """
    mean = values.mean()
    delta = values / mean - 1.0 if contrast and mean > 0 else values - mean
    n, d = values.shape[0], values.ndim
    modes = np.fft.rfftn(delta)
    frequency = [np.fft.fftfreq(s, 1.0 / s) for s in values.shape[:-1]]
    frequency.append(np.arange(values.shape[-1] // 2 + 1))
    squares = [f.reshape([-1 if a == b else 1 for b in range(d)]) ** 2 for a, f in enumerate(frequency)]
    radius = np.sqrt(sum(squares))
    # Modes with kz = 0 or Nyquist stand for themselves, the others for their conjugates too.
    weight = np.full(modes.shape, 2.0)
    weight[..., 0] = 1.0
    if values.shape[-1] % 2 == 0:
        weight[..., -1] = 1.0
    shell = np.rint(radius).astype(int).ravel()
    size = n // 2 + 1
    kept = (shell > 0) & (shell < size)
    shell, weight = shell[kept], weight.ravel()[kept]
    total = np.bincount(shell, weight, size)[1:]
    strength = np.bincount(shell, weight * np.abs(modes.ravel()[kept]) ** 2, size)[1:] / total
    k = np.bincount(shell, weight * radius.ravel()[kept], size)[1:] / total
    return 2 * np.pi / box_size * k, strength * (box_size / n) ** d / n**d


def _edges(sample: np.ndarray, logarithmic: bool) -> np.ndarray:
    changed = np.log10(sample[sample > 0]) if logarithmic else sample
    low, high = np.quantile(changed, [0.0005, 0.9995])
    width = high - low if high > low else max(abs(high), 1.0) * 0.1
    return np.linspace(low - 0.15 * width, high + 0.15 * width, _BINS + 1)


def _histogram(values: np.ndarray, edges: np.ndarray, logarithmic: bool) -> np.ndarray:
    changed = np.log10(values[values > 0]) if logarithmic else values.ravel()
    return np.histogram(changed, edges)[0] / (values.size * (edges[1] - edges[0]))


def _moments(values: np.ndarray) -> dict[str, float]:
    mean, std = float(values.mean()), float(values.std())
    third = float(((values - mean) ** 3).mean())
    return {
        "mean": mean,
        "std": std,
        "skewness": third / std**3 if std > 0 else 0.0,
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "zeros": float((values == 0).mean()),
    }


def _coarse(values: np.ndarray) -> np.ndarray:
    """The field on 8 cells a side, without its mean, of length 1."""
    for axis, n in enumerate(values.shape):
        step = max(1, n // _COARSE)
        values = np.add.reduceat(values, np.arange(0, n - n % step, step), axis=axis)
    flat = values.ravel() - values.mean()
    return flat / max(np.linalg.norm(flat), 1e-300)


def _twice(names: Sequence[str], moments: dict[str, np.ndarray]) -> list[Flag]:
    """The same field again, also turned or shifted: no symmetry changes the distribution of its values."""
    keys = np.stack([moments[key] for key in ("mean", "std", "skewness", "minimum", "maximum")], axis=1)
    scale = np.abs(keys).max(axis=0) + 1e-300
    _, index, counts = np.unique(np.round(keys / scale, 9), axis=0, return_inverse=True, return_counts=True)
    groups = [np.flatnonzero(index.ravel() == group) for group in np.flatnonzero(counts > 1)]
    text = "{} fields are the same (up to rotations, reflections and shifts)"
    return [Flag("duplicate", text.format(len(g)), tuple(names[i] for i in g)) for g in groups]


def _alike(names: Sequence[str], coarse: np.ndarray, moments) -> list[Flag]:
    """Fields that are nearly the same in the same place: twins from the same initial conditions, say."""
    coarse = coarse[:_PAIRS]
    pairs = np.argwhere(np.triu(coarse @ coarse.T > ALIKE, 1))
    same = moments["mean"], moments["std"], moments["skewness"]
    close = [(i, j) for i, j in pairs if any(abs(m[i] - m[j]) > 1e-9 * abs(m[i]) for m in same)]
    if not close:
        return []
    where = tuple(dict.fromkeys(names[i] for pair in close for i in pair))
    text = f"{len(close)} pairs of fields have the same large scales; keep each pair in one fold"
    return [Flag("duplicate", text, where)]


def _odd(names, moments, power, parameters) -> tuple[np.ndarray, list[Flag]]:
    """Robust deviations of mean, spread, skewness and power, after the linear effect of the parameters."""
    thirds = np.array_split(np.arange(power.shape[1]), 3)
    measures = {
        "mean": _log_if_positive(moments["mean"]),
        "spread": _log_if_positive(moments["std"]),
        "skewness": np.arcsinh(moments["skewness"]),
        **{
            f"power on {scale} scales": _log_if_positive(power[:, part].mean(axis=1))
            for scale, part in zip(("large", "middle", "small"), thirds, strict=True)
            if len(part)
        },
    }
    score, reason = np.zeros(len(names)), np.full(len(names), "", dtype=object)
    for what, values in measures.items():
        rest = _without_parameters(values, parameters)
        deviation = np.abs(rest - np.median(rest))
        # A tenth of a per cent is never an outlier, however alike the others are.
        width = max(1.4826 * np.median(deviation), 1e-3 * max(1.0, np.abs(np.median(values))))
        reason = np.where(deviation / width > score, what, reason)
        score = np.maximum(score, deviation / width)
    if len(names) < 8:
        return score, []
    text = "{} is {:.0f} robust standard deviations from the others"
    return score, [
        Flag("outlier", text.format(reason[i], score[i]), (names[i],)) for i in np.flatnonzero(score > FAR)
    ]


def _log_if_positive(values: np.ndarray) -> np.ndarray:
    return np.log(values) if (values > 0).all() else values / (np.abs(values).max() + 1e-300)


def _without_parameters(values: np.ndarray, parameters: np.ndarray | None) -> np.ndarray:
    if parameters is None or len(values) < 4 * (parameters.shape[1] + 1):
        return values
    inside = np.abs(values - np.median(values)) <= 5 * (
        np.subtract(*np.quantile(values, [0.75, 0.25])) + 1e-12
    )
    scaled = (parameters - parameters.mean(0)) / (parameters.std(0) + 1e-300)
    design = np.column_stack([np.ones(len(values)), scaled, scaled**2])
    if inside.sum() < 2 * design.shape[1]:
        return values
    solution, *_ = np.linalg.lstsq(design[inside], values[inside], rcond=None)
    return values - design @ solution
