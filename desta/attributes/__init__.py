"""Attributes beside those of the corpus: measured on the recording, or labelled by a classifier."""
