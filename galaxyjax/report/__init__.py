"""Figures, cards and pages that a paper could print; each takes plain arrays or a contract."""
