"""What a user has to know of a benchmark before `desta eval`: files, systems, figures, licence."""

from dataclasses import dataclass

from desta.config import suggest
from desta.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class About:
    """A benchmark as `desta benchmarks` shows it."""

    name: str
    title: str
    """What it asks, in a line."""
    data: str
    """What `--data` is."""
    subsets: str
    """Parts that can be asked alone, by `--set 'data.subsets=[...]'`."""
    metrics: str
    judge: str
    """Whether a model has to say what is right."""
    published: str
    """Results files of others that `desta score` reads."""
    licence: str
    source: str
    """Where it comes from."""
    example: str


_JUDGE = "`desta score FOLDER --judge RECIPE`"

ABOUT = (
    About(
        name="attributes",
        title="what a corpus knows of its held-out clips, asked with closed sets",
        data="none; `data.clips` (files of `desta describe`) and `data.attributes` of its recipe",
        subsets="-",
        metrics="accuracy, and balanced accuracy for each attribute and group of clips",
        judge="none",
        published="-",
        licence="that of the corpora",
        source="your own corpora",
        example=(
            "desta eval attributes --model MODEL "
            "--set 'data.clips=[{path: clips.jsonl, root: CORPUS}]' "
            "--set 'data.attributes={Gender: []}'"
        ),
    ),
    About(
        name="dynamic_superb",
        title="tasks of speech processing as questions, Phase 1",
        data="folder with one folder for each instance, or `hub`",
        subsets="names of instances; if none is named, the 55 of the paper",
        metrics="accuracy of equal strings for each task and dimension",
        judge="none",
        published="JSON of predictions, a file for each instance",
        licence="none stated; the corpora in it have terms of their own",
        source="Hub, organisation DynamicSuperb (Huang et al., 2024)",
        example="desta eval dynamic_superb --data hub --model MODEL --limit 40",
    ),
    About(
        name="mmar",
        title="reasoning about speech, sound and music mixed, multiple choice",
        data="folder of MMAR-meta.json and its clips, or that file",
        subsets="-",
        metrics="accuracy for each modality and category",
        judge="none",
        published="JSON of questions with model_prediction or model_output",
        licence="none known here; the clips have terms of their own",
        source="github.com/ddlBoJack/MMAR (Ma et al., 2025)",
        example="desta eval mmar --data MMAR --model MODEL",
    ),
    About(
        name="mmau",
        title="1,000 questions about speech, sound and music, multiple choice",
        data="folder of mmau-test-mini.json or mmau-test.json and its clips, or that file",
        subsets="-",
        metrics="accuracy for each task, difficulty and category",
        judge="none",
        published="JSON of questions with model_prediction or model_output",
        licence="Apache-2.0; the clips have terms of their own",
        source="github.com/Sakshi113/MMAU (Sakshi et al., 2024)",
        example="desta eval mmau --data MMAU --model MODEL",
    ),
    About(
        name="sakura",
        title="a question about what is heard, and one that reasons from there",
        data="folder of data/TRACK/metadata.json and data/TRACK/audio",
        subsets="Animal, Emotion, Gender, Language",
        metrics="accuracy in single and multiple hops, and multiple hops given single ones",
        judge=f"official: {_JUDGE}; without one, by a rule",
        published="JSON of answers, single or multi by its name or by --subset",
        licence="none stated",
        source="github.com/ckyang1124/SAKURA (Yang et al., 2025)",
        example="desta eval sakura --data SAKURA --model MODEL",
    ),
    About(
        name="speech_ifeval",
        title="instructions about form, beside a question about a clip",
        data="folder of eval_data, or a Hub id with `data.revision`; clips in `data.audio`",
        subsets="closed_ended, creative_writing, chain_of_thought; unconstrained if named",
        metrics="instruction following rate; forgetting rate against the system oracle",
        judge=f"for reasoning and, if wanted, for what is right: {_JUDGE}",
        published="JSON Lines of answers, of rules and of a judge",
        licence="none stated; its checkers are Apache-2.0",
        source="github.com/kehanlu/Speech-IFEval (Lu et al., 2025)",
        example=(
            "desta eval speech_ifeval --data Speech-IFEval --model MODEL --set data.audio=CLIPS"
        ),
    ),
    About(
        name="text",
        title="without a clip the model must still be its backbone, token for token",
        data="none; `data.prompts` of its recipe, which have a default",
        subsets="-",
        metrics="answers that are equal to the bare backbone's",
        judge="none",
        published="-",
        licence="-",
        source="this package",
        example="desta eval text --model MODEL",
    ),
    About(
        name="transcription",
        title="what is said, word by word",
        data="a clips.jsonl of `desta describe`; the root of its clips as `data.audio`",
        subsets="-",
        metrics="word error rate, also by rules of the script; character error rate",
        judge="none",
        published="JSON Lines, tables, or pairs of texts, of what was said and written",
        licence="that of the corpus",
        source="your own corpora",
        example="desta eval transcription --data clips.jsonl --model MODEL --set data.audio=CORPUS",
    ),
    About(
        name="voicebench",
        title="spoken questions to a voice assistant, in nine columns",
        data="folder of SUBSET/*.parquet, the Hub id, or `hub`",
        subsets=(
            "alpacaeval_full, commoneval, wildvoice, sd-qa, mmsu, openbookqa, bbh, ifeval, advbench"
        ),
        metrics="a score from 1 to 5 or from 0 to 100 for each column, and their mean",
        judge=f"for alpacaeval_full, commoneval, wildvoice and sd-qa: {_JUDGE}",
        published="JSON Lines of answers, or of a judge",
        licence="Apache-2.0; the corpora in it have terms of their own",
        source="github.com/MatthewCYM/VoiceBench (Chen et al., 2024)",
        example="desta eval voicebench --data hub --model MODEL --set 'data.subsets=[bbh, mmsu]'",
    ),
)
"""All of `desta eval`, by name."""


def find_about(name: str) -> About:
    """Return what is known of a benchmark.

    Raises:
        ConfigError: there is none of that name; the fix names the nearest, and all.
    """
    known = {about.name: about for about in ABOUT}
    if name not in known:
        near, all_of_them = suggest(name, list(known)), f"choose from {', '.join(known)}"
        fix = near if near == all_of_them else f"{near} else {all_of_them}"
        raise ConfigError(f'unknown benchmark "{name}"', fix=fix)
    return known[name]
