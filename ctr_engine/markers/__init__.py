"""The marker map: cell types, their markers, and how these meet the panel of a sample."""
