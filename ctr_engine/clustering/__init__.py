"""Clusters cells that express the same markers."""
