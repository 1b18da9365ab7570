"""1. What corpora say about their clips."""
