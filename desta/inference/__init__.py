"""6. Asking the model."""
