"""Speech-IFEval (Lu et al., arXiv 2505.19037)."""
