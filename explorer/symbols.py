"""What the letters of the methods' formulas stand for. A method's fields have symbols of their own, told with them."""

from __future__ import annotations

SYMBOLS = {  # by what stands for them in a formula, in the order in which they are told
    r"\mathrm{CE}": r"$\mathrm{CE}$: cross-entropy",
    "p_s": "$y$: the label; $p_s$: the student's probabilities",
    r"\mathrm{KL}": r"$\mathrm{KL}$: Kullback-Leibler divergence",
    "p_t ": "$p_t$: the teacher's probabilities",
    "(z_t": "$z_t, z_s$: logits of teacher and student",
    r"\mathcal{Z}": r"$\mathcal{Z}$: brings an image's logits to mean 0 and standard deviation 1",
    "z^t_c": "$z^t_c, z^s_c$: logits of class $c$ at every position, of teacher and student",
    r"\sigma(": r"$\sigma$: softmax",
    r"\sigma_{hw}": r"$\sigma_{hw}$: softmax over the positions",
    "C}": "$C$: the number of classes",
    "TCKD": r"$\mathrm{TCKD}$: KL of the true class against all others",
    "NCKD": r"$\mathrm{NCKD}$: KL among the wrong classes",
    "w\\,": "$w$: rises from 0 to 1 in the first epochs",
    r"\rho": r"$\rho$: correlation, over the classes of an image or over the images of the batch",
    "f^s": "$f^s, f^t$: feature maps of student and teacher",
    "D(E(f^t))": "$f^t$: the teacher's last feature maps; $E, D$: the paraphraser's two halves",
    "W_i f": "$W_i$: a trained layer",
    "r(f": "$r$: the regressor, a trained layer; $m$: the stage in the middle",
    "A^s_i": "$A_i$: where stage $i$ is active, the mean of its squared channels",
    "MMD": r"$\mathrm{MMD}$: maximum mean discrepancy, with the kernel $(a^\top b)^2$",
    r"\mu_i": r"$\mu_i, \sigma_i^2$: mean and variance with which the student predicts the teacher's map",
    "F_s}": "$F_s, F_t$: what the translator makes of the student's last feature maps, and $E(f^t)$",
    "ABF": r"$\mathrm{ABF}$: fuses a stage with the deeper ones",
    "HCL": r"$\mathrm{HCL}$: square differences at several scales",
    r"\le 0": "$s_i, t_i$: what the last ReLU of stage $i$ is given, in student and teacher; $m$: a margin",
    "G^s_i": "$G_i$: the products of the channels of stage $i$ with those of the next, mean over the positions",
    r"\hat G": r"$F$: the last feature maps, an image a row; $\hat G$: $G$ with rows of length 1",
    r"\psi": r"$\psi_D, \psi_A$: distances of pairs of images, angles of triples; $\ell_\delta$: Huber loss",
    "p^t_{j|i}": "$p_{j|i}$: the probability that image $i$ picks image $j$ as its neighbor",
    "g_s": "$g_s, g_t$: embeddings of an image; $h$: the probability that both are of one image; $n$: all images",
    "s_{ij}": "$s_{ij}$: cosine of the student's embedding of image $i$ and the teacher's of image $j$",
    "L_i W": "$W^s_i, W^t_i$: weights of the largest convolution of stage $i$; $L_i, R_i$: trained linear maps",
    r"\nabla_x": "$\\nabla_x z_y$: the gradient of the true class's logit at the image",
    r"E^s_\ell": r"$E^s_\ell, E^t_\ell$: explanations, Grad-CAM maps of the class $\hat y$ that the teacher names; "
                r"$f_c$: the channels of stage $\ell$, the bar: the mean over its positions",
    "features}}": r"$\mathcal{L}_{\text{features}}$: the loss of the feature maps",
    "relations}}": r"$\mathcal{L}_{\text{relations}}$: the loss of `similarity`",
    "/ n": "$n$, in a stage $n_i$: how many numbers are compared",
    "{n_i}": "$n_i$: how many numbers are compared in a stage",
    "{B": "$B$: images of the batch",
    "2B": "$B$: images of the batch",
}


def legend(formula: str) -> str:
    """What a formula's letters stand for, as Markdown on one line."""
    return " · ".join(text for symbol, text in SYMBOLS.items() if symbol in formula)
