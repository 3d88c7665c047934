"""Segmentation: what several networks say of every pixel of one picture, where they err, and where they look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL import Image

import kdengine
from explorer import choosing, comparison, downloads, families, forms, mask_results, segmentation
from explorer.choosing import (
    SCALED,
    heat_map_methods,
    layer_names,
    openable,
    summaries,
    telling_pair,
)
from explorer.networks import open_data, open_network
from explorer.segmentation import Tile
from explorer.wording import error_text, show_error
from kdengine import KDError
from kdengine.colors import class_colors

ANSWERS, ERRORS, HEAT = "Answers", "Errors", "Heat maps"
IMAGE = "mask image"  # pages share their widgets' state by key, and Compare has an image of its own
LARGEST = "the largest thing"
OWN, TRUTH, WHOLE = "its own answer", "the truth", "the whole picture"
REGION_HELP = "The map takes apart the sum of the class's scores over its pixels there. A white rim shows them."


@dataclass(frozen=True)
class Picture:
    """What is looked at. key: equal for equal pictures. shown: as it is drawn. truth: its mask, where it is known."""

    key: str
    image: Image.Image
    shown: Image.Image
    truth: Any = None


@dataclass(frozen=True)
class Look:
    """What the tile of a network shows. picture: None where it is the one that is looked at. notes: are set back."""

    alt: str
    picture: Image.Image | None = None
    mask: Image.Image | None = None
    rim: Image.Image | None = None
    notes: Sequence[str] = ()


@st.cache_data(max_entries=64, show_spinner=False)
def drawn(key: str, _image: Image.Image) -> Image.Image:
    """The picture with that key as it is drawn."""
    return segmentation.drawn(_image)


@st.cache_data(max_entries=512, show_spinner="Asking the networks …")
def answered(reference: str, key: str, _image: Image.Image, _truth: Any) -> dict:
    """One network's mask of the picture with that key, and how good it is, None where the truth is not known."""
    network = open_network(reference)
    mask = kdengine.segment(network, _image)
    scores = None if _truth is None else kdengine.measures.mask_scores(mask, _truth, len(network.classes))
    return {"mask": mask, "scores": scores}


@st.cache_data(max_entries=512, show_spinner="Looking where they look …")
def mapped(
    reference: str, key: str, target: int, where: str, method: str, stage: str | None, _image: Image.Image, _region: Any
) -> dict:
    """One network's heat map for a class of a region of the picture with that key; the opacity is no part of it."""
    heat_map = kdengine.explain.heat_map(
        open_network(reference), _image, target, method=method, stage=stage, region=_region)
    return {name: heat_map[name] for name in ("heat", "stage", "size")}


@st.cache_data(max_entries=64, show_spinner="Searching the test images …")
def disputed(digest: str, references: tuple[str, ...], _data: Any) -> list[int]:
    """The test images of the data with that digest on which these networks' masks differ most."""
    return kdengine.runs.mask_disagreements(_data, references)


@st.cache_data(max_entries=64, show_spinner=False)
def typical(digest: str, references: tuple[str, ...], _data: Any) -> int:
    """The test image that is shown first: the most typical of these networks, where their answers are stored."""
    try:
        return kdengine.runs.typical_masks(_data, references)
    except KDError:
        return 0


def choose_networks(key: str, family: families.Family) -> list[str]:
    """References, the teacher first."""
    methods = {reference: entry.method for reference, entry in family.networks.items()}

    def usual(others: list[str]) -> list[str]:
        pair = telling_pair(others, methods)
        students = [*pair, *(each for each in others if each not in pair)][:2]
        return sorted(students, key=lambda each: methods[each] == "none")  # the one alone last, as on every page

    return choosing.choose_networks(
        key, families.names(family), family.first, usual, role="Teacher", help="Any network that knows these classes.")


def choose_picture(family: families.Family, references: list[str]) -> Picture | None:
    """A test image or an upload; None where there is none yet."""
    if family.data is None or downloads.missing(family.data):
        return uploaded()
    try:
        data = open_data(family.data, family.size)
    except KDError as error:
        st.caption(f"The test images are not to be had: {error_text(error)} Bring a picture of your own.")
        return uploaded()
    return uploaded() if choosing.wants_own("mask source") else test_image(data, references)


def test_image(data: Any, references: list[str]) -> Picture:
    """A picture of the test split, by number."""
    last = len(data.test) - 1
    choosing.within(last, IMAGE)
    first = min(last, typical(data.digest, tuple(references), data))
    index = forms.linked_number(f"Number, 0 to {last}", 0, last, first, IMAGE,
                                help="The first one is that on which these networks are most as they are in the mean.")
    choosing.other_images(
        last, IMAGE, lambda: disputed(data.digest, tuple(references), data), disabled=len(references) < 2,
        help="The next of the tenth of the test images on which their masks differ most.",
        none="As far as their test results tell, they give every test image the same masks.")
    image, truth = kdengine.data.masked_example(data, index)
    key = f"{data.digest} {index}"
    return Picture(key, image, drawn(key, image), truth)


def uploaded() -> Picture | None:
    """A person's own picture; an error and None for a bad file."""
    file = choosing.upload()
    opened = choosing.opened(file.getvalue()) if file else None
    if opened is None:
        return None
    key, image = opened
    return Picture(key, image, drawn(key, image))


def choose_heat(stages: list[tuple[str, ...]], classes: tuple[str, ...]) -> tuple:
    """What to explain and how: class (a name, or LARGEST), region, heat-map method, layer.

    A layer is counted from the deepest, 1; 0 is the one each network would choose for itself.
    """
    methods = heat_map_methods()
    what, where, how, depth = st.columns(4)
    method = how.selectbox("Heat map", list(methods), key="method", bind="query-params",
                           format_func=lambda each: methods[each]["title"],
                           help=summaries(methods))
    ignored = not methods[method]["uses_target"]
    target = what.selectbox("Class", [LARGEST, *classes], key="mask class", bind="query-params", disabled=ignored,
                            help="The largest thing is that of the truth, or else of the teacher's answer.")
    region = where.selectbox("Region", [OWN, TRUTH, WHOLE], key="region", bind="query-params", disabled=ignored,
                             help=REGION_HELP)
    names = layer_names(stages)
    layer = names.index(depth.selectbox("Layer", names, key="mask layer", bind="query-params",
                                        help="Automatic is the deepest layer of at least 4 × 4 cells."))
    return target, region, method, layer


def show(references: list[str], names: dict[str, str], picture: Picture) -> None:
    """The picture, the truth and every network's answer beside each other, and what their colours mean."""
    classes = open_network(references[0]).classes
    colors = class_colors(classes)
    what, strength = st.columns([3, 2], vertical_alignment="center")
    view = what.segmented_control("Show", [ANSWERS, ERRORS, HEAT], default=ANSWERS, required=True, key="show",
                                  bind="query-params", label_visibility="collapsed")
    opacity = strength.slider("Opacity", 0, 100, 60, 5, format="%d%%", key="mask opacity", bind="query-params") / 100
    if view == ERRORS and picture.truth is None:
        st.info("The truth of this picture is not known, so the answers themselves are shown.")
        view = ANSWERS
    answers = {each: answered(each, picture.key, picture.image, picture.truth) for each in references}
    masks = {each: answer["mask"] for each, answer in answers.items()}
    tiles, painted = [Tile("Picture", picture.shown, "The picture alone")], []
    if picture.truth is not None:
        painted.append(picture.truth)
        tiles.append(Tile("Truth", picture.shown, "What each pixel is", opacity=opacity,
                          mask=segmentation.painted(picture.truth, colors)))
    if view == HEAT:
        looks = look(masks, picture, opacity)
    elif view == ERRORS:
        looks = {each: Look("where it is right and where it is wrong", mask=segmentation.judged(mask, picture.truth))
                 for each, mask in masks.items()}
    else:
        painted.extend(masks.values())
        looks = {each: Look("what it takes each pixel for", mask=segmentation.painted(mask, colors))
                 for each, mask in masks.items()}
    of_networks = mask_results.colors_of([names[each] for each in looks])
    for place, (reference, content) in enumerate(looks.items()):
        tiles.append(Tile(
            "Student" if place else "Teacher", content.picture or picture.shown,
            f"{names[reference]}: {content.alt}", name=names[reference], color=of_networks[place],
            mask=content.mask, opacity=opacity, rim=content.rim, told=quality(answers[reference]["scores"]),
            quiet=[*content.notes, *mask_results.price(reference)]))
    st.html(segmentation.tiles(tiles))
    if view == ERRORS:
        st.html(segmentation.legend(segmentation.RIGHT_WRONG, void=segmentation.has_void(picture.truth)))
    else:
        st.html(segmentation.legend({classes[each]: colors[each] for each in segmentation.present(painted)},
                                    void=any(map(segmentation.has_void, painted))))
    if view == HEAT:
        st.caption(SCALED)


def quality(scores: dict | None) -> list[str]:
    """How good an answer is to this picture, where the truth is known."""
    return [] if scores is None else [f"mIoU here {comparison.percent(scores['miou'])}",
                                      f"pixels right {comparison.percent(scores['pixel_accuracy'])}"]


def look(masks: dict[str, Any], picture: Picture, opacity: float) -> dict[str, Look]:
    """By network, what its tile shows: the picture with the heat map over it, the region's rim, and notes.

    masks: the networks' answers by reference, the teacher's first.
    """
    networks = {each: open_network(each) for each in masks}
    (first, *_), (first_mask, *_) = networks.values(), masks.values()
    stages = [tuple(stage.name for stage in network.stages) for network in networks.values()]
    name, where, method, layer = choose_heat(stages, first.classes)
    if where == TRUTH and picture.truth is None:
        st.info("The truth of this picture is not known, so each network's own region is explained.")
        where = OWN
    if name == LARGEST:
        target = segmentation.largest(first_mask if picture.truth is None else picture.truth, first.classes)
    else:
        target = first.classes.index(name)
    about = f"{first.classes[target]} · "
    if not heat_map_methods()[method]["uses_target"]:
        target, where, about = 0, WHOLE, ""
    looks = {}
    for own, (reference, mask) in zip(stages, masks.items(), strict=True):
        region = {OWN: mask, TRUTH: picture.truth, WHOLE: None}[where]
        region = None if region is None else segmentation.region_of(region, target)
        if region is not None and not region.any():
            whose = "The truth has" if where == TRUTH else "It sees"
            looks[reference] = Look("no heat map", notes=[
                f"{whose} no {first.classes[target]} here, so there is no region to explain."])
            continue
        if not own:
            looks[reference] = Look("no heat map", notes=[choosing.NO_MAPS])
            continue
        try:
            heat_map = mapped(reference, picture.key, target, where, method, own[-layer] if layer else None,
                              picture.image, region)
        except KDError as error:
            looks[reference] = Look("no heat map", notes=[str(error)])
            continue
        looks[reference] = Look(
            f"where it looks for {first.classes[target]}",
            picture=kdengine.explain.overlay(picture.shown, heat_map["heat"], opacity),
            rim=None if region is None else segmentation.outlined(region),
            notes=[about + map_note(heat_map)],
        )
    return looks


def map_note(heat_map: dict) -> str:
    """Where a map was taken and what to beware of."""
    where = "{}, {} × {} cells".format(heat_map["stage"], *heat_map["size"])
    if not any(map(any, heat_map["heat"])):
        return f"{where}: nothing here speaks for this class"
    return f"{where}: too coarse to say where" if min(heat_map["size"]) < 4 else where


def invite() -> None:
    """What to do where there is no picture yet."""
    with st.container(border=True):
        st.subheader("Bring a picture")
        st.markdown("Drop it into **Your picture** and see what the networks take each of its pixels for. It is "
                    "stretched to the size they were trained on; they know only their own classes.")
        st.markdown("**Nothing leaves this machine.** The picture is read by this program alone and is not kept.")


def explain_absence() -> None:
    """What to do where nothing segments yet."""
    st.title("Segmentation")
    st.info("There is no network here that segments. `make checkpoints` trains the shipped ones; or train one on the "
            "**Distill** page, with a data set of masks, such as *Shapes, pixel by pixel*. Once finished it can be "
            "chosen here.")


def page(all_families: dict[str, families.Family]) -> None:
    """The choices beside what is seen with them."""
    choices, view = st.columns([1, 3], gap="large")
    with choices:
        st.title("Segmentation")
        key = st.selectbox("Networks", list(all_families), key="mask family", bind="query-params",
                           format_func=families.titles(all_families).__getitem__)
        references = choose_networks(key, all_families[key])
    with view:
        references = openable(references, {each: entry.name for each, entry in all_families[key].networks.items()})
    if references:
        with choices:
            picture = choose_picture(all_families[key], references)
        names = forms.told_apart({each: all_families[key].networks[each].name for each in references})
        with view:
            if picture:
                try:
                    show(references, names, picture)
                except KDError as error:
                    show_error(error)
            else:
                invite()
            mask_results.show_classes(references, names)
            mask_results.show_others(all_families[key], references)


if all_families := kdengine.runs.families("segmentation"):
    page(all_families)
else:
    explain_absence()
