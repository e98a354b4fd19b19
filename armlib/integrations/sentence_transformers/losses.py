"""armlib's losses as modules of sentence-transformers' trainer, plain and with its gradient caching."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor, nn

from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, InfoNCE, Loss, TeacherScores, parse_loss, similarities

try:
    from sentence_transformers.base.losses.gradcache import CachedLossMixin
except ImportError:  # sentence-transformers 5.4 to 5.6

    class CachedLossMixin:  # type: ignore[no-redef]
        """Stands where that of sentence-transformers 5.7 and newer is."""

        def __init__(self, *given: object, **named: object) -> None:
            raise InputError("gradient caching needs sentence-transformers 5.7; expected AdaptiveMarginLoss with an older one")


CITATION = """
@misc{gienapp2024learning,
    title={Learning Effective Representations for Retrieval Using Self-Distillation with Adaptive Relevance Margins},
    author={Lukas Gienapp and Niklas Deckers and Martin Potthast and Harrisen Scells},
    year={2024},
    eprint={2407.21515},
    archivePrefix={arXiv},
    primaryClass={cs.IR}
}
"""
Features = dict[str, Any]


class AdaptiveMarginLoss(nn.Module):
    """A loss of `armlib.losses` over columns anchor, positive and negative (for some losses several) of a data set.

    Losses that learn from a teacher take its scores as labels: of the positive and each negative, (B, 1 + N), or, as
    ``MarginMSELoss`` does, how much higher that of the positive is, (B,) or (B, N).

    Args:
        model: the model that is trained.
        loss: by name, such as ``distributed``, ``adaptive(in_batch=True)``, ``infonce(20)`` or ``margin-mse``, or a loss itself.
        guide: for losses that filter, such as ``adaptive(in_batch=True, filter=True)``: a frozen model with the same vocabulary,
            whose cosines say which passages are false negatives, see `armlib.losses.false_negatives.false_negatives`. It reads the
            tokens of the model that is trained.
        gather_across_devices: with several processes, compare the triples of all of them, as one process with the joined batch
            would; otherwise each process compares its own.

    Raises:
        InputError: there is no such loss, it needs a teacher's scores of more than a query's own passages, a guide is given where
            none is needed, or the other way round, or the guide has another vocabulary.

    Warns:
        UserWarning: anchors are longer than the model's queries, see `column_arguments`; once.
    """

    together: int | None = None
    """Texts that the guide encodes together; None for all."""

    def __init__(
        self,
        model: SentenceTransformer,
        loss: str | Loss = "distributed",
        *,
        guide: SentenceTransformer | None = None,
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.gather = model, parse_loss(loss), gather_across_devices
        self.guide = None if guide is None else guide.eval()
        self.filters = self.loss.needs == {"in_batch"}
        if self.filters != (guide is not None):
            raise InputError(
                f"the loss {str(self.loss)!r} {'needs a' if self.filters else 'takes no'} guide, a model that it filters by"
            )
        if guide is not None and guide.tokenizer.get_vocab() != model.tokenizer.get_vocab():
            raise InputError("the guide has another vocabulary than the model, whose tokens it is given; expected the same one")
        if self.loss.needs - {"pointwise"} and not self.filters:
            raise InputError(
                f"the loss {str(self.loss)!r} needs a teacher's scores of other queries' passages or of pairs of passages, which a "
                "data set's labels do not hold; expected one that needs at most a score of each of a query's own passages"
            )
        self.query_length: int | None = getattr(model[0], "query_length", None)

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: tokens of the anchors, the positives, and each column of negatives, as the trainer gives them.
            labels: a teacher's scores, see the class.

        Raises:
            InputError: the columns or the labels are not what the loss is for.
        """
        columns = list(sentence_features)
        rows, guided = self._looked_at(columns)
        return self._value([self.model(column)["sentence_embedding"] for column in columns], labels, rows, guided)

    def _looked_at(self, columns: Sequence[Features]) -> tuple[Tensor | None, TeacherScores | None]:
        """Warn of long anchors; gives what the loss asks beside the embeddings.

        Returns:
            Numbers of the texts, (B, columns), of a loss to which it matters which of them are the same; and the guide's scores.
        """
        if len(columns) < 2:
            raise InputError(f"expected columns of anchors, positives and negatives, got {len(columns)}")
        mask = columns[0].get("attention_mask")
        if self.query_length and isinstance(mask, Tensor) and mask.shape[1] > self.query_length:
            longest = int(mask.sum(dim=1).max())
            if longest > self.query_length:
                warnings.warn(
                    f"anchors have up to {longest} tokens, but the model cuts queries at {self.query_length}; expected "
                    "SentenceTransformerTrainingArguments(..., **column_arguments(model))",
                    stacklevel=4,
                )
                self.query_length = None  # once
        masks = isinstance(self.loss, InfoNCE) and self.loss.mask
        rows = text_numbers(columns, self.gather) if masks or self.filters else None
        return rows, self._guided(columns) if self.filters else None

    @torch.no_grad()
    def _guided(self, columns: Sequence[Features]) -> TeacherScores:
        """The guide's cosines of every query and every passage."""
        assert self.guide is not None
        found = []
        for column in columns:
            count = len(column["input_ids"])
            size = self.together or count
            parts = [
                {name: value[start : start + size] if isinstance(value, Tensor) else value for name, value in column.items()}
                for start in range(0, count, size)
            ]
            vectors = torch.cat([self.guide(part)["sentence_embedding"] for part in parts])
            found.append(all_gather(vectors) if self.gather else vectors)
        lists = torch.stack(found[1:], dim=1)  # (B, n, D)
        scores = similarities(found[0], lists.flatten(0, 1)).unflatten(1, lists.shape[:2])  # (B, B, n)
        own = torch.arange(len(scores), device=scores.device)
        return TeacherScores(scores[own, own], scores)

    def _value(self, columns: Sequence[Tensor], labels: Tensor | None, rows: Tensor | None, guided: TeacherScores | None) -> Tensor:
        """The loss of embeddings, (B, D) for each column."""
        teacher = self._scores(labels, len(columns) - 1)
        if self.gather:
            columns = [all_gather_with_grad(column) for column in columns]
            teacher = None if teacher is None else all_gather(teacher)
        queries, positives, *negatives = columns
        others = torch.stack(negatives, dim=1) if negatives else positives[:, None][:, :0]
        scores = guided if teacher is None else TeacherScores(teacher)
        return self.loss.of_batch(EmbeddedBatch(queries, positives, others, rows, scores)).value

    def _scores(self, labels: Tensor | None, passages: int) -> Tensor | None:
        """A teacher's scores, (B, 1 + N), from scores or differences; None where the loss reads none."""
        if "pointwise" not in self.loss.needs:
            return None
        if labels is None:
            raise InputError(
                f"the loss {str(self.loss)!r} learns from a teacher's scores; expected a column label, labels, score or scores"
            )
        labels = labels.float()
        if labels.shape[1:] == (passages,):
            return labels
        differences = labels if labels.dim() > 1 else labels[:, None]
        if differences.shape[1:] != (passages - 1,):
            raise InputError(
                f"expected labels of {passages} scores, the positive's first, or of {passages - 1} differences from it, got "
                f"the shape {tuple(labels.shape)}"
            )
        # Losses look at differences alone: those of a positive that scores 0 are the labels.
        return torch.cat([torch.zeros_like(differences[:, :1]), -differences], dim=1)

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of the loss."""
        return {"loss": str(self.loss), "gather_across_devices": self.gather}

    @property
    def citation(self) -> str:
        """BibTeX of the paper, for the model card."""
        return CITATION


class CachedAdaptiveMarginLoss(CachedLossMixin, AdaptiveMarginLoss):
    """`AdaptiveMarginLoss` with gradient caching (Gao et al. 2021, arXiv:2101.06983): memory for one mini-batch, not the batch.

    Args:
        model, loss, guide, gather_across_devices: as for `AdaptiveMarginLoss`.
        mini_batch_size: texts of a column that are encoded together.
        mini_batch_num_tokens: where given, so many tokens are encoded together instead.

    Raises:
        InputError: as for `AdaptiveMarginLoss`; or sentence-transformers is older than 5.7.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        loss: str | Loss = "distributed",
        *,
        guide: SentenceTransformer | None = None,
        gather_across_devices: bool = False,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
    ) -> None:
        super().__init__(model, loss, guide=guide, gather_across_devices=gather_across_devices)
        self.mini_batch_size, self.mini_batch_num_tokens = mini_batch_size, mini_batch_num_tokens
        self.together = mini_batch_size
        self.looked_at: tuple[Tensor | None, TeacherScores | None] = (None, None)  # of the batch that is being embedded

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None = None) -> Tensor:
        """As for `AdaptiveMarginLoss`."""
        columns = list(sentence_features)
        self.looked_at = self._looked_at(columns)
        return CachedLossMixin.forward_cached(self, columns, labels)

    def calculate_loss(self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False) -> Tensor:
        """What the mixin asks for: the loss of mini-batches of embeddings, and their gradients."""
        value = self._value([torch.cat(column) for column in reps], labels, *self.looked_at)
        if not with_backward:
            return value
        value.backward()
        for part in (part for column in reps for part in column):
            if part.grad is None:  # the loss does not look at them, as that of the targets' variance does not at queries
                part.grad = torch.zeros_like(part)
        return value.detach()

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of the loss."""
        sizes = {"mini_batch_size": self.mini_batch_size, "mini_batch_num_tokens": self.mini_batch_num_tokens}
        return super().get_config_dict() | sizes


def text_numbers(columns: Sequence[Features], gather: bool = False) -> Tensor:
    """Numbers by which texts of equal tokens, cut as they are, are known: (B, columns); of all processes, where they are gathered.

    Args:
        columns: tokens of B texts each.
        gather: join the batches of all processes.

    Raises:
        InputError: the texts lie one after the other, without padding.
    """
    if not all("attention_mask" in column for column in columns):
        raise InputError("a mask and a filter need texts with padding; expected a model without flattened inputs (unpad_inputs)")
    ids = [column["input_ids"].masked_fill(column["attention_mask"] == 0, -1) for column in columns]  # (B, L) each
    width = torch.tensor(max(part.shape[1] for part in ids), device=ids[0].device)
    if gather and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(width, op=torch.distributed.ReduceOp.MAX)
    padded = [nn.functional.pad(part, (0, int(width) - part.shape[1]), value=-1) for part in ids]
    if gather:
        padded = [all_gather(part) for part in padded]
    texts = torch.cat(padded)
    return texts.unique(dim=0, return_inverse=True)[1].reshape(len(columns), -1).T
