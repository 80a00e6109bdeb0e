"""Two stored runs beside each other: what changed, and what was edited to make it so."""
