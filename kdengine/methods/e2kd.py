"""Explanation-enhanced distillation: the teacher's answer, and where in the picture it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdengine.errors import KDError
from kdengine.losses import explanation_cosine, kl_divergence
from kdengine.methods.adapters import meet
from kdengine.methods.contract import Method, hyperparameter
from kdengine.signals import Batch, Facts, Signals, Stage, Wanted, pair_stages


@dataclass(frozen=True)
class E2KD(Method):
    """T^2 KL(teacher || student) + lambda (1 - cosine of the two explanations); no label is read.

    An explanation is Grad-CAM, cut at 0, of the class that the teacher names, at one stage of each network. The
    student's is differentiated again: a step costs a second backward through what comes after the stage. Where a map is
    all zero, nothing pulls at it.

    lambda: on digits with 5 labels a class, a ResNet-20 teaching a ResNet-8, the weights 0.2, 1, 5 and 20 got 349, 347,
    348 and 346 of 358 validation images right (seeds 3 and 4, 30 and 10 epochs), and 0 got 347: none stands out. In 30
    epochs at 5 the explanations came to a cosine of 0.99, at 0.2 of 0.92. The authors' configurations have 0.2 to 10.

    Known disagreement: the authors' code enlarges both maps to the image before it compares them; here they are
    compared as they are, and where one is larger it is pooled to the size of the other.
    """

    name = "e2kd"
    title = "Explanations"
    summary = "Learns the teacher's logits, and which places of the picture speak for the class that it names."
    formula = (
        r"\mathcal{L} = T^2\,\mathrm{KL}\big(\sigma(z_t/T)\,\Vert\,\sigma(z_s/T)\big)"
        r" + \lambda\,\big(1 - \cos(E^s_\ell, E^t_\ell)\big), \quad "
        r"E_\ell = \mathrm{ReLU}\big(\textstyle\sum_c \overline{\nabla_{\!f_c} z_{\hat y}}\, f_c\big)"
    )
    source = "Parchami-Araghi et al. 2024, arXiv 2402.03119"
    matches = "gradients"
    tasks = ("classification",)

    temperature: float = hyperparameter(
        4.0, low=0.1, high=100.0, step=0.5, symbol="T", help="Softens both distributions; 1 leaves them as they are."
    )
    explanation_weight: float = hyperparameter(
        5.0, low=0.0, high=1000.0, step=1.0, symbol=r"\lambda", help="Weight of the explanations beside the logits."
    )
    stage: int = hyperparameter(
        1, low=1, high=5, step=1, symbol=r"\ell",
        help="Which stage is explained, counted from the last. Take 2 where the last map is below 4x4.",
    )

    def wants(self, student: Sequence[Stage], teacher: Sequence[Stage]) -> tuple[Wanted, Wanted]:
        """The explanation of one stage of each, where its weight is not 0.

        Raises KDError where one of the networks has no such stage.
        """
        if not self.explanation_weight:
            return Wanted(), Wanted()
        pairs = pair_stages(student, teacher)
        if self.stage > len(pairs):
            raise KDError(f"e2kd's stage is {self.stage}, counted from the last; student and teacher have {len(pairs)} "
                          f"stages in common. Allowed is a whole number from 1 to {len(pairs)}.")
        ours, theirs = pairs[-self.stage]
        return Wanted(explanations=(ours.name,)), Wanted(explanations=(theirs.name,))

    def adapter(self, student: Signals, teacher: Signals, facts: Facts, generator: torch.Generator) -> None:
        """Nothing is trained besides. Raises KDError where a map has one place, which is always the same as another."""
        for who, signals in (("student", student), ("teacher", teacher)):
            for name, each in signals.explanations.items():
                if each[0].numel() == 1:
                    raise KDError(f"The {who}'s {name} has a map of 1x1 for these images: it cannot say where. Take "
                                  "larger images, or explain an earlier stage with a larger number for `stage`.")

    def terms(self, student: Signals, teacher: Signals, batch: Batch, adapter: None) -> dict[str, Tensor]:
        """See Method.terms."""
        terms = {"kl": kl_divergence(student.logits, teacher.logits, batch.mask, temperature=self.temperature)}
        if self.explanation_weight:
            (ours,), (theirs,) = student.explanations.values(), teacher.explanations.values()
            distance = explanation_cosine(*meet(ours[:, None], theirs[:, None]), batch.mask)
            terms["explanation"] = self.explanation_weight * distance
        return terms
