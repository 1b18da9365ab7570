"""Who can write text: one protocol, several engines."""
