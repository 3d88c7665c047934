"""Start: what distillation is, in one screen, with the shipped pair's measured numbers."""

import streamlit as st

import kdengine
from explorer.bars import accuracy_bars
from explorer.wording import as_text
from kdengine.uncertainty import share_interval

SHOWN = {
    "digits-teacher": "Teacher",
    "digits-resnet8-none": "Student alone",
    "digits-resnet8-kd": "Student + teacher",
}

st.title("Knowledge distillation, live")
st.markdown(
    "A small **student** network learns to imitate a large **teacher**. The teacher's full distribution over the "
    "classes says more than the label does: *this 3 also looks a little like an 8*. Hinton called that **dark "
    "knowledge**, and a **temperature** brings it to light."
)

shipped = kdengine.list_checkpoints()
measured = []
for reference, role in SHOWN.items():
    about = shipped.get(reference)
    if about and "test" in about["scores"]:
        test = about["scores"]["test"]
        sure = share_interval(test["top1"], test["n"])
        measured.append({
            "name": f"{role} ({about['architecture']})", "accuracy": test["top1"], "low": sure.low, "high": sure.high,
            "role": "teacher" if reference == "digits-teacher" else "student",
        })

picture, words = st.columns([3, 2], gap="large", vertical_alignment="center")
with picture:
    st.subheader("What a teacher is worth")
    if len(measured) == len(SHOWN):
        st.html(accuracy_bars(measured))
    else:
        st.info("The shipped digits checkpoints are not in the checkpoints folder. `make checkpoints` trains them.")
with words:
    if len(measured) == len(SHOWN):
        labels = as_text(str(shipped["digits-resnet8-kd"]["data"].get("labels_per_class")))
        count = as_text(str(shipped["digits-teacher"]["scores"]["test"]["n"]))
        st.markdown(
            f"**Who had which labels?** 1,797 real handwritten digits. The teacher read *every* training label. The "
            f"student alone had **{labels} labels a class** and nothing else. The student with a teacher read **no "
            f"label at all**: it had the same training images, and the teacher's softened answers on them.\n\n"
            f"One run each, measured on {count} test images that none of them had seen. The intervals say what other "
            f"images of the same kind would change, not what another seed would."
        )

st.divider()
links = (
    ("pages/temperature.py", "Temperature", "Move T and watch dark knowledge appear."),
    ("pages/distill.py", "Distill", "Train students side by side and watch them learn."),
    ("pages/recipes.py", "Recipes", "Run a lab sheet's experiment, and take its report home."),
    ("pages/compare.py", "Compare", "See where teacher and student look, on your own photo too."),
    ("pages/segmentation.py", "Segmentation", "See what they take each pixel for, and where they err."),
    ("pages/results.py", "Results", "Read what was measured, and whether a gain is real."),
)
for column, (page, title, promise) in zip(st.columns(len(links)), links, strict=True):
    with column.container(border=True, height="stretch"):
        st.page_link(f"../{page}", label=f"**{title}** →")
        st.caption(promise)
