"""Two passes over cells: microclusters as items, and one partition of many clusterings."""
