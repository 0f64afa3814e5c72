"""Templates of names: "LH_{0..999}" is a list, "Sims/{set}/{simulation}/snapshot_{number}.hdf5" a path."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from galaxyjax.core.errors import ConfigError, unknown_name

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_MOST = 1_000_000


@dataclass(frozen=True)
class Template:
    """A text with ranges {0..26} (or {000..090}, with leading zeros) or named fields {simulation}."""

    text: str

    def expand(self) -> Iterator[str]:
        """Yield the texts of all numbers of the first range, and of those of the next; the text without any.

        Raises ConfigError on a range that runs backwards or has more than a million numbers.
        """
        found = _RANGE.search(self.text)
        if found is None:
            yield self.text
            return
        low, high = found.groups()
        if not 0 <= int(high) - int(low) < _MOST:
            raise ConfigError(f"{self.text!r}: the range {low}..{high} must run upwards, to at most {_MOST}")
        for number in range(int(low), int(high) + 1):
            digits = f"{number:0{len(low)}d}"
            yield from Template(self.text[: found.start()] + digits + self.text[found.end() :]).expand()

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with its fields replaced. Raises UnknownName for a field without a value."""

        def value(match: re.Match) -> str:
            if match[1] not in values:
                raise unknown_name("field", match[1], values)
            return str(values[match[1]])

        return _FIELD.sub(value, self.text)

    def match(self, text: str, kinds: Mapping[str, str]) -> dict[str, str] | None:
        """Return the values of the fields in a filled text, or None. kinds: field -> regular expression."""
        seen: set[str] = set()
        pattern, last = "", 0
        for found in _FIELD.finditer(self.text):
            pattern += re.escape(self.text[last : found.start()])
            name, last = found[1], found.end()
            # The same field twice must hold the same twice.
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{kinds.get(name, r'[^/]+?')})"
            seen.add(name)
        found = re.fullmatch(pattern + re.escape(self.text[last:]), text)
        return found.groupdict() if found else None
