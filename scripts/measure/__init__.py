"""What `speed.py` measures, and how: settings, clips, training, answering, table."""
