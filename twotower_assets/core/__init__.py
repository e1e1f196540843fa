"""What every room may know: days, the popularity weight, buckets, the columns of metric rows, ragged arrays.

Nothing here imports another room, or a library heavier than numpy.
"""
