"""Start: what distillation is, in one screen, with the shipped pair's measured numbers."""

import sys
from concurrent.futures import Future, ThreadPoolExecutor

import streamlit as st

import kdengine
from explorer import pinned
from explorer.bars import accuracy_bars
from explorer.choosing import telling
from explorer.digits import ALONE, COLORS, TAUGHT, TEACHER_NAME, TITLES, pair_in_words
from explorer.networks import open_data
from explorer.pages import PAGES, file
from explorer.wording import as_text, show_error
from kdengine import KDError
from kdengine.measures.uncertainty import share_interval

TEMPERATURE = 4.0
FIRST_LOOK_S = 0.2
IN_A_ROW = 4  # cards: in narrower ones the longest title breaks


def answers_to_one_digit() -> None:
    """The test image that tells most, its label, and what the three networks answer, softened."""
    data = open_data("digits")
    index = telling(tuple(TITLES), data.digest)
    picture, truth = kdengine.data.example(data, index)
    answers = {role: pinned.answer(reference, data, index, picture, TEMPERATURE) for reference, role in TITLES.items()}
    rows = [(role, COLORS[role], shares) for role, shares in answers.items()]
    second = as_text(data.classes[answers[TITLES[TEACHER_NAME]].argsort()[-2]])
    alone, taught = (as_text(data.classes[answers[TITLES[each]].argmax()]) for each in (ALONE, TAUGHT))
    image, bars = st.columns([1, 3], gap="medium", vertical_alignment="center")
    image.image(picture, width=150, alt=f"Test image {index}")
    bars.html(pinned.bars(rows, data.classes, truth))
    st.caption(f"Test image {index}. The label says **{as_text(data.classes[truth])}** and nothing else; the teacher's "
               f"answer, softened at T = {TEMPERATURE:g}, says that it looks a little like **{second}** too. The "
               f"independent student reads **{alone}**, the distilled student **{taught}**.")
    st.caption(pair_in_words((TEACHER_NAME, TAUGHT)))


@st.cache_resource
def opening() -> Future:
    """What takes a while for the first visitor of a server, beside the page: torch, and the digits."""
    return ThreadPoolExecutor(1, "opening").submit(kdengine.open_data, "digits")


def answers_later() -> None:
    """Look whether all is open, from the second look on; the page stands by then, and no look takes a while itself.

    Who leaves the page during a long look would meet its end on the next one.
    """
    if st.session_state.setdefault("start stands", False) and opening().done():
        st.rerun()
    st.session_state["start stands"] = True
    st.caption("The networks look at it …")
    st.html('<div style="height: 20rem"></div>')  # about as high as what comes: the links below stay in their place


st.title("Knowledge distillation, live")
st.markdown(
    "A small **student** network learns to imitate a large **teacher**. The teacher's full distribution over the "
    "classes says more than the label does: what else the picture looks like. Hinton called that **dark "
    "knowledge**, and a **temperature** brings it to light."
)

shipped = kdengine.list_checkpoints()
measured = []
for reference, role in TITLES.items():
    about = shipped.get(reference)
    if about and "test" in about["scores"]:
        test = about["scores"]["test"]
        sure = share_interval(test["top1"], test["n"])
        measured.append({
            "name": f"{role} ({about['architecture']})", "accuracy": test["top1"], "low": sure.low, "high": sure.high,
            "colour": COLORS[role],
        })

digit, words = st.columns([3, 2], gap="large")
digit = digit.container(border=True)
with words:
    if len(measured) == len(TITLES):
        labels = as_text(str(shipped[TAUGHT]["data"].get("labels_per_class")))
        count = as_text(str(shipped[TEACHER_NAME]["scores"]["test"]["n"]))
        st.markdown(
            f"**Who had which labels?** 1,797 real handwritten digits. The teacher read *every* training label. The "
            f"independent student had **{labels} labels per class** and nothing else. The distilled student read **no "
            f"label at all**: it saw all training images, and the teacher's softened answers to them.\n\n"
            f"Of 100 new digits, how many does each of the two students read?"
        )
        if st.button("Guess, then watch them learn", type="primary", icon=":material/play_circle:", width="stretch"):
            st.switch_page("../pages/distill.py")
        with st.expander("What came out earlier"):
            st.html(accuracy_bars(measured))
            st.caption(f"One run each, measured on {count} test images that none of them had seen. The intervals say "
                       "what other images of the same kind would change, not what another seed would.")
    else:
        st.info("The shipped digits checkpoints are not in the checkpoints folder. `make checkpoints` trains them.")

st.divider()
promised = {title: promise for title, promise in PAGES.items() if promise}
columns = [column for _ in range(0, len(promised), IN_A_ROW) for column in st.columns(IN_A_ROW)]
for column, (title, promise) in zip(columns, promised.items(), strict=False):  # the last row may not be full
    with column.container(border=True, height="stretch", key=f"card-{title.lower()}"):
        st.page_link(file(title), label=f"**{title}** →")
        st.caption(promise)

with digit:
    st.subheader("One digit, three answers")
    if len(measured) == len(TITLES):
        try:
            if hasattr(sys.modules.get("torch"), "Tensor"):  # not while it is being imported
                answers_to_one_digit()
            else:
                st.fragment(answers_later, run_every=FIRST_LOOK_S)()
        except KDError as error:
            show_error(error)
