"""Checks of verifiable instructions ("all in lower case", "at least 3 sentences").

    text.py       words, sentences, tokens and language, as the official scorers count them
    arguments.py  what an instruction was written with, and what is drawn where it was left out
    checkers.py   one rule per instruction, in two variants
    following.py  strict and loose reading of an answer

Two variants, because two benchmarks share names and not rules: `official` is Google's IFEval
(Zhou et al., arXiv 2311.07911), in the copy of 2024 that VoiceBench carries; `speech_ifeval` is
what Speech-IFEval (Lu et al., arXiv 2505.19037) made of it.
"""
