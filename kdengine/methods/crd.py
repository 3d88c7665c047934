"""Contrastive distillation: student and teacher agree on an image, and on no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdengine.losses import info_nce, noise_contrastive
from kdengine.losses.directions import unit
from kdengine.methods.adapters import Embedding, draw, vector
from kdengine.methods.contract import Method, deepest_stage, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted

SIZE = 128
"""Dimensions of an embedding."""
MOMENTUM = 0.5
"""Share of the old embedding that a memory keeps when its image is seen again."""


class Memory(nn.Module):
    """The last embeddings of every training image, of student and teacher, and the two heads that make them.

    The banks and the normalising constants are buffers: saved for a resume, no part of the student.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    constants: Tensor

    def __init__(self, student: int, teacher: int, facts: Facts, generator: torch.Generator) -> None:
        super().__init__()
        self.student, self.teacher = Embedding(student, SIZE), Embedding(teacher, SIZE)
        draw(self, generator)
        for name in ("student_bank", "teacher_bank"):
            bank = torch.randn(facts.count, SIZE, generator=generator)
            self.register_buffer(name, unit(bank))
        # Z of each direction: set from the first batch and then kept, as in the paper. 0 is not set yet.
        self.register_buffer("constants", torch.zeros(2))

    def scores(self, anchors: Tensor, bank: Tensor, index: Tensor, place: int, temperature: float) -> Tensor:
        """Model probabilities [B, 1 + K] of anchors [B, D] with the bank's rows `index` [B, 1 + K].

        All similarities at once, [B, n], then picked: gathering the rows would need [B, K, D], half a gigabyte at
        K = 16384.
        """
        # A copy: `remember` changes the bank before the backward has read it.
        raw = torch.exp((anchors @ bank.clone().T).gather(1, index) / temperature)
        first = self.constants[place] == 0
        constant = torch.where(first, raw.detach().mean() * len(bank), self.constants[place])
        self.constants[place] = constant
        return raw / constant

    @torch.no_grad()
    def remember(self, index: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Move the rows `index` of both banks towards new embeddings."""
        for bank, new in ((self.student_bank, student), (self.teacher_bank, teacher)):
            bank[index] = unit(MOMENTUM * bank[index] + (1 - MOMENTUM) * new.to(bank))


@dataclass(frozen=True)
class CRD(Method):
    """CE + beta * NCE both ways against a memory of all training images.

    Noise is drawn from all other images, without a look at their labels, so unlabelled images take part. Known
    disagreement: the authors' code also offers noise from other classes alone, which reads labels.
    """

    name = "crd"
    title = "Contrastive distillation"
    summary = "Learns to tell the teacher's embedding of the same image from those of thousands of others."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) + \beta\,(\mathcal{L}_{s \to t} + \mathcal{L}_{t \to s}), \quad"
        r" h = \tfrac{e^{g_s^\top g_t/\tau}}{e^{g_s^\top g_t/\tau} + K/n}"
    )
    source = "Tian et al. 2020, arXiv 1910.10699"
    matches = "relations"
    tasks = ("classification",)

    beta: float = hyperparameter(
        0.8, low=0.0, high=10.0, step=0.1, symbol=r"\beta", help="Weight of the contrast beside cross-entropy."
    )
    temperature: float = hyperparameter(
        0.07, low=0.02, high=1.0, step=0.01, symbol=r"\tau", help="Sharpens the similarity of embeddings."
    )
    negatives: int = hyperparameter(
        16384, low=1, high=16384, step=1, symbol="K",
        help="Noise images for each image; at most all others of the data set.",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> Memory:
        """Two heads and two memory banks of one embedding an image."""
        ours, theirs = (vector(*signals.features.values()) for signals in (student, teacher))
        return Memory(ours.shape[1], theirs.shape[1], facts, generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: Memory) -> dict[str, Tensor]:
        """See Method.terms. The noise comes from the step's own seed, so a resume draws the same."""
        ours = adapter.student(vector(*student.features.values()))
        theirs = adapter.teacher(vector(*teacher.features.values()))
        count = len(adapter.student_bank)
        contrast = ours.sum() * 0
        if count > 1:
            size = min(self.negatives, count - 1)
            noise = torch.randint(count - 1, (len(ours), size), device=ours.device)
            noise = noise + (noise >= batch.index[:, None])  # any image but the own
            index = torch.cat([batch.index[:, None], noise], dim=1)
            towards_teacher = adapter.scores(ours, adapter.teacher_bank, index, 0, self.temperature)
            towards_student = adapter.scores(theirs, adapter.student_bank, index, 1, self.temperature)
            contrast = noise_contrastive(towards_teacher, count=count) + noise_contrastive(towards_student, count=count)
        adapter.remember(batch.index, ours, theirs)
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "contrast": self.beta * contrast,
        }


@dataclass(frozen=True)
class CRDBatch(Method):
    """CE + beta * InfoNCE both ways between the embeddings of the batch; no memory."""

    name = "crd_batch"
    title = "Contrast in the batch"
    summary = "Learns to tell the teacher's embedding of the same image from those of the rest of the batch."
    formula = (
        r"\mathcal{L} = \mathrm{CE}(y, p_s) - \tfrac{\beta}{2B} \sum_i \Big[ \ln"
        r" \tfrac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}} + \ln \tfrac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ji}/\tau}} \Big]"
    )
    source = "the laboratory form of Tian et al. 2020, arXiv 1910.10699"
    matches = "relations"

    beta: float = hyperparameter(
        1.0, low=0.0, high=10.0, step=0.1, symbol=r"\beta", help="Weight of the contrast beside cross-entropy."
    )
    temperature: float = hyperparameter(
        0.07, low=0.01, high=1.0, step=0.01, symbol=r"\tau", help="Sharpens the similarity of embeddings."
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The last stage of each."""
        return deepest_stage(student, teacher)

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> nn.ModuleDict:
        """One head each."""
        ours, theirs = (vector(*signals.features.values()).shape[1] for signals in (student, teacher))
        return draw(nn.ModuleDict({"student": Embedding(ours, SIZE), "teacher": Embedding(theirs, SIZE)}), generator)

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: nn.ModuleDict) -> dict[str, Tensor]:
        """See Method.terms."""
        ours = adapter["student"](vector(*student.features.values()))
        theirs = adapter["teacher"](vector(*teacher.features.values()))
        return {
            "cross_entropy": batch.cross_entropy(student.logits),
            "contrast": self.beta * info_nce(ours, theirs, temperature=self.temperature),
        }
