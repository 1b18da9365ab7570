"""4. Encoder, connector, backbone: the model."""
