"""5. Learning the connector."""
