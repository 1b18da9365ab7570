"""Measurements of `speed.py`: settings, clips, training, answering, tables."""
