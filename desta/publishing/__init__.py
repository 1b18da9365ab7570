"""Publishing of a finished data set: survey, card, Parquet export, upload."""
