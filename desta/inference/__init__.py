"""6. Inference: answers to questions about clips."""
