"""Two-pass refinement of clusters: divide what was lumped, merge what was split.

One algorithm over the indices of items and their distances; ``barcodes`` and ``cells`` say what an
item is and how far two are apart.
"""
