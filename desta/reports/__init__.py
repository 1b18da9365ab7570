"""HTML reports of runs, evaluations and data sets."""
