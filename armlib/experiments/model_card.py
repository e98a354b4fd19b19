"""The card of a trained encoder: what it was made from, how well it ranks, what it cost, how it is loaded and cited."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from armlib import storage
from armlib.encoder.layout import Layout, read_layout
from armlib.encoder.onnx_export import MODEL
from armlib.errors import printable
from armlib.evaluation.equivalence import compare_pairs
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.provenance import machine_line
from armlib.experiments.public_names import is_on_the_hub, known_of, public_encoder, public_name
from armlib.experiments.result import Result
from armlib.losses import Loss, MarginLoss

CARD = "README.md"
FOLDER = "this folder"
AFTER = "this encoder"
TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction", "dense", "armlib")
MARGIN, ALPHA = 0.05, 0.05  # of the tests of equivalence, as in paper section 5.4
STAGES = ("preparing", "training", "validating", "evaluating", "total")
Baselines = Mapping[str, Mapping[tuple[str, str], Evaluation]]
"""By the name of a system, such as BM25, its measures by collection and mode."""
CITATION = """\
@article{gienapp2024learning,
  title   = {Learning Effective Representations for Retrieval Using Self-Distillation with Adaptive Relevance Margins},
  author  = {Gienapp, Lukas and Deckers, Niklas and Potthast, Martin and Scells, Harrisen},
  year    = {2024},
  journal = {arXiv preprint arXiv:2407.21515},
  doi     = {10.48550/arXiv.2407.21515},
  url     = {https://arxiv.org/abs/2407.21515}
}
"""


def write_card(result: Result, folder: Path) -> None:
    """Write the card of a result's encoder into the folder of the encoder, and seal it again.

    Args:
        result: as `model_card` takes it.
        folder: of the encoder; a card that is there is replaced.
    """
    (folder / CARD).write_text(model_card(result), encoding="utf8")
    storage.seal(folder)


def model_card(
    result: Result, *, place: str = FOLDER, licence: str = "", onnx: bool = False, baselines: Baselines | None = None
) -> str:
    """The card of a result's encoder: Markdown below metadata in YAML, as the Hugging Face hub and sentence-transformers read it.

    Local collections and encoders are named by the end of their paths: a card is for others.

    Args:
        result: a finished experiment.
        place: where the encoder is loaded from: a folder or a name on the hub.
        licence: of the encoder, as the hub writes it (``apache-2.0``); without one the card names none.
        onnx: whether the encoder is there as ONNX, too.
        baselines: systems to compare with, each by paired TOST on all measures, with Bonferroni correction.

    Raises:
        InputError: a baseline was measured on other queries, or the result is damaged.
    """
    asked, layout = result.experiment, read_layout(str(result.folder / "encoder"))
    how = "fine-tuned on" if asked.steps else "as it is, for"
    parts = [
        f"# {_inline(public_encoder(asked.encoder))}, {how} {_inline(public_name(asked.collection))}",
        _summary(result, layout),
        _loading(place, layout),
        *([_loading_onnx(place, layout)] if onnx else []),
        _training(result, layout),
        _measures(result, baselines or {}),
        _cost(result),
        _citing(),
    ]
    return f"---\n{_metadata(result, licence).to_yaml()}\n---\n" + "\n\n".join(parts) + "\n"


def _metadata(result: Result, licence: str) -> ModelCardData:
    asked = result.experiment
    hub = known_of(asked.collection).hub
    base = asked.encoder if is_on_the_hub(asked.encoder) else None
    scores = [
        EvalResult(
            task_type="information-retrieval" if row["mode"] == FULL_RANKING else "reranking",
            task_name=str(row["mode"]),
            dataset_type=public_name(row["collection"]).replace("/", "_").replace(" ", "_"),
            dataset_name=public_name(row["collection"]),
            metric_type=row["measure"].lower(),
            metric_name=row["measure"],
            metric_value=float(row["value"]),
        )
        for row in result.measures.to_dict("records")
    ]
    return ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=list(TAGS),
        base_model=base,
        datasets=[hub] if hub else None,
        license=licence or None,
        model_name=f"armlib-{result.key}" if scores else None,
        eval_results=scores or None,
    )


def _summary(result: Result, layout: Layout) -> str:
    asked = result.experiment
    learned = f"It was trained by armlib with the loss `{_loss(asked)}`." if asked.steps else ""
    read = f" Beside every text it reads {asked.context} passages of its collection." if layout.contextual else ""
    return (
        f"A bi-encoder for retrieval: it maps queries and passages to vectors of {_dimensions(result, layout)} dimensions and "
        f"length 1, which are compared by their cosine.{read} {learned}"
    ).strip()


def _loading(place: str, layout: Layout) -> str:
    trust = ", trust_remote_code=True" if layout.contextual else ""
    named = json.dumps(place, ensure_ascii=False)
    armlib = f"""
```python
from armlib import BiEncoder

encoder = BiEncoder.load({named})
```"""
    context = (
        "\n\nsentence-transformers reads the context by the file `modeling_armlib_contextual.py` of the folder, for which it needs "
        "`trust_remote_code=True`. armlib loads the folder without running that file, and can bind the encoder to the context of "
        "another collection."
    )
    return f"""## Loading

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({named}{trust})
queries = model.encode_query(["a question"])
passages = model.encode_document(["a passage", "another passage"])
scores = model.similarity(queries, passages)
```

`encode_query` cuts texts at {layout.query_length} tokens, `encode_document` and `encode` at {layout.passage_length}. With armlib:
{armlib}{context if layout.contextual else ""}"""


def _loading_onnx(place: str, layout: Layout) -> str:
    named, length = json.dumps(place, ensure_ascii=False), layout.passage_length
    on_hub = place != FOLDER and not Path(place).is_dir()
    model = f'hf_hub_download({named}, "{MODEL}")' if on_hub else json.dumps(f"{place}/{MODEL}", ensure_ascii=False)
    download = "from huggingface_hub import hf_hub_download\n" if on_hub else ""
    prompted = " A prompt must be put in front of texts by hand." if any(layout.prompts) else ""
    return f"""With ONNX Runtime, which takes token ids of any batch and length:

```python
{download}from onnxruntime import InferenceSession
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({named})
session = InferenceSession({model})
texts = tokenizer(["a passage"], padding=True, truncation=True, max_length={length}, return_tensors="np")
inputs = {{name: texts[name] for name in ("input_ids", "attention_mask")}}
(vectors,) = session.run(["sentence_embedding"], inputs)
```

Queries are cut at {layout.query_length} tokens.{prompted}"""


def _training(result: Result, layout: Layout) -> str:
    asked, about = result.experiment, result.about
    known, loss = known_of(asked.collection), asked.make_loss()
    rows = [
        ("collection", f"`{_inline(public_name(asked.collection))}`"),
        ("licence of the data", known.licence or "not known to armlib"),
        ("base model", f"`{_inline(public_encoder(asked.encoder))}`"),
        ("pooling", str(layout.pooling)),
        ("dimensions", str(_dimensions(result, layout))),
        ("query length, passage length", f"{layout.query_length}, {layout.passage_length} tokens"),
        ("prompts", _prompts(layout)),
    ]
    if asked.steps:
        seen = f"{about.get('triples', 0):,} seen of {about.get('available_triples', 0):,}"
        rows += [
            ("loss", f"`{_loss(asked)}`: {_words(loss)}"),
            ("teacher", f"`{_inline(public_name(asked.teacher))}`" if asked.teacher else "none"),
            (str(about.get("examples", "triples")), seen),
            ("batches", f"{asked.batch_size}, {_inline(public_name(asked.sampler))}"),
            ("steps", _steps(result)),
            ("learning rate", _rate(asked)),
            ("optimiser", f"{about.get('optimizer', asked.optimizer)}, weight decay {asked.weight_decay:g}"),
            ("seed", str(asked.seed)),
        ]
    return f"## Training\n\n{_table(('', ''), rows)}"


def _loss(asked: Experiment) -> str:
    return _inline(str(asked.make_loss()))


def _words(loss: Loss) -> str:
    """A loss as its own documentation says it in its first line."""
    first = _first_line(loss)
    if isinstance(loss, MarginLoss):
        target = _first_line(loss.target)
        batch = " In batch, each query is compared with the negatives of all." if loss.in_batch else ""
        return _cell(f"{first} The error is {loss.error}. The target: {target[:1].lower()}{target[1:]}{batch}")
    return _cell(first)


def _first_line(of: object) -> str:
    return (inspect.getdoc(type(of)) or type(of).__name__).splitlines()[0]


def _steps(result: Result) -> str:
    about = result.about
    text = f"{about.get('steps', result.experiment.steps):,}; kept are the weights of step {about.get('kept_step', 0):,}"
    if result.experiment.selection == "best":
        text += f", the best by nDCG@10 on `{_inline(public_name(about['validated_on']))}`"
    return text + (", which is a test set of this card" if result.chosen_on_test_set else "")


def _rate(asked: Experiment) -> str:
    warm = f", after {asked.warmup_steps} steps of warm-up" if asked.warmup_steps else ""
    fall = "falls linearly to 0" if asked.schedule == "linear" else f"times {asked.decay:g} after every step"
    return f"{asked.learning_rate:g}{warm}, {fall}"


def _prompts(layout: Layout) -> str:
    given = {"queries": layout.prompts.query, "passages": layout.prompts.passage}
    shown = [f"`{_inline(json.dumps(text, ensure_ascii=False))}` in front of {of}" for of, text in given.items() if text]
    return ", ".join(shown) or "none"


def _measures(result: Result, baselines: Baselines) -> str:
    text = "## Measures"
    groups = result.measures.groupby(["collection", "mode"], sort=False)
    if not len(groups):
        return f"{text}\n\nThe encoder was not measured."
    for (collection, mode), _ in groups:
        evaluation = result.per_query(collection, mode)
        others = {name: measured[collection, mode] for name, measured in baselines.items() if (collection, mode) in measured}
        systems = {**others, AFTER: evaluation}
        names = list(evaluation.mean)
        rows = [[name, *(f"{each.mean[measure]:.4f}" for measure in names)] for name, each in systems.items()]
        text += f"\n\n### {_inline(public_name(collection))}, {mode}, {len(evaluation.per_query):,} queries"
        text += f"\n\n{_table(('', *names), rows)}"
        caution = known_of(collection).caution
        text += f"\n\n{caution}." if caution else ""
        text += f"\n\n{_tested(systems)}" if others else ""
    if result.chosen_on_test_set:
        text += f"\n\nThe step was chosen on `{_inline(public_name(result.about['validated_on']))}`, on which it is measured, too."
    if not baselines:
        text += "\n\nNothing was measured beside it to compare it with, such as BM25 or the encoder before training."
    return text


def _tested(systems: Mapping[str, Evaluation]) -> str:
    """Tests of equivalence of the encoder with every other system."""
    queries = len(systems[AFTER].per_query)
    if queries < 2:
        return "One query is too few for a test."
    tests = compare_pairs(systems, [(AFTER, name) for name in systems if name != AFTER], MARGIN, ALPHA)
    rows = [
        (
            f"{test.measure}, {_cell(test.baseline)}",
            f"{test.difference:+.4f}",
            f"{test.low:+.4f} to {test.high:+.4f}",
            f"{test['corrected p']:.4f}",
            "yes" if test.equivalent else "no",
        )
        for _, test in tests.iterrows()
    ]
    head = ("against", "difference", f"{1 - 2 * ALPHA:.0%} interval", "corrected p", "equivalent")
    return f"Paired TOST, margin {MARGIN}, Bonferroni correction over the tests of the table:\n\n{_table(head, rows)}"


def _cost(result: Result) -> str:
    about = result.about
    seconds = [(name, f"{about['seconds'][name]:,.1f}") for name in STAGES if name in about["seconds"]]
    processes = about.get("processes", 1)
    device = f"{about.get('device', 'unknown device')}, precision {about.get('precision', 'unknown')}"
    device += f", {processes} processes" if processes > 1 else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"## Cost\n\n{_table(('', 'seconds'), seconds)}\n\nOn {_cell(machine_line(about))} ({device}), {about['time']}. Made with "
        f"{_cell(versions)}."
    )


def _citing() -> str:
    return f"## Citation\n\n```bibtex\n{CITATION}```"


def _dimensions(result: Result, layout: Layout) -> int:
    pooled = storage.read_json(result.folder / "encoder" / "1_Pooling" / "config.json", dict)
    width = pooled.get("embedding_dimension") or pooled["word_embedding_dimension"]
    return min(width if layout.linear is None else layout.linear.out_features, layout.truncate_dim or 1 << 62)


def _inline(text: str) -> str:
    """Text that stays in its place in Markdown: on its line, in its cell, in its code."""
    return printable(text).replace("`", "'").replace("|", "/")


def _cell(text: str) -> str:
    return printable(text).replace("|", r"\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
