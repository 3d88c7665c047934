"""Temperature: teacher and student softened at T, beside the hard label, on logits, an example or a picture."""

import hashlib

import streamlit as st
from PIL import Image

import kdengine
from explorer import families, networks
from explorer.choosing import KINDS
from explorer.temperature import component, typed
from explorer.wording import error_text, show_error
from kdengine import KDError

OPENING_TEMPERATURE = 4.0
OPENING_LOGITS = {"teacher": "10, 2, -3", "student": "4, 2.5, 0", "names": ""}
IMAGENET = ("efficientnet_lite2", "efficientnet_lite0")
PHOTOGRAPHS = "ImageNet"
NETWORKS_HELP = (
    "ImageNet: EfficientNet-Lite2 and the smaller Lite0 know 1,000 kinds of things, and were trained independently. "
    "The others: a teacher and its students, which know the classes of one data set; digits are light on dark."
)
THUMBNAIL = 96  # pixels


def temperature() -> float:
    """T as the link has it. A bad one is named, and stays in the link until the slider is moved."""
    try:
        return typed.read_temperature(st.query_params.get("T", f"{OPENING_TEMPERATURE:g}"))
    except KDError as error:
        st.error(f"{error_text(error)} The slider stands at {OPENING_TEMPERATURE:g}.")
        return OPENING_TEMPERATURE


def keep_temperature(value: float) -> None:
    """Put T into the link."""
    st.query_params["T"] = str(value)


def typed_logits() -> dict | None:
    """Logits as typed. While they make no sense a sentence says why, and the last good ones stay on the chart."""
    fields = st.container(horizontal=True)
    texts = {
        "teacher": fields.text_input("Teacher's logits", OPENING_LOGITS["teacher"], key="teacher_logits",
                                     bind="query-params"),
        "student": fields.text_input("Student's logits", OPENING_LOGITS["student"], key="student_logits",
                                     bind="query-params"),
        "names": fields.text_input("Class names", OPENING_LOGITS["names"], key="names", bind="query-params",
                                   placeholder="Class 1, Class 2, …"),
    }
    try:
        typed.read_classes(**texts)
        st.session_state["good_logits"] = texts
    except KDError as error:
        st.error(f"{error_text(error)} The chart keeps the last logits that could be read.")
        texts = st.session_state.get("good_logits", OPENING_LOGITS)
    teacher, student, classes = typed.read_classes(**texts)
    label = fields.selectbox("Hard label", classes, key="label", bind="query-params")
    return {"classes": classes, "teacher": teacher, "student": student, "label": classes.index(label)}


def example() -> dict | None:
    """A test picture of the digits, as the shipped teacher and a student of it see it."""
    family = kdengine.runs.shipped_families().get("digits")
    if not (family and family["teacher"] and family["students"]):
        st.info("The shipped digits checkpoints are not in the checkpoints folder. `make checkpoints` trains them; "
                "typed logits need none.")
        return None
    digits = networks.open_data("digits")
    last = len(digits.test) - 1
    fields = st.container(horizontal=True, vertical_alignment="center")
    place = fields.container(width="content")
    # Not bound to the link as the others are: Streamlit breaks on ?example=1e999.
    st.session_state["example"] = example_in_link(last)
    index = fields.number_input(f"Test picture, 0 to {last}", 0, last, key="example", on_change=keep_example)
    with fields:
        pair = with_student(**family)
    picture, label = kdengine.data.example(digits, index)
    place.image(picture, width=THUMBNAIL, alt=f"Test picture {index}: a handwritten {digits.classes[label]}")
    return answers(pair, picture) | {"label": label}


def example_in_link(last: int) -> int:
    """The test picture's number as the link has it. A bad one is named, and stays until another is chosen."""
    try:
        return typed.read_place(st.query_params.get("example", "0"), last)
    except KDError as error:
        st.error(f"{error_text(error)} Number 0 is shown.")
        return 0


def keep_example() -> None:
    """Put the test picture's number into the link."""
    st.query_params["example"] = str(st.session_state["example"])


def uploaded() -> dict | None:
    """A picture of the person's own, as two networks see it."""
    upload_column, picture_column, networks_column, label_column = st.columns([4, 1, 3, 3])
    file = upload_column.file_uploader("Picture", KINDS)
    pairs = {data: family for data, family in kdengine.runs.shipped_families().items()
             if family["teacher"] and family["students"]}
    titles = {each["name"]: each["title"] for each in kdengine.list_data()}
    with networks_column:
        kind = st.selectbox("Networks", [PHOTOGRAPHS, *pairs], key="networks", bind="query-params",
                            format_func=lambda each: titles.get(each, each), help=NETWORKS_HELP)
        if kind == PHOTOGRAPHS:
            pair = IMAGENET
            st.caption("Neither was distilled from the other.")
        else:
            pair = with_student(**pairs[kind])
    samples = {each["title"]: each for each in kdengine.data.sample_photographs()}
    sample = None if file else upload_column.pills("Or a sample", list(samples), key="sample", bind="query-params")
    if sample:
        upload_column.caption(samples[sample]["credit"])
    if not (file or sample):
        st.info("Upload a picture to see what both networks make of it. It stays on this machine, and out of the link.")
        return None
    try:
        picture = kdengine.data.read_picture(file.getvalue() if file else samples[sample]["path"])
    except KDError as error:
        show_error(error)
        return None
    picture_column.image(picture, width=THUMBNAIL, alt="The uploaded picture")
    chart_data = answers(pair, picture)
    label = label_column.selectbox("What it really is", range(len(chart_data["classes"])), index=None,
                                   format_func=chart_data["classes"].__getitem__, placeholder="unknown")
    roles = ("Larger network", "Smaller network") if kind == PHOTOGRAPHS else ("Teacher", "Student")
    return chart_data | {"label": label, "titles": roles}


def with_student(teacher: str, students: list[str]) -> tuple[str, str]:
    """The teacher and the student chosen to stand beside it: the one distilled by its logits unless another is.

    Shipped students, and runs of their data set that have finished.
    """
    shipped = kdengine.list_checkpoints()
    place = next((place for place, name in enumerate(students) if shipped[name].get("method") == "kd"), 0)
    data = shipped[students[0]]["data"]["name"]
    names = families.names(kdengine.runs.families()[data])
    own = [each for each in names if each not in shipped and each != teacher]
    student = st.selectbox("Student", students + own, index=place, key="student_network", bind="query-params",
                           format_func=lambda each: names[each] if each in own else each)
    return teacher, student


def answers(pair: tuple[str, str], picture: Image.Image) -> dict:
    """Class names and both networks' logits for a picture."""
    digest = hashlib.sha256(picture.tobytes() + str(picture.size).encode()).hexdigest()
    teacher, student = (logits(reference, digest, picture) for reference in pair)
    return {"classes": networks.open_network(pair[0]).classes, "teacher": teacher, "student": student}


@st.cache_data(max_entries=128, show_spinner="The networks look at the picture …")
def logits(reference: str, digest: str, _picture: Image.Image) -> list[float]:
    """What a network says of a picture, once for each picture; digest stands for its pixels."""
    del digest
    return kdengine.predict(networks.open_network(reference), _picture)["logits"]


SOURCES = {"Typed logits": typed_logits, "Example": example, "Picture": uploaded}

title, source = st.columns([2, 3], vertical_alignment="bottom")
title.title("Temperature")
chosen = source.segmented_control("Source", list(SOURCES), default="Typed logits", required=True, key="source",
                                  bind="query-params", label_visibility="collapsed")
T = temperature()
try:
    chart_data = SOURCES[chosen]()
except KDError as error:
    show_error(error)
    chart_data = None
if chart_data is not None:
    component.distributions(**chart_data, temperature=T, on_temperature=keep_temperature)
