"""Compiled loops and number formats. What they compute is said where they are used."""
