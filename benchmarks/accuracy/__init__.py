"""Labels of both profiles beside baselines, on samples whose cell types are known."""
