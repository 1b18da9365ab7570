"""What a judge of VoiceBench is asked, about open questions and about those with a reference."""

SYSTEM = "You grade the responses of voice assistants. You are strict and fair."
OPEN_PROMPT = """A user spoke to a voice assistant. Rate how well its response serves the user.

5: relevant, accurate, to the point, exactly what is needed
4: relevant, accurate and concise
3: relevant and mostly accurate, but wordy or with needless detail
2: somewhat relevant, but inaccurate or incomplete
1: irrelevant, wrong, or no answer to what was said

[Instruction]: {prompt}
[Response]: {response}

Reply with the number alone."""
QA_PROMPT = """Question: {prompt}
Reference answer: {reference}
Candidate answer: {response}

Judged by the reference, is the candidate answer correct? Reply with "Yes" or "No" alone."""
"""Both in our own words; the official texts have the same placeholders and can be given instead."""
