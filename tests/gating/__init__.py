"""Tests of the gates and of the walk."""
