"""Temperature: teacher and student softened at T, beside the hard label, on a digit, a drawing, a picture or logits."""

import hashlib

import streamlit as st
from PIL import Image

import kdengine
from explorer import digits, families, lecture, networks
from explorer.choosing import KINDS
from explorer.comparison import inline
from explorer.learn import labels
from explorer.temperature import canvas, component, thumbnails, typed
from explorer.wording import error_text, show_error
from kdengine import KDError

OPENING_TEMPERATURE = 4.0
MANY_CLASSES, THEIR_TEMPERATURE = 100, 1.0  # at a higher T the top one of so many is left with next to nothing
OPENING_LOGITS = {"teacher": "10, 2, -3", "student": "4, 2.5, 0", "names": ""}
IMAGENET = ("efficientnet_lite2", "efficientnet_lite0")
PHOTOGRAPHS = "ImageNet"
NETWORKS_HELP = (
    "ImageNet: EfficientNet-Lite2 and the smaller Lite0 know 1,000 kinds of things, and were trained independently. "
    "The others: a teacher and its students, which know the classes of one data set; digits are light on dark."
)
THUMBNAIL = 84  # pixels
SHOWN = 8  # pictures in a row that are worth a look
DRAW = "Draw a digit"


def temperature(classes: int) -> float:
    """T as the link has it. A bad one is named, and stays in the link until the slider is moved."""
    opening = THEIR_TEMPERATURE if classes > MANY_CLASSES else OPENING_TEMPERATURE
    try:
        return typed.read_temperature(st.query_params.get("T", f"{opening:g}"))
    except KDError as error:
        st.error(f"{error_text(error)} The slider stands at {opening:g}.")
        return opening


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
    if digits.missing():
        return None
    data = networks.open_data("digits")
    last = len(data.test) - 1
    fields = st.container(horizontal=True, vertical_alignment="center")
    place = fields.container(width="content")
    # Not bound to the link as the others are: Streamlit breaks on ?example=1e999.
    st.session_state["example"] = example_in_link(last)
    index = fields.number_input(f"Test picture, 0 to {last}", 0, last, key="example", width=150,
                                on_change=lambda: keep_example(st.session_state["example"]))
    with fields:
        pair = with_student(**kdengine.runs.shipped_families()["digits"])
    picture, label = kdengine.data.example(data, index)
    place.image(picture, width=THUMBNAIL, alt=f"Test picture {index}: a handwritten {data.classes[label]}")
    if lecture.presenting():  # for a slide the picture is chosen, and there is no room for others
        return answers(pair, picture) | {"label": label}
    with fields.container(width="stretch"):
        rows = telling_pictures(*pair)
        examples = {each: kdengine.data.example(data, each) for row in rows.values() for each in row}
        thumbnails.show("telling pictures", rows, {each: inline(image, "PNG") for each, (image, _) in examples.items()},
                        {each: data.classes[truth] for each, (_, truth) in examples.items()}, index, keep_example)
    return answers(pair, picture) | {"label": label}


def telling_pictures(teacher: str, student: str) -> dict[str, list[int]]:
    """The numbers of the test pictures worth a look, by what there is to see."""
    images = len(networks.open_data("digits").test)
    rows = {"Richest in dark knowledge, at T = 1": kdengine.runs.hard_examples(teacher, images),
            "Farthest from the teacher, at T = 1": kdengine.runs.farthest_examples(teacher, student)}
    return {title: indices[:SHOWN] for title, indices in rows.items() if indices}


def example_in_link(last: int) -> int:
    """The test picture's number as the link has it. A bad one is named, and stays until another is chosen."""
    try:
        return typed.read_place(st.query_params.get("example", str(labels.INDEX)), last)
    except KDError as error:
        st.error(f"{error_text(error)} Number {labels.INDEX} is shown.")
        return labels.INDEX


def keep_example(index: int) -> None:
    """Put the test picture's number into the link."""
    st.query_params["example"] = str(index)


def drawn() -> dict | None:
    """A digit somebody draws, as the shipped teacher and a student of it see it."""
    if digits.missing():
        return None
    try:
        counts = canvas.read_counts(st.query_params.get("drawing", ""))
    except KDError as error:
        show_error(error)
        counts = None
    if counts is None:
        st.info("Draw a digit in the black field, with the mouse or a finger. Both networks answer when you lift it.")
        return None
    picture = kdengine.data.drawn_digit(counts)
    fields = st.container(horizontal=True, vertical_alignment="center")
    fields.image(picture, width=THUMBNAIL, alt="The drawing as the networks see it")
    with fields:
        pair = with_student(**kdengine.runs.shipped_families()["digits"])
    chart_data = answers(pair, picture)
    label = fields.selectbox("What it is", chart_data["classes"], index=None, placeholder="unknown", key="meant",
                             bind="query-params")
    return chart_data | {"label": None if label is None else chart_data["classes"].index(label)}


def keep_drawing(counts: str) -> None:
    """Put what was drawn into the link."""
    if counts:
        st.query_params["drawing"] = counts
    else:
        st.query_params.pop("drawing", None)


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
                           format_func=names.__getitem__, width=260)
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


SOURCES = {"Digit": example, DRAW: drawn, "Picture": uploaded, "Typed logits": typed_logits}

row = st.container(horizontal=True, vertical_alignment="bottom")
row.title("Temperature", width="content")
chosen = row.segmented_control("Of what", list(SOURCES), default="Digit", required=True, key="of",
                               bind="query-params", persist_state="session", label_visibility="collapsed")
view = row.segmented_control("View", list(component.VIEWS), default="Bars", required=True, key="chart",
                             bind="query-params", persist_state="session", label_visibility="collapsed")
by_probability = row.toggle("Likeliest first", key="sorted", bind="query-params", persist_state="session")
place = st.container()
if chosen == DRAW:
    field, place = st.columns([1, 4], gap="large")
    with field:
        canvas.draw(st.query_params.get("drawing", ""), keep_drawing)
        st.caption("What is drawn is scaled to fill the picture, and its ink counted in 8 × 8 blocks: so were the "
                   "digits that both networks learned from. Without a mouse, choose a **Digit** or **Typed logits**.")
with place:
    try:
        chart_data = SOURCES[chosen]()
    except KDError as error:
        show_error(error)
        chart_data = None
    if chart_data is not None:
        component.distributions(**chart_data, temperature=temperature(len(chart_data["classes"])),
                                on_temperature=keep_temperature, view=view, by_probability=by_probability)
