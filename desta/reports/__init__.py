"""HTML pages: a run, an evaluation, a data set."""
