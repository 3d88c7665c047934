"""What to train, as a person chooses it: data, teacher, student, amounts, methods; a configuration for each student."""

from __future__ import annotations

import streamlit as st

import kdengine
from explorer import downloads, forms
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError

MOST_COPIES = 5  # of one method, side by side
MOST_LABELS = 10**6  # that may be typed; how many there are, the engine knows


@st.cache_data(show_spinner="Reading the folder …", max_entries=64, ttl=600)
def notes(data: str) -> tuple[str, ...]:
    """How a folder was read, looked at anew after a while."""
    return kdengine.data.notes(data)


@st.cache_data(max_entries=1, show_spinner="Looking at what there is …")
def catalogue() -> tuple[dict, dict]:
    """Methods and models that can be distilled with and into, by name; for pictures small enough to train on."""
    methods = {each["name"]: each for each in kdengine.list_methods()}
    models = {each["name"]: each for each in kdengine.list_models()
              if each["task"] == "segmentation" or each["input_size"] <= 64}
    return methods, models


@st.cache_data(show_spinner="Looking at the data set …", max_entries=64, ttl=600)
def teaching(teacher: str, data: str, digest: str) -> tuple[int | None, str | None]:
    """The image size at which a teacher can teach a data set, None for its own; and why it cannot, None where it can.

    digest: of its weights, which tells it from another of its name.
    """
    del digest
    try:
        return kdengine.runs.teaching_size(teacher, data), None
    except KDError as error:
        return None, error_text(error)


def choose_task() -> dict | None:
    """What all students have in common, as fields of a configuration.

    None where something is missing; the page then says what.
    """
    name = choose_data()
    if name is None:
        return None
    task = kdengine.data.task_of(name)
    teachers = kdengine.runs.teachers(name)
    names = [None, *teachers]
    usual = next((each for each in teachers if not teaching(each, name, teachers[each])[1]), None)
    own = {run["id"]: f"{run['name']} ({run['id']})" for run in kdengine.list_runs() if run["name"]}
    teacher = st.selectbox("Teacher", names, index=names.index(usual), key=f"teacher {name}", bind="query-params",
                           format_func=lambda each: own.get(each, each) or "none: train on the labels alone")
    size, unable = teaching(teacher, name, teachers[teacher]) if teacher else (None, None)
    if unable:
        st.error(unable)
        return None
    if size:
        st.caption(f"The images are brought to {size} × {size} pixels, the size that this teacher was trained on.")
    if not teachers:
        st.caption("No checkpoint knows these classes yet. Train a network without a teacher first; once finished "
                   "it can be chosen here.")
    models = {each: about for each, about in catalogue()[1].items() if about["task"] == task}
    students = list(models)
    usual = "resnet8" if "resnet8" in models else students[0]
    key = "student" if task == "classification" else "mask student"  # each task keeps the choice made for it
    student = st.selectbox("Student", students, index=students.index(usual), key=key, bind="query-params",
                           format_func=lambda each: models[each]["title"])
    return {"data": name, "teacher": teacher, "image_size": size, "student": student} | choose_amounts(task)


def choose_data() -> str | None:
    """A data set that is here and can be read, by name; None where there is none; the page then says so."""
    sets = {each["name"]: each for each in kdengine.list_data()}
    name = st.selectbox("Data set", list(sets), key="data", bind="query-params",
                        format_func=lambda each: sets[each]["title"])
    if name == "folder":
        path = st.text_input("Folder", key="folder", bind="query-params",
                             placeholder="in the data folder, with train/ and test/ in it")
        if not path:
            st.info("Name a folder in the data folder that holds `train/<class>/` and `test/<class>/` with "
                    "pictures in them; or, for segmentation, `images/` and `masks/` in each of `train/` and "
                    "`test/`.")
            return None
        name = f"folder:{path}"
    elif not downloads.present(name):
        return None
    try:
        kdengine.data.require_below_data_root(name)
        kdengine.data.task_of(name)
        if name.startswith("folder:"):
            for note in notes(name):
                st.caption(as_text(note))
    except KDError as error:
        show_error(error)
        return None
    return name


def choose_amounts(task: str) -> dict:
    """Epochs, seed, and how much of the data and of its labels, as fields of a configuration."""
    epochs_column, seed_column = st.columns(2)
    with epochs_column:
        epochs = forms.linked_number("Epochs", 1, 1000, 10, "epochs")
    with seed_column:
        seed = forms.linked_number("Seed", 0, 2**31, 0, "seed",
                                   help="Drives the first weights and the order of the images.")
    share_column, labels_column = st.columns(2)
    share = share_column.slider("Share of the data", 5, 100, 100, 5, format="%d%%", key="share", bind="query-params",
                                help="Part of the training images used, the same of each class.")
    with labels_column:
        if task == "segmentation":
            labels = {"labelled_images": forms.linked_number(
                "Images with a mask", 1, MOST_LABELS, None, "masks", placeholder="all",
                help="Keep the masks of this many images and withhold the rest: images without one still reach the "
                     "teacher.")}
        else:
            labels = {"labels_per_class": forms.linked_number(
                "Labeled images per class", 1, MOST_LABELS, None, "labels", placeholder="all",
                help="Keep this many labels per class and withhold the rest: unlabelled images still reach the "
                     "teacher.")}
    return {"epochs": epochs, "seed": seed, "share": share / 100} | labels


def choose_students(shared: dict) -> list[kdengine.Configuration]:
    """A configuration for each student, by method; none where that is no group yet; the page says why."""
    task = kdengine.data.task_of(shared["data"])
    methods = {each: about for each, about in catalogue()[0].items()
               if task in about["tasks"] and (shared["teacher"] or not about["needs_teacher"])}
    usual = [each for each in ("kd", "none") if each in methods]
    named = copies(list(methods.values()), usual)
    chosen = st.multiselect("Methods, trained side by side", list(named), default=usual, key="methods",
                            bind="query-params", format_func=named.__getitem__,
                            help="A method that is chosen can be chosen again, to be set in another way.")
    notice = st.container()  # above the methods: below them nobody would see why there is no Start
    settings = {}
    for each in chosen:
        method = methods[method_of(each)]
        with st.expander(f"**{named[each]}**", expanded=bool(method["fields"])):
            st.caption(method["summary"])
            settings[each] = forms.hyperparameters(method, each)
            st.latex(method["formula"])
    if not chosen:
        notice.info("Choose at least one method.")
        return []
    if alike := twins(settings):
        notice.info(f"{named[alike[0]]} and {named[alike[1]]} are set alike. Set one of them in another way.")
        return []
    return [kdengine.Configuration(method=method_of(each), hyperparameters=fields, **shared)
            for each, fields in settings.items()]


def copies(methods: list[dict], usual: list[str]) -> dict[str, str]:
    """What can be chosen and its titles: each method, and one that can be set, once it is chosen, once more."""
    chosen, linked = st.session_state.get("methods", usual), st.query_params.get_all("methods")
    options = {}
    for method in methods:
        name, title = method["name"], method["title"]
        for number in range(1, MOST_COPIES + 1 if method["fields"] else 2):
            option, called = (name, title) if number == 1 else (f"{name} {number}", f"{title} ({number})")
            options[option] = called
            if option not in chosen and called not in linked:
                break
    return options


def method_of(option: str) -> str:
    """The method of which an option is one copy."""
    return option.partition(" ")[0]


def twins(settings: dict[str, dict]) -> tuple[str, str] | None:
    """Two copies of a method that are set alike, if there are any."""
    seen: dict[tuple, str] = {}
    for option, fields in settings.items():
        same = seen.setdefault((method_of(option), *fields.items()), option)
        if same != option:
            return same, option
    return None
