"""Prove that the models of the zoo were converted correctly from other runtimes.

    python scripts/proof_of_conversion.py CORPUS [--llama-python PYTHON] [--json FILE]

CORPUS is the root of the unpacked Asterisk packages (`make data`). PYTHON is an interpreter with
`llama-cpp-python`, for example in a separate virtual environment; without it the weights are
compared with those of transformers' own GGUF loader. The package index must be reachable. Prints a
Markdown table; exits with 1 if a claim does not hold.

Whisper: word error rate over the English Asterisk prompts of at least three words, language set
to English, windows of 30 s, no voice activity detection, both texts through Whisper's English
normaliser (without its table of British spellings, which is in no package).

SmolLM2: greedy text on ten prompts. With quantized weights llama.cpp rounds activations to eight
bits, so it runs twice: on the file as it is, and on the same file converted by itself to float32
weights. The second comparison is the proof.
"""

import argparse
import gzip
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from desta import audio
from desta.environment import environment
from desta.inference.transcribe import Transcriber
from desta.model.backbone.chat import encode_chat
from desta.model.hub import zoo
from desta.records import Message

WHISPER = "openai/whisper-base"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_WER = 0.08
MAX_LOGIT_DIFFERENCE = 1e-3
NEW_TOKENS = 48
PROMPTS = (
    "What is the capital of France?",
    "Name three colors.",
    "Write one sentence about the sea.",
    "How many legs does a spider have?",
    "Translate 'good morning' into French.",
    "Why is the sky blue? Answer in one sentence.",
    "Give me a rhyme with cat.",
    "What does a dog say?",
    "List the days of the week.",
    "Who wrote Hamlet?",
)

# Runs in the other interpreter. Arguments: GGUF file, JSON file of prompt ids, number of tokens.
LLAMA_CPP = """
import ctypes, json, sys
import llama_cpp
file, prompts, length = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
how = llama_cpp.llama_model_quantize_default_params()
how.ftype, how.allow_requantize = llama_cpp.LLAMA_FTYPE_ALL_F32, True
assert not llama_cpp.llama_model_quantize(
    file.encode(), (file + ".float32").encode(), ctypes.byref(how)
)
answers = []
for path in (file, file + ".float32"):
    # type_k, type_v: keys and values in float32 as well
    model = llama_cpp.Llama(path, n_ctx=1024, type_k=0, type_v=0, logits_all=True, verbose=False)
    for ids in prompts:
        model.reset()
        model.eval(ids)
        logits = model.scores[len(ids) - 1].tolist()
        done = model.create_completion(
            ids, max_tokens=length, temperature=0.0, repeat_penalty=1.0
        )
        answers.append({"text": done["choices"][0]["text"], "logits": logits})
json.dump(answers, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    claim: str
    measured: str
    wanted: str
    holds: bool | None
    """None if nothing is claimed."""


def main() -> int:
    """Measure and print the table; return 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--llama-python", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()

    rows = [measure_whisper(arguments.corpus), *measure_smollm2(arguments.llama_python)]
    print("| claim | measured | wanted | holds |")
    print("|---|---|---|---|")
    for row in rows:
        holds = {True: "yes", False: "no", None: "-"}[row.holds]
        print(f"| {row.claim} | {row.measured} | {row.wanted} | {holds} |")
    if arguments.json:
        facts = environment() | {"command": shlex.join(["python", *sys.argv])}
        text = json.dumps({"facts": facts, "rows": [asdict(row) for row in rows]}, indent=1)
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    return int(any(row.holds is False for row in rows))


def measure_whisper(corpus: Path) -> Row:
    """Return the word error rate on the English prompts."""
    clips = list(read_prompts(corpus))
    transcriber = Transcriber.load(zoo.resolve(WHISPER))
    started = time.perf_counter()
    texts = []
    for path, _ in clips:
        samples = audio.load_audio(path)
        windows = [samples[start:end] for start, end in audio.split_windows(samples)]
        texts.append(" ".join(transcriber.transcribe(windows, language="English")))
    seconds = time.perf_counter() - started
    normalize = EnglishTextNormalizer({})
    words = jiwer.process_words(
        [normalize(text) for _, text in clips], [normalize(text) for text in texts]
    )
    return Row(
        claim=f"{WHISPER}: word error rate on {len(clips)} English Asterisk prompts",
        measured=f"{words.wer:.2%} ({words.substitutions} substituted, {words.deletions} deleted, "
        f"{words.insertions} inserted; {seconds:.0f} s)",
        wanted=f"< {MAX_WER:.0%}",
        holds=words.wer < MAX_WER,
    )


def read_prompts(corpus: Path) -> Iterator[tuple[Path, str]]:
    """Yield the English prompts of at least three words that were recorded, each with its text.

    Unlike in `desta.sources`, texts are used unchanged except for `[...]`, which marks a sound.
    """
    folder = corpus / "usr/share/asterisk/sounds/en_US_f_Allison"
    texts = corpus / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    with gzip.open(texts, "rt", encoding="utf-8") as file:
        for line in file:
            name, _, text = line.partition(":")
            path = folder / f"{name.strip()}.wav"
            if "[" not in text and len(text.split()) >= 3 and path.is_file():
                yield path, text.strip()


def measure_smollm2(llama_python: Path | None) -> Iterator[Row]:
    """Compare the converted model with another reader of the same GGUF file."""
    directory = zoo.resolve(SMOLLM2)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    prompts = [encode_chat(tokenizer, [Message(role="user", content=p)])[0] for p in PROMPTS]
    with tempfile.TemporaryDirectory() as folder:
        originals = Path(folder, "originals")
        zoo.download(zoo.ZOO[SMOLLM2], originals)
        [file] = originals.iterdir()
        if llama_python is None:
            yield compare_with_transformers(directory, file, prompts)
            return
        exchange = Path(folder, "prompts.json")
        exchange.write_text(json.dumps(prompts), encoding="utf-8")
        command = [str(llama_python), "-c", LLAMA_CPP, str(file), str(exchange), str(NEW_TOKENS)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        answers = json.loads(exchange.read_text(encoding="utf-8"))
    as_is, float32 = answers[: len(PROMPTS)], answers[len(PROMPTS) :]

    texts, logits = answer(directory, prompts, torch.float32)
    rounded, _ = answer(directory, prompts, torch.bfloat16)
    same = count_same(texts, float32)
    expected = torch.tensor([reference["logits"] for reference in float32])
    difference = (logits - expected).abs().max().item()
    of = f"of {len(PROMPTS)}"
    against = "greedy text as llama.cpp"
    yield Row(
        claim=f"{SMOLLM2} in float32: {against}, float32",
        measured=f"{same} {of}, logits differ by at most {difference:.1e}",
        wanted=f"{len(PROMPTS)} {of}, {MAX_LOGIT_DIFFERENCE:.0e}",
        holds=same == len(PROMPTS) and difference < MAX_LOGIT_DIFFERENCE,
    )
    for claim, ours, theirs in (
        (f"in float32: {against}, 8-bit activations", texts, as_is),
        (f"rounded to bfloat16: {against}, float32", rounded, float32),
    ):
        measured = f"{count_same(ours, theirs)} {of}"
        yield Row(claim=f"{SMOLLM2} {claim}", measured=measured, wanted="-", holds=None)


def compare_with_transformers(directory: str, file: Path, prompts: list[list[int]]) -> Row:
    """Compare logits with those of transformers' own GGUF loader."""
    theirs = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    _, logits = answer(directory, prompts, torch.float32)
    with torch.no_grad():
        expected = [theirs(torch.tensor([ids])).logits[0, -1] for ids in prompts]
    difference = (logits - torch.stack(expected)).abs().max().item()
    return Row(
        claim=f"{SMOLLM2}: logits as transformers' GGUF loader",
        measured=f"differ by at most {difference:.1e}",
        wanted=f"{MAX_LOGIT_DIFFERENCE:.0e}",
        holds=difference < MAX_LOGIT_DIFFERENCE,
    )


def answer(
    directory: str, prompts: Sequence[list[int]], dtype: torch.dtype
) -> tuple[list[str], torch.Tensor]:
    """Return the greedy text after each prompt, and the logits (prompts, vocabulary) before it."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)
    texts, logits = [], []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            logits.append(model(ids).logits[0, -1].float())
        done = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
        )
        texts.append(tokenizer.decode(done[0, len(prompt) :], skip_special_tokens=True))
    return texts, torch.stack(logits)


def count_same(texts: Sequence[str], references: Sequence[dict[str, str]]) -> int:
    """Return the number of equal texts."""
    return sum(t == r["text"] for t, r in zip(texts, references, strict=True))


if __name__ == "__main__":
    sys.exit(main())
