"""The towers and their embedding tables, with what takes their gradients back."""
