"""Loss terms as pure functions of plain tensors: student first, then teacher; hyperparameters by keyword.

One file a kind of what is matched. They need no engine around them: `from kdengine.losses import dkd, rkd_distance`.
"""

from kdengine.losses.contrastive import info_nce, noise_contrastive
from kdengine.losses.features import (
    NORMS,
    attention,
    attention_map,
    channel_distribution,
    factor_distance,
    feature_cosine,
    feature_distance,
    fsp,
    fsp_matrix,
    hierarchical_context,
    neuron_selectivity,
    variational_information,
)
from kdengine.losses.gradients import explanation_cosine, grad_cam, input_gradient
from kdengine.losses.logits import (
    IGNORE,
    cross_entropy,
    dkd,
    inter_class_relation,
    intra_class_relation,
    kl_divergence,
    non_target_kl,
    standardized,
    target_class_kl,
)
from kdengine.losses.reduction import mask_at, mean_over, total
from kdengine.losses.relations import pkt, rkd_angle, rkd_distance, similarity
from kdengine.losses.sparsity import activation_boundary
from kdengine.losses.weights import weight_distance

__all__ = [
    "IGNORE",
    "NORMS",
    "activation_boundary",
    "attention",
    "attention_map",
    "channel_distribution",
    "cross_entropy",
    "dkd",
    "explanation_cosine",
    "factor_distance",
    "feature_cosine",
    "feature_distance",
    "fsp",
    "fsp_matrix",
    "grad_cam",
    "hierarchical_context",
    "info_nce",
    "input_gradient",
    "inter_class_relation",
    "intra_class_relation",
    "kl_divergence",
    "mask_at",
    "mean_over",
    "neuron_selectivity",
    "noise_contrastive",
    "non_target_kl",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity",
    "standardized",
    "target_class_kl",
    "total",
    "variational_information",
    "weight_distance",
]
