"""The words of distillation, each in a sentence or two: one dictionary for every page."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

WORDS = {
    "Agreement": "How far two networks say the same: the share of images with the same top class; of heat maps, their "
                 "cosine, from 0 to 1.",
    "alpha": "The teacher's share of the loss. 0: the labels alone. 1: the teacher alone, and no label is read.",
    "Calibration": "Whether a network is right as often as it is sure: of its answers given with 80%, 80 of 100 "
                   "should be right.",
    "Channel": "One of the maps that a layer puts out: what it finds of one kind, at each place.",
    "Confidence interval": "Where the true value very likely lies: 95 of 100 such intervals hold it. It speaks of "
                           "other images, or of other seeds, whichever is named beside it.",
    "Connector": "A small layer, trained and then thrown away, that brings the student's feature map to the teacher's "
                 "number of channels.",
    "Cross-entropy": "How badly an answer fits the label: minus the logarithm of the true class's share, in nats.",
    "Dark knowledge": "What a teacher's answer says of the wrong classes: this 4 looks a little like a 9.",
    "Distillation": "Training a small network, the student, to imitate a large one, the teacher.",
    "Entropy": "How undecided an answer is, in nats: 0 where one class has everything, most where all have the same.",
    "Epoch": "Once through all training images.",
    "Feature": "What a stage of a network finds at each place of the image, one number a channel.",
    "Heat map": "Which places of the image speak for a class, as Grad-CAM and its kin compute it.",
    "Holm": "A correction for comparing several things at once: each must then be the clearer to count as a "
            "difference.",
    "Independent student": "The small network trained on the labels alone, with all else equal: what a teacher's help "
                           "is measured against.",
    "IoU": "Of a class in a mask: the pixels where answer and truth agree, as a share of those that either of them "
           "names. mIoU is the mean over the classes.",
    "KL": "Kullback-Leibler divergence: how far the student's answer is from the teacher's, in nats; 0 where they are "
          "equal. It is not the same the other way round.",
    "Logit": "What a network puts out for a class before softmax: any number, larger for what it finds likelier.",
    "McNemar": "A test of two networks on the same images: does one read more of those that only one of them reads?",
    "Nat": "The unit of entropy, cross-entropy and KL with the natural logarithm; 1 nat is 1.44 bits.",
    "One-hot": "A label as numbers: 1 for its class, 0 for every other.",
    "Paired t": "A test over seeds: does a method gain in every seed by more than it varies from seed to seed?",
    "p-value": "How often chance alone would make a difference as large as this one, or a larger. Below 0.05 it is "
               "called a difference.",
    "Seed": "The number that the first weights and the order of the images follow. Another seed is another run of the "
            "same experiment.",
    "Soft target": "The teacher's probabilities at a temperature; the student learns them in place of a one-hot label.",
    "Softmax": "Makes probabilities of logits: their exponentials, each as a share of their sum.",
    "Stage": "Layers of a network that work at one resolution; the deeper, the coarser.",
    "Temperature T": "Divides the logits before softmax. 1 leaves them; above 1 small probabilities grow; at infinity "
                     "all are equal.",
    "Validation images": "Kept out of training, to watch it by. Test images are kept for the end.",
}


FORMS = {"Temperature T": "temperatures?", "KL": "KL", "alpha": "alpha", "Entropy": "entropy", "Softmax": "softmax",
         "Cross-entropy": "cross-entropy", "Validation images": "validation images?", "IoU": "m?IoU",
         "Holm": "Holm(?:-adjusted)?", "Paired t": "paired t(?:-test)?"}
"""How a word stands in a text, as a regular expression, where it is not the word itself or with an s."""

_SPELLED = [{"word": word, "meaning": meaning, "forms": FORMS.get(word, f"{word}s?")}
            for word, meaning in WORDS.items()]
# Written into the script: data given to a component would bring pandas to the first page.
_mount = st.components.v2.component(
    "glossary", js=f"const WORDS = {json.dumps(_SPELLED)};\n"
                   f"{(Path(__file__).parent / 'glossary.js').read_text(encoding='utf-8')}")


def show() -> None:
    """The dictionary, behind a button."""
    with st.popover("Words", icon=":material/menu_book:"):
        for word, meaning in WORDS.items():
            st.markdown(f"**{word}**  \n{meaning}")


def underline() -> None:
    """Tell each word's meaning where it stands first on the page."""
    _mount(key="glossary words")
