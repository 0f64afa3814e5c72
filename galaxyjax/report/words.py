"""Numbers as people read them."""


def per_cent(fraction: float) -> str:
    """A fraction as per cent, two digits, and all of them from 100% on: 0.12%, 13%, 254%."""
    return f"{100.0 * fraction:.2g}%" if abs(fraction) < 0.995 else f"{100.0 * fraction:.0f}%"
