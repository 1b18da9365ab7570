"""4. The model: encoder, connector, backbone."""
