"""Shared basics: days, the popularity weight, buckets, the columns of metric rows, ragged arrays.

Modules here import no other package of this project, and no library heavier than numpy.
"""
