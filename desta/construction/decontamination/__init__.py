"""Clips that are in the test data of a benchmark."""
