"""One class's bias, raised or lowered until the class has its share of the predictions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdengine.errors import KDError
from kdengine.measures.bias import corrected


def make_logits(count=40, classes=5, seed=0):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def predicted(logits, class_index):
    return int((logits.argmax(dim=1) == class_index).sum())


def nearest_count(logits, class_index, wanted):
    """By trying every constant that could matter: the counts it can give, and of them the one nearest to `wanted`."""
    gaps = [max(value for place, value in enumerate(row) if place != class_index) - row[class_index]
            for row in logits.double().tolist()]
    tried = {0, *(sum(gap <= reached for gap in gaps) for reached in gaps)}
    return min(sorted(tried), key=lambda count: abs(count - wanted))


@pytest.mark.parametrize("class_index", [0, 2, 4])
@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.99, 1])
def test_the_class_gets_its_share_and_nothing_else_changes(class_index, share):
    logits = make_logits()
    before = logits.clone()
    moved, constant = corrected(logits, class_index, share)
    assert predicted(moved, class_index) == round(share * 40)
    expected = before.double()
    expected[:, class_index] += constant
    assert torch.equal(moved, expected)
    assert torch.equal(logits, before)
    others = moved.argmax(dim=1) != class_index
    without = before.clone()
    without[:, class_index] = -torch.inf
    assert torch.equal(moved[others].argmax(dim=1), without[others].argmax(dim=1))


def test_the_constant_lies_midway_between_two_gaps():
    logits = torch.tensor([[0.0, 1, -9], [0, -9, 3], [0, 7, 0]])  # class 0 trails by 1, 3 and 7
    assert [corrected(logits, 0, k / 3)[1] for k in range(4)] == [0.0, 2.0, 5.0, 8.0]


def test_the_constant_is_negative_where_the_class_is_named_too_often():
    moved, constant = corrected(torch.tensor([[5.0, 0], [3, 0], [1, 0]]), 0, 1 / 3)
    assert constant == -4.0
    assert moved.tolist() == [[1, 0], [-1, 0], [-3, 0]]


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.25, 1), (0.5, 1), (0.75, 4), (1, 4)])
def test_equal_gaps_go_together_to_the_nearer_side(share, count):
    logits = torch.tensor([[0.0, 1], [0, 2], [0, 2], [0, 2]])
    assert predicted(corrected(logits, 0, share)[0], 0) == count


def test_of_two_counts_as_near_the_lower_is_taken():
    moved, constant = corrected(torch.zeros(4, 3), 1, 0.5)
    assert (predicted(moved, 1), constant) == (0, -1.0)


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(0, 2), st.floats(0, 1),
)
def test_it_agrees_with_trying_every_constant_among_many_ties(rows, class_index, share):
    logits = torch.tensor(rows, dtype=torch.float32)
    moved, _ = corrected(logits, class_index, share)
    assert predicted(moved, class_index) == nearest_count(logits, class_index, round(share * len(rows)))


def test_neighbouring_float32_gaps_are_told_apart():
    step = torch.tensor(100.0).nextafter(torch.tensor(200.0))
    logits = torch.stack([torch.tensor([0.0, 100.0]), torch.stack([torch.tensor(0.0), step])])
    assert predicted(corrected(logits, 0, 0.5)[0], 0) == 1


@pytest.mark.parametrize(("given", "sentence"), [
    ((torch.zeros(3), 0, 0.1), r"logits are \[3\]; must be \[N, C\]"),
    ((torch.zeros(0, 3), 0, 0.1), r"logits are \[0, 3\]"),
    ((torch.zeros(3, 1), 0, 0.1), r"logits are \[3, 1\]"),
    ((torch.zeros(4, 3), 3, 0.1), "class_index is 3; allowed is a number from 0 to 2"),
    ((torch.zeros(4, 3), -1, 0.1), "class_index is -1"),
    ((torch.zeros(4, 3), 0, 1.1), "share is 1.1; allowed is a number from 0 to 1"),
    ((torch.zeros(4, 3), 0, float("nan")), "share is nan"),
])
def test_what_is_out_of_range_is_told(given, sentence):
    with pytest.raises(KDError, match=sentence):
        corrected(*given)
