"""Tests of the grids of parameters."""
