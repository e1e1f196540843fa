"""Helpers for compiled loops: how Numba compiles them, number formats, elementary functions.

The loops themselves are in the rooms that use them.
"""
