"""Decontamination: removal of clips that are in the test data of benchmarks."""
