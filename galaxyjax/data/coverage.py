"""How well simulations cover their parameters: outliers, duplicates, gaps, parameters that go together."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import qmc

from galaxyjax.data.parameters import ParameterTable

FAR = 3.0
"""Interquartile ranges from the median beyond which a value is an outlier; a uniform design ends at 1."""
EMPTY = 1.5
"""Times the largest hole of random designs beyond which a hole is a gap."""
TIED = 5.0
"""Times 1/sqrt(n) beyond which a correlation of two parameters is a bias."""
MANY = 0.1
"""Share of the simulations above which what is far away is no outlier but how the set is made."""
_RANDOM, _PROBES, _MOST = 20, 2048, 4096
_LABELS = ("seed", "row", "id")


@dataclass(frozen=True)
class Flag:
    """Something that somebody should look at. kind: outlier, duplicate, gap, bias, broken; where: names."""

    kind: str
    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the parameters of a set look like.

    varied: columns that take many values; levels: columns of a few, with their values; constant: of one.
    logarithmic: of the varied ones, those spread evenly in the logarithm. holes: (a, b) -> (centre (2,) in
    units of the parameters, radius as a fraction of the range) of the largest empty circle. discrepancy:
    centred L2 (of the first 4096 simulations), and mean and standard deviation of random designs. odd: (n,)
    outliers; these and repetitions are left out of holes and discrepancy.
    """

    table: ParameterTable
    varied: tuple[str, ...]
    levels: dict[str, np.ndarray]
    constant: dict[str, float]
    logarithmic: tuple[str, ...]
    holes: dict[tuple[str, str], tuple[np.ndarray, float]]
    discrepancy: tuple[float, float, float] | None
    flags: list[Flag] = field(default_factory=list)
    odd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def cover(table: ParameterTable, seed: int = 0) -> Coverage:
    """Return what the parameters of a set look like; random designs to compare with come from `seed`."""
    columns = {name: table.column(name) for name in table.columns}
    distinct = {name: np.unique(values) for name, values in columns.items()}
    constant = {name: float(v[0]) for name, v in distinct.items() if len(v) == 1}
    few = {n: v for n, v in distinct.items() if 1 < len(v) <= max(9, len(table) // 20)}
    labels = [name for name in columns if name.lower() in _LABELS]
    varied = [n for n in columns if n not in constant and n not in few and n not in labels]
    logarithmic = tuple(n for n in varied if _is_logarithmic(columns[n]))
    once, flags = _duplicates(table, [n for n in columns if n not in labels and n not in constant])
    odd, found = _outliers(table, [*varied, *labels], (*logarithmic, *labels), once)
    kept = once & ~odd
    rng = np.random.default_rng(seed)
    units = {n: _unit(columns[n], n in logarithmic, kept) for n in varied}
    holes, gaps = _holes(table, units, kept, rng)
    flags = found + flags + gaps + _gaps(table, units, kept) + _ties(units, kept)
    discrepancy = _discrepancy(units, kept, rng)
    return Coverage(table, tuple(varied), few, constant, logarithmic, holes, discrepancy, flags, odd)


def _is_logarithmic(values: np.ndarray) -> bool:
    """Whether the spread is more even in the logarithm: the quartiles say."""
    if values.min() <= 0:
        return False
    low, middle, high = np.quantile(values, [0.02, 0.5, 0.98])
    if high <= 2.5 * low:
        return False
    return abs(np.log(middle / low) / np.log(high / low) - 0.5) < abs((middle - low) / (high - low) - 0.5)


def _unit(values: np.ndarray, logarithmic: bool, kept: np.ndarray) -> np.ndarray:
    changed = np.log(values) if logarithmic else values
    low, high = changed[kept].min(), changed[kept].max()
    return (changed - low) / (high - low if high > low else 1.0)


def _outliers(table: ParameterTable, names, logarithmic, once) -> tuple[np.ndarray, list[Flag]]:
    odd, flags = np.zeros(len(table), bool), []
    for name in names:
        values = table.column(name)
        changed = np.log(values) if name in logarithmic and values.min() > 0 else values
        # Of distinct values: where most simulations are the fiducial one, the others are not all outliers.
        low, middle, high = np.quantile(np.unique(changed[once]), [0.25, 0.5, 0.75])
        far = np.abs(changed - middle) > FAR * (high - low)
        if high > low and 0 < far.sum() <= MANY * len(table):
            where = tuple(table.simulations[i] for i in np.flatnonzero(far))
            most = values[far][np.argmax(np.abs(changed[far] - middle))]
            plural = "value" if far.sum() == 1 else "values"
            text = f"{name}: {far.sum()} {plural} far from the others, up to {most:.6g}"
            flags.append(Flag("outlier", text, where))
            odd |= far if name.lower() not in _LABELS else False
    return odd, flags


def _duplicates(table: ParameterTable, names) -> tuple[np.ndarray, list[Flag]]:
    """(n,) the first of each, and a flag for each that has others."""
    once = np.ones(len(table), bool)
    if not names:
        return once, []
    values = np.stack([table.column(n) for n in names], axis=1)
    scale = np.abs(values).max(axis=0) + 1e-300
    rounded = np.round(values / scale, 10)
    _, first, group = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    once[:] = False
    once[first] = True
    flags, order = [], np.argsort(group.ravel(), kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1):
        if len(members) > 1:
            where = tuple(table.simulations[i] for i in members)
            flags.append(Flag("duplicate", f"{len(where)} simulations have the same parameters", where))
    return once, flags


def _gaps(table: ParameterTable, units, kept) -> list[Flag]:
    """Stretches of one parameter without a simulation: by chance in one design of a thousand or less."""
    flags, n = [], int(kept.sum())
    for name, unit in units.items():
        ordered = np.sort(unit[kept])
        if n < 2:
            continue
        widest = int(np.argmax(np.diff(ordered)))
        gap = ordered[widest + 1] - ordered[widest]
        if n * (1.0 - gap) ** (n - 1) < 1e-3:
            values = np.sort(table.column(name)[kept])
            flags.append(
                Flag("gap", f"{name}: nothing between {values[widest]:.6g} and {values[widest + 1]:.6g}")
            )
    return flags


def _holes(table, units, kept, rng) -> tuple[dict, list[Flag]]:
    """The largest empty circle in the plane of every two parameters, against those of random designs."""
    names, holes, flags = list(units)[:8], {}, []
    if len(names) < 2 or kept.sum() < 8:
        return holes, flags
    probes = qmc.Sobol(2, scramble=False).random(_PROBES)
    n = int(kept.sum())
    random = max(_largest(rng.random((n, 2)), probes)[1] for _ in range(_RANDOM))
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            points = np.stack([units[a][kept], units[b][kept]], axis=1)
            probe, radius = _largest(points, probes)
            centre = np.array(
                [_back(table.column(c)[kept], units[c][kept], u) for c, u in zip((a, b), probe, strict=True)]
            )
            holes[a, b] = (centre, float(radius))
            if radius > EMPTY * random:
                flags.append(
                    Flag(
                        "gap",
                        f"{a}, {b}: nothing around {centre[0]:.4g}, {centre[1]:.4g}, over {radius:.0%} of "
                        f"the ranges (random designs leave {random:.0%} at most)",
                    )
                )
    return holes, flags


def _largest(points: np.ndarray, probes: np.ndarray) -> tuple[np.ndarray, float]:
    distance, _ = cKDTree(points).query(probes)
    return probes[np.argmax(distance)], float(distance.max())


def _back(values: np.ndarray, unit: np.ndarray, wanted: float) -> float:
    """The value of a parameter at a place between 0 and 1."""
    order = np.argsort(unit)
    return float(np.interp(wanted, unit[order], values[order]))


def _ties(units, kept) -> list[Flag]:
    names, n = [name for name, unit in units.items() if np.ptp(unit[kept]) > 0], int(kept.sum())
    if len(names) < 2:
        return []
    matrix = np.corrcoef(np.stack([units[name][kept] for name in names]))
    tied = np.argwhere(np.triu(np.abs(matrix) > TIED / np.sqrt(n), 1))
    text = "{} and {} go together: correlation {:.2f}, random designs stay below {:.2f}"
    limit = TIED / np.sqrt(n)
    return [Flag("bias", text.format(names[i], names[j], matrix[i, j], limit)) for i, j in tied]


def _discrepancy(units, kept, rng) -> tuple[float, float, float] | None:
    if not units or kept.sum() < 8:
        return None
    points = np.stack([unit[kept] for unit in units.values()], axis=1)
    points = points[:_MOST]  # a part of a Sobol sequence fills evenly only from its beginning
    random = [qmc.discrepancy(rng.random(points.shape)) for _ in range(_RANDOM if len(points) < 2000 else 4)]
    # Rounding can leave a design a hair outside the unit cube.
    own = qmc.discrepancy(np.clip(points, 0, 1))
    return float(own), float(np.mean(random)), float(np.std(random))
