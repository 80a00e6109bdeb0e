"""The asset graph: says what exists and when it is made; the engine computes."""
