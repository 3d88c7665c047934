"""Every run and every column, to sort, copy and download."""

from __future__ import annotations

from typing import Any

import streamlit as st

from explorer.wording import as_text
from kdengine.runs import results

HELP = {
    "labels": "Training images whose label a method may read; kd at alpha 1 reads none of them.",
    "teacher": "Whose answers KL and agreement are measured against, also of a student that did not hear it.",
    "loss": "Cross-entropy on the test split, in nats; never the training loss.",
    "accuracy": "Of the last epoch, never the best.",
    "miou": "Intersection over union, mean over the classes, on the whole test split. Of the last epoch.",
    "low": "Over the test images (Wilson; of an mIoU by bootstrap): what other images of the same kind would change, "
           "not another seed.",
    "change": "Percentage points against an independent student equal in everything but the method; a dash where "
              "there is none.",
    "change_low": "Interval of the change over the test images, at the confidence at which it is judged: 95% for one "
                  "comparison, more where several networks are held against the same independent student.",
    "verdict": "McNemar's exact test on the same test images, for mIoU randomisation; adjusted by Holm over all "
               "networks held against the same independent student. About these two networks, not about the method.",
    "kl_to_teacher": "KL(teacher || student) at T = 1 in nats, mean over the test images.",
    "agreement": "Share of the test images with the teacher's own top class.",
    "calibration_error": "Expected calibration error, 15 equal-width bins.",
    "mflops": "Millions of 2 × the multiply-adds of one forward of one image. Operations, not operations a second.",
    "milliseconds": "Median of at least 50 forwards of one image, on the run's device, after all training of its group "
                    "had ended. Networks of one architecture take the same time; the rest is the machine.",
    "milliseconds_low": "First quartile of those forwards: a quarter of them took no longer.",
    "milliseconds_high": "Third quartile of those forwards: a quarter of them took longer.",
    "machine": "Busy: other processes used more than a tenth of the machine's cores while the time was measured, so it "
               "says little of the network. A dash: not noted then.",
    "memory": "The most memory in use, in 10^6 bytes. Of all that trained side by side: program, data, teacher and "
              "every student. No student's own share is known.",
    "memory_of": "Whose memory that is: the whole process or the GPU, and for how many students.",
}
FORMATS = {
    "loss": "%.4f", "accuracy": "%.2f%%", "miou": "%.2f%%", "low": "%.1f%%", "high": "%.1f%%", "change": "%+.2f pts",
    "change_low": "%+.2f", "change_high": "%+.2f", "kl_to_teacher": "%.4f", "agreement": "%.2f%%",
    "calibration_error": "%.2f%%", "parameters": "localized",
    "mflops": "%.1f", "milliseconds": "%.2f", "milliseconds_low": "%.2f", "milliseconds_high": "%.2f",
    "memory": "%.0f",
}
SHARES = (  # shown in hundredths
    "accuracy", "miou", "low", "high", "change", "change_low", "change_high", "agreement", "calibration_error",
)


def show(rows: list[dict[str, Any]]) -> None:
    """The table, again as a plain one, and its downloads."""
    columns = {
        name: st.column_config.NumberColumn(title, help=HELP.get(name), format=FORMATS[name]) if name in FORMATS
        else st.column_config.TextColumn(title, help=HELP.get(name), pinned=name == "name")
        for name, title in results.COLUMNS.items()
    }
    one_set = len({row["data"] for row in rows}) == 1
    one_seed = len({row["seed"] for row in rows}) == 1
    shown = [name for name in columns if not (name == "data" and one_set) and not (name == "seed" and one_seed)
             and any(row[name] is not None for row in rows)]
    st.dataframe(
        [row | {name: row[name] and 100 * row[name] for name in SHARES} for row in rows],
        width="stretch",
        hide_index=True,
        placeholder="–",
        column_order=shown,
        column_config=columns,
        alt="The results, one row per run. The plain table below has the same figures.",
    )
    with st.expander("The same as a plain table, for a screen reader or to copy from"):
        st.table([{results.COLUMNS[name]: as_text(results.as_text(row[name], name)) for name in shown} for row in rows],
                 hide_index=True)

    if without := results.no_baseline(rows):
        st.caption(as_text(without))

    left, right, note = st.columns([1, 1, 3], vertical_alignment="center")
    left.download_button("Download CSV", results.comma_separated(rows), "results.csv", "text/csv", width="stretch")
    right.download_button("Download Markdown", results.markdown(rows), "results.md", "text/markdown", width="stretch")
    note.caption("One row per run. A single seed says whether two networks differ on these images; it never says that "
                 "a method is better.")
