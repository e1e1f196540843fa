"""What every room may know: days, popularity, ragged arrays. Nothing here imports another room or a heavy library."""
