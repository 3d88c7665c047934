"""Every distillation method, in display order. Adding one: a file, a line here, a test of its formula."""

from __future__ import annotations

from typing import Any

from kdengine.methods import contract
from kdengine.methods.activation_boundary import ActivationBoundary
from kdengine.methods.attention import Attention
from kdengine.methods.combined import Combined
from kdengine.methods.contract import Method, describe, loss_code
from kdengine.methods.crd import CRD, CRDBatch
from kdengine.methods.cwd import CWD
from kdengine.methods.dist import DIST
from kdengine.methods.dkd import DKD
from kdengine.methods.factor import Factor
from kdengine.methods.features_cosine import FeaturesCosine
from kdengine.methods.features_mse import FeaturesMSE
from kdengine.methods.fitnet import FitNet, FitNetOriginal
from kdengine.methods.fsp import FSP
from kdengine.methods.independent import Independent
from kdengine.methods.input_gradient import InputGradient
from kdengine.methods.kd import KD
from kdengine.methods.label_smoothing import LabelSmoothing
from kdengine.methods.logit_standardization import LogitStandardization
from kdengine.methods.nst import NST
from kdengine.methods.pkt import PKT
from kdengine.methods.review import Review
from kdengine.methods.rkd import RKD
from kdengine.methods.similarity import Similarity
from kdengine.methods.vid import VID
from kdengine.methods.weights import Weights

METHODS: dict[str, type[Method]] = {
    each.name: each
    for each in (
        Independent, LabelSmoothing, KD, DKD, LogitStandardization, DIST, FeaturesMSE, FeaturesCosine, FitNet,
        FitNetOriginal, Attention, NST, VID, Factor, Review, ActivationBoundary, FSP, Similarity, RKD, PKT, CRD,
        CRDBatch, CWD, Weights, InputGradient, Combined,
    )
}

FIRST_STAGES: dict[str, type[Method]] = {
    each.first_stage.name: each.first_stage for each in METHODS.values() if each.first_stage
}
"""What runs before the methods of two stages; not chosen by itself."""


def method(name: str, **fields: Any) -> Method:
    """The method of that name, or first stage, with these fields.

    Raises KDError for an unknown name, field or value.
    """
    if name in FIRST_STAGES:
        return contract.build(FIRST_STAGES, name, fields)
    return contract.build(METHODS, name, fields)


__all__ = ["FIRST_STAGES", "METHODS", "Method", "describe", "loss_code", "method"]
