"""Judges: models that say whether answers are right."""
