"""The backbone: chat templates, decoding, LM head."""
