"""A recipe of networks that segment, trained for a moment: its pictures, its charts, and what it says of few masks."""

import statistics

import numpy as np
import pytest
import torch

from kdengine import data, recipes
from kdengine.colors import INDEPENDENT, WRONG, class_colors
from kdengine.data import pictures
from kdengine.measures import metrics, uncertainty
from kdengine.recipes import comparison, gallery, report
from kdengine.recipes.remarks import remarks
from kdengine.runs import references, results
from tests.kdengine import tiny
from tests.kdengine.recipes.scene import drawn_from
from tests.kdengine.recipes.test_report import Page

MASKS, SEEDS = 4, 2


@pytest.fixture
def outcome(tmp_path, train_here):
    tiny.write_tiles(tmp_path / "data" / "tiles", train=20, val=4, test=6)
    return recipes.run(recipes.plan(
        "segmentation_kd", seeds=SEEDS, data="folder:tiles", image_size=tiny.TILED_SIZE, epochs=2, batch_size=8,
        teacher="fpn_tiny", labelled_images=MASKS, skip=["Combined"]))


def blended(picture, mask, palette):
    """Each pixel three tenths of its own grey and seven of its class's colour, or of black."""
    gray = np.asarray(picture.convert("L"), dtype=float)[..., None]
    known = np.array([[int(each[at:at + 2], 16) for at in (1, 3, 5)] for each in palette] + [[0, 0, 0]], dtype=float)
    return 0.3 * gray + 0.7 * known[np.where(mask < 0, len(palette), mask)]


def test_its_pictures_charts_and_sentences_are_those_of_its_networks(outcome, tmp_path):
    assert outcome.failures == {} and len(outcome.records) == 1 + 3 * SEEDS
    labels = [part.label for part in outcome.parts]
    held = data.load("folder:tiles", image_size=tiny.TILED_SIZE)
    palette = class_colors(held.classes)
    first = {label: outcome.of(label)[0] for label in labels}

    # The scenes on which the students are furthest apart, and what each network makes of them.
    students = [torch.from_numpy(results.predictions(first[label].id)["confusion"].astype(int)) for label in labels[1:]]
    apart = []
    for place in range(6):
        ious = [metrics.mean_iou(each[place]) for each in students]
        apart.append(max(ious) - min(ious))
    chosen = sorted(range(6), key=lambda place: -apart[place])[:3]
    rows = gallery.looks(outcome, tiny.TILED_SIZE)
    assert [[look.name for look in row] for row in rows] == [["Picture", "Truth", *labels]] * 3
    for place, (picture, truth, *others) in zip(chosen, rows, strict=True):
        shown, mask = pictures.picture(held.test.images[place]), held.test.target[place]
        assert (picture.picture.tobytes(), picture.answer) == (shown.tobytes(), f"test image {place + 1}")
        assert np.abs(np.asarray(truth.picture) - blended(shown, mask.numpy(), palette)).max() <= 1
        assert truth.answer == ", ".join(name for number, name in enumerate(held.classes) if (mask == number).any())
        scores = {}
        for label, look in zip(labels, others, strict=True):
            network = references.open_reference(first[label].id)
            with torch.inference_mode():
                answer = network(held.test.images[place][None].float() / 255).argmax(dim=1)
            counts = metrics.confusion(answer, mask[None].long(), len(held.classes))[0]
            scores[label] = metrics.mean_iou(counts)
            assert look.answer == f"mIoU {scores[label]:.0%}, pixels {metrics.pixel_accuracy(counts):.0%}"
            side = tiny.TILED_SIZE
            mistakes = np.where(mask.numpy() < 0, -1, answer[0].numpy() != mask.numpy())
            for half, numbers, colors in ((slice(side), answer[0].numpy(), palette),
                                          (slice(side, None), mistakes, ["#ffffff", WRONG])):
                wanted = blended(shown, numbers, colors)
                assert np.abs(np.asarray(look.picture)[half] - wanted).max() <= 1
        alone = scores[INDEPENDENT]
        assert [look.right for look in others] == [
            None if score == alone else score > alone for score in scores.values()]

    # The four plots of the training, and the IoU of each class.
    table = comparison.rows(outcome)
    drawn = report.figures(outcome, table)
    titles = [chart.to_dict() for chart in drawn.values()]
    told = " ".join(drawn)
    for plot in ("Total training loss", "Terms of the students' training loss", "Learning rate",
                 "Validation mIoU of the students while training", "Test IoU of each class"):
        assert plot in told
    assert len(titles) == 7
    values = drawn_from(drawn["Test IoU of each class, mean over the seeds."])
    for each in values:
        place = held.classes.index(each["class"])
        ious = [record.result["test"]["iou"][place] for record in outcome.of(each["network"])]
        assert each["iou"] == pytest.approx(statistics.fmean(iou for iou in ious if iou is not None))
    assert {each["network"] for each in values} == set(labels)

    # The report, and what it says of the masks.
    assert ("The students had 4 masks, their teacher 20: methods that listen to the teacher also learn from the "
            "16 images whose mask the independent student never sees.") in remarks(outcome, table)
    page = Page(report.write(outcome, tmp_path / "report").read_text(encoding="utf-8"))
    assert "What they see" in page.texts["h2"]
    assert len(page.named("img")) == 3 * (2 + len(labels))
    assert [text.strip() for text in page.texts["span"] if text.strip() in held.classes] == list(held.classes)
    assert "masks of 4 images" in report.markdown(outcome)
    assert (tmp_path / "report" / "what-they-see.jpg").is_file()


def test_the_miou_of_each_image_is_that_of_its_matrix():
    matrices = torch.randint(0, 5, (8, 4, 4), generator=torch.Generator().manual_seed(0))
    matrices[0], matrices[1, 2], matrices[1, :, 2] = 0, 0, 0  # no pixel counts; a class that is not there
    expected = [0.0, *(metrics.mean_iou(each) for each in matrices[1:])]
    assert uncertainty.mean_ious(matrices.numpy()).tolist() == pytest.approx(expected)
