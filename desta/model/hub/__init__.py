"""Model files from the Hub, from directories and from packages."""
