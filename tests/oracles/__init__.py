"""Slow, obvious reference implementation of the annotation step, for tests only."""
