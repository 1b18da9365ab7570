"""Benchmarks: a file or a folder each, and the table."""
