"""Tests of refinement."""
