"""Models from the Hub, from directories and from packages."""
