"""A study run: prepared on training rows, trained in stages, recorded."""
