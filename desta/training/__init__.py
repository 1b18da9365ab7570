"""5. Training of the connector."""
