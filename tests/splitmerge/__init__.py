"""Tests of two-pass refinement."""
