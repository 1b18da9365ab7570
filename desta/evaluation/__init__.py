"""7. Measuring it."""
