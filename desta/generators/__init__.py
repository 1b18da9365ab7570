"""Text generators: one protocol, several engines."""
