"""Labels of a stored run over a grid of parameters, without the cells."""
