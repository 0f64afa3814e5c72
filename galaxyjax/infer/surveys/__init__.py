"""Analyses of surveys, each a frozen configuration."""
