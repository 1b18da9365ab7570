"""The benchmark `attributes`: can the model hear what the corpus knows of a clip?

For every held-out clip and attribute the model gets one fixed question, whose wording stands in
no prompt pool, and the clip with its transcription withheld. An answer is right if it names the
clip's value and no other value of the closed set. With `data.compare` it also gets two clips and
is asked whether the number of the second is higher.

Its `scores.json` also holds

    scores: [{system, task, group, num_examples, num_skipped,
              accuracy: {value, standard_error}, balanced_accuracy: {value, standard_error},
              classes: [...],                rows of the confusion matrix
              confusion: [[...]],            columns: the classes, then "none"
              named: {item id: class or null}}]

A cell none of whose clips could be heard ends at `num_skipped`. The row of "chance" has nothing but
a balanced accuracy: 1 / number of classes that occur as targets.
"""

from desta.evaluation.base import MODEL, About, Benchmark
from desta.evaluation.baselines import NO_AUDIO
from desta.evaluation.benchmarks.attributes.questions import AttributesData, load_examples
from desta.evaluation.benchmarks.attributes.score import (
    aggregate,
    confusions,
    detail_rows,
    find_fault,
    score,
)

BENCHMARK = Benchmark(
    name="attributes",
    about=About(
        title="what a corpus knows of its held-out clips, asked with closed sets",
        data="none; `data.clips` (files of `desta describe`) and `data.attributes` of its recipe",
        metrics="accuracy, and balanced accuracy for each attribute and group of clips",
        licence="that of the corpora",
        source="your own corpora",
        example=(
            "desta eval attributes --model MODEL "
            "--set 'data.clips=[{path: clips.jsonl, root: CORPUS}]' "
            "--set 'data.attributes={Gender: []}'"
        ),
    ),
    data=AttributesData,
    load=load_examples,
    version=lambda items: "2",
    score=score,
    aggregate=aggregate,
    max_new_tokens=32,
    systems=(MODEL, NO_AUDIO),
    transcribe=False,  # the words of a clip would give away its language
    closed_sets=True,
    dimensions=("task", "group"),
    find_fault=find_fault,
    details=confusions,
    detail_rows=detail_rows,
)
