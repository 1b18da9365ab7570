"""Kernels for backbones on the CPU."""
