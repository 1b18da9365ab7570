"""What the demo asks: its small backbone copes with its own pools and draws, so they must not move.

`make golden` writes the file again; review which prompts changed.
"""

import json
from dataclasses import replace
from pathlib import Path

from desta.config import load_recipe
from desta.construction.config import ConstructConfig
from desta.construction.plan import Planner
from desta.construction.survey import survey_clips
from desta.records import Clip, Domain, Segment

REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("demo_prompts.json")
DOMAINS: tuple[Domain, ...] = ("speech", "sound", "music")  # of the recipe's corpora, in order


def clips(domain: Domain, languages: tuple[str, ...]) -> list[Clip]:
    attributes: dict[Domain, list[dict[str, str]]] = {
        "speech": [{"Language": language} for language in languages],
        "sound": [{"Sound": "Duck", "Sound class": "Bird"}] * 8,
        "music": [{"Instrument": "Tabla", "Category": "Loop"}, {"Category": "Ambience"}] * 4,
    }
    return [
        Clip(
            id=f"{domain}/{number}",
            source=domain,
            audio=f"{number}.wav",
            duration=2.0,
            domain=domain,
            segments=(Segment(start=0.0, end=2.0, text="One."),) if domain == "speech" else (),
            attributes=values,
        )
        for number, values in enumerate(attributes[domain])
    ]


def demo_prompts(folder: Path) -> dict[str, str]:
    """Plan the demo's recipe for a few clips; return what is asked about each."""
    recipe = load_recipe(REPOSITORY / "recipes/demo/data.yaml", ConstructConfig)
    corpora = []
    for corpus, domain in zip(recipe.clips, DOMAINS, strict=True):
        path = folder / f"{domain}.jsonl"
        lines = (json.dumps(c.to_json()) for c in clips(domain, corpus.where.get("Language", ())))
        path.write_text("\n".join(lines), encoding="utf-8")
        corpora.append(replace(corpus, path=path))
    prompts = recipe.prompts and REPOSITORY / recipe.prompts
    recipe = replace(recipe, clips=tuple(corpora), prompts=prompts)
    planned = Planner(recipe).plan(survey_clips(recipe))
    return {job.id: job.prompt.text for _, jobs in planned for job in jobs or ()}


def test_the_demo_asks_what_it_always_asked(tmp_path: Path) -> None:
    asked = demo_prompts(tmp_path)
    if not GOLDEN.is_file():
        GOLDEN.write_text(f"{json.dumps(asked, indent=1)}\n", encoding="utf-8")
    assert asked == json.loads(GOLDEN.read_text(encoding="utf-8"))
