"""Clips that are rendered from texts and scores of this project's own."""
