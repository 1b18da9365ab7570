"""Augmentation of clips in training: changes of a recording that must not change the answer."""
