"""VoiceBench (Chen et al., arXiv 2410.17196)."""
