"""Tests of the project; numbers come from a hand count or from ``tests/oracles``."""
