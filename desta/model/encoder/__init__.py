"""Audio encoders and Whisper's decoder."""
