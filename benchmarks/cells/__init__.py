"""Two passes over cells: a consensus of clusterings, and the policy of refinement."""
