"""What the shown networks' stored tests say, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explorer import families, segmentation
from explorer.networks import open_network
from explorer.wording import as_text
from kdengine import KDError, charts
from kdengine.colors import TEACHER, student_colors
from kdengine.runs import costs, results
from kdengine.runs.records import RECORD, read_record

MOST_OTHERS = 8
IOU_HELP = (
    "IoU, intersection over union: of the pixels that are of a class or were taken for it, the share that is both. "
    "mIoU is the mean over the classes. The interval says what other images of the same kind would change, not another "
    "seed."
)


@st.cache_data(max_entries=64, show_spinner=False)
def measured(reference: str) -> dict | None:
    """What is stored of a network's test: scores, interval, parameters, speed; None where nothing is."""
    try:
        record = read_record(results.folder(reference) / RECORD)
    except KDError:
        return None
    if "iou" not in record.result.get("test", {}):
        return None
    return {
        "test": record.result["test"], "interval": results.interval(reference, record),
        "parameters": record.result["parameters"], "speed": costs.speed([record]),
    }


def colors_of(names: Sequence[str]) -> list[str]:
    """Colours of the teacher, which is named first, and of its students."""
    return [TEACHER, *student_colors(names[1:])]


def price(reference: str) -> list[str]:
    """What a network costs, as far as it was measured."""
    about = measured(reference)
    if about is None:
        return []
    busy = " on a busy machine" if about["speed"].busy else ""
    return [f"{segmentation.amount(about['parameters'])} parameters · {about['speed'].milliseconds:.1f} ms{busy}"]


def show_others(family: families.Family, references: list[str]) -> None:
    """How good the networks are that are not shown: nobody may take the shown ones for all there is."""
    others = {entry.name: measured(each) for each, entry in family.networks.items() if each not in references}
    scores = [f"{as_text(name)} {about['test']['miou']:.1%}" for name, about in others.items() if about]
    if scores:
        st.caption(f"Not shown, and their mIoU: {', '.join(scores[:MOST_OTHERS])}"
                   f"{' …' if len(scores) > MOST_OTHERS else ''}. Choose them under Students.")


def show_classes(references: list[str], names: dict[str, str]) -> None:
    """How well each class is found on the whole test split, as it was measured at the end of training."""
    tested = {each: measured(each) for each in references}
    counts = " or ".join(sorted({f"{about['test']['n']:,}" for about in tested.values() if about}))
    if not counts:
        st.caption("No test results of these networks are stored.")
        return
    st.markdown(f"**Every class**, on the {counts} images of the test split; in brackets the 95% interval of the mIoU",
                help=IOU_HELP)
    colors = colors_of([names[each] for each in tested])
    st.html(segmentation.legend({sentence(names[each], about): color
                                 for (each, about), color in zip(tested.items(), colors, strict=True)}))
    classes = open_network(references[0]).classes
    st.altair_chart(charts.class_ious({names[each]: about["test"]["iou"] if about else [None] * len(classes)
                                       for each, about in tested.items()}, classes), width="stretch")


def sentence(name: str, about: dict | None) -> str:
    """One network's mIoU in words."""
    if about is None:
        return f"{name}: no stored test results"
    text, sure = f"{name}: mIoU {about['test']['miou']:.1%}", about["interval"]
    return f"{text} ({sure.low:.1%} to {sure.high:.1%})" if sure else text
