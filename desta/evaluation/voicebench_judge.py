"""What a judge of VoiceBench is asked, about open questions and about those with a reference."""

from desta.evaluation.items import Item, fill

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


def judge_messages(item: Item, response: str, template: str | None = None) -> tuple[str, str]:
    """Return the system prompt and the question for the judge of a response.

    Args:
        item: of a subset whose kind is open or qa.
        response: what the model wrote.
        template: holds the placeholders in braces; by default our own words.
    """
    reference = item.record.get("reference")
    default = OPEN_PROMPT if reference is None else QA_PROMPT
    values = {"{prompt}": item.record["prompt"], "{response}": response}
    if reference is not None:
        values["{reference}"] = reference
    return SYSTEM, fill(template or default, values)
