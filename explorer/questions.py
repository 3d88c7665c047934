"""What the demonstration can ask: its students by question, and who of them learns from what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdengine.colors import INDEPENDENT

ALONE, TAUGHT = INDEPENDENT, "Distilled student"
COMPARED = {"temperature": (1, 4, 20), "alpha": (0, 0.5, 1)}
"""The values of a setting that a question compares."""


@dataclass(frozen=True)
class Settings:
    """What the controls say: one value for all students, save what the question compares."""

    temperature: float
    alpha: float
    labels: int | None
    seed: int


Method = tuple[str, dict[str, float]]


@dataclass(frozen=True)
class Question:
    """What a demonstration asks, and the students that answer it: method and hyperparameters by name.

    varies: the setting that differs among them, of those in `COMPARED`.
    """

    title: str
    students: Callable[[Settings], dict[str, Method]]
    varies: str | None = None


def _kd(temperature: float, alpha: float) -> Method:
    return "kd", {"temperature": float(temperature), "alpha": float(alpha)}


QUESTIONS = {
    each.title: each for each in (
        Question("Does a teacher help?",
                 lambda chosen: {TAUGHT: _kd(chosen.temperature, chosen.alpha), ALONE: ("none", {})}),
        Question("Which temperature?",
                 lambda chosen: {f"T {each}": _kd(each, chosen.alpha) for each in COMPARED["temperature"]},
                 "temperature"),
        Question("How much of the teacher?",
                 lambda chosen: {f"alpha {each:g}": _kd(chosen.temperature, each) for each in COMPARED["alpha"]},
                 "alpha"),
    )
}


def premise(question: Question, settings: Settings, pictures: int) -> str:
    """Who learns from what."""
    count = f"**{pictures:,} pictures** of handwritten digits"
    if settings.labels is None:
        have = f"{count}, each with its label."
    else:
        have = f"{count}. Only **{settings.labels} of each digit** {'have' if settings.labels > 1 else 'has'} a label."
    if question.varies == "temperature":
        learners = (f"Three equal students have the same teacher and $\\alpha = {settings.alpha:g}$"
                    f"{': none reads a label' if settings.alpha == 1 else ''}. Only $T$ differs.")
    elif question.varies == "alpha":
        unlabelled = "" if settings.labels is None else "; of a picture without a label, from the answer alone"
        learners = ("Three equal students. At $\\alpha = 0$ one learns from the labels alone, at $\\alpha = 1$ from "
                    "the teacher's answers alone, at $\\alpha = 0.5$ from both, each with half the weight"
                    f"{unlabelled}.")
    else:
        learners = (f"Two equal students take the same number of steps. **{ALONE}** learns from the labels and nothing "
                    f"else. **{TAUGHT}** {_hears(settings)}")
    return f"{have} {learners}"


def _hears(settings: Settings) -> str:
    alpha = settings.alpha
    every = "every picture" if settings.labels is None else "every picture, also to those without a label"
    if alpha == 1:
        return f"reads no label: it learns what the teacher answers to {every}."
    if alpha == 0:
        return "does not listen: at $\\alpha = 0$ the teacher's answers weigh nothing."
    return (f"learns from the labels too, and with a weight of {alpha:g} from what the teacher answers to "
            f"{every}.")
