"""Reads and writes files; imported by the command line and the asset graph only."""
