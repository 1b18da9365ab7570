"""The probe of backbones: questions in text, their own responses, and their speed, ranked."""
