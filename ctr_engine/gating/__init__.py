"""Which cell types a cluster may be, and the walk to one of them."""
