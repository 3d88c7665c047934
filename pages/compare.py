"""Compare: what several networks answer to one picture, where they look, and how far they agree."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pandas as pd
import streamlit as st
from PIL import Image

import kdengine
from explorer import choosing, compare_picture, comparison, families, fidelity, forms, objects, pinned
from explorer.choosing import (
    SCALED,
    heat_map_methods,
    layer_names,
    openable,
    summaries,
    telling_pair,
)
from explorer.compare_picture import Picture
from explorer.comparison import Card
from explorer.networks import open_network, warn_of_other_images
from explorer.wording import as_text, error_text, show_error
from kdengine import KDError, charts
from kdengine.colors import TEACHER, student_colors

LAST = "last"
OWN, FIRST, TRUTH, CLASS = "own", "first", "truth", "class"
OBJECT_IMAGES = 200
MEASURES = {"pointing": "Pointing game: hottest point in the box", "inside": "Share of the heat in the box"}


@st.cache_data(max_entries=512, show_spinner="Asking the networks …")
def predicted(reference: str, key: str, _image: Image.Image) -> dict:
    """One network's prediction for the picture with that key."""
    return kdengine.predict(open_network(reference), _image)


@st.cache_data(max_entries=512, show_spinner="Looking where they look …")
def mapped(reference: str, key: str, target: int, method: str, stage: str | None, _image: Image.Image) -> dict:
    """One network's heat map for the picture with that key. Opacity is no part of it: a new one costs no map."""
    heat_map = kdengine.explain.heat_map(open_network(reference), _image, target, method=method, stage=stage)
    return {name: heat_map[name] for name in ("heat", "stage", "size")}


@st.cache_data(max_entries=512, show_spinner=False)
def on_objects(reference: str, digest: str, method: str, _data: kdengine.data.DataSet) -> dict:
    """Whether one network's heat maps lie on the objects of the data set with that digest, which knows where they are.
    """
    result = kdengine.explain.heat_on_objects(open_network(reference), _data, method, OBJECT_IMAGES)
    assert result is not None
    return result


def choose_networks(key: str, family: families.Family) -> list[str]:
    """References, the one that the others are held against first."""
    if not family.data:
        st.caption(family.about)
        return list(family.networks)
    called = families.names(family)
    methods = {reference: entry.method for reference, entry in family.networks.items()}
    return choosing.choose_networks(
        key, called, family.first, lambda others: telling_pair(others, methods) or others[:2], role=family.first_role,
        help="Any network that knows these classes; the others are held against it.")


def at_epoch(family: families.Family, references: list[str]) -> list[str]:
    """The networks, the students as they were after the epoch that is chosen, where their weights of it were kept."""
    snapshots = {each: kdengine.runs.snapshots(each) for each in references[1:]}
    epochs = sorted(set.intersection(*map(set, snapshots.values()))) if snapshots else []
    if not epochs:
        return references
    choices: list[int | str] = [*epochs, LAST]
    epoch = st.select_slider("Students after epoch", choices, LAST, key="epoch", bind="query-params",
                             help="Answers, heat maps and agreement as they were then.")
    if epoch not in epochs:
        return references
    for each in references[1:]:
        entry = family.networks[each]
        family.networks[snapshots[each][epoch]] = replace(entry, name=f"{entry.name}, epoch {epoch}")
    return [references[0], *(snapshots[each][epoch] for each in references[1:])]


def choose_drawing(family: families.Family, stages: list[tuple[str, ...]], classes: tuple[str, ...]) -> tuple:
    """What to draw: heat-map method, layer, whose class is explained, that class if chosen, opacity in [0, 1], and the
    temperature of all answers.

    A layer is counted from the deepest, 1; 0 is the one each network would choose for itself.
    """
    methods = heat_map_methods()
    how, where, what, strength, soft = st.columns(5)
    method = how.selectbox("Heat map", list(methods), key="method", bind="query-params",
                           format_func=lambda each: methods[each]["title"], help=summaries(methods))
    layers = layer_names(stages)
    layer = layers.index(where.selectbox("Layer", layers, key="layer", bind="query-params",
                                         help="Automatic is the deepest layer of at least 4 × 4 cells."))
    wanted = {OWN: "its own answer", FIRST: f"the {family.first_role.lower()}'s answer",
              TRUTH: "the truth", CLASS: "a class you choose"}
    target = what.selectbox("Explain", list(wanted), key="target", bind="query-params",
                            format_func=wanted.__getitem__, disabled=not methods[method]["uses_target"],
                            help="The class whose score the map takes apart.")
    chosen = None
    if not methods[method]["uses_target"]:
        target = OWN
        what.caption(f"{methods[method]['title']} ignores the class.")
    elif target == CLASS:
        chosen = what.selectbox("Class", range(len(classes)), key="class", bind="query-params",
                                format_func=lambda each: classes[each], label_visibility="collapsed")
    opacity = strength.slider("Opacity", 0, 100, 50, 5, format="%d%%", key="opacity", bind="query-params")
    temperature = soft.slider("Temperature T", 1.0, 20.0, 1.0, 0.5, key="T", bind="query-params",
                              help="Softens the answers below, all alike. The order of the classes stays; so do heat "
                                   "maps and agreement, which are at T = 1.")
    return method, layer, target, chosen, opacity / 100, temperature


def show(family: families.Family, references: list[str], picture: Picture) -> None:
    """Controls, a card a network, the figures of agreement, and the download."""
    networks = [open_network(each) for each in references]
    classes = networks[0].classes
    stages = [tuple(stage.name for stage in network.stages) for network in networks]
    method, layer, whose, chosen, opacity, temperature = choose_drawing(family, stages, classes)
    if whose == TRUTH and picture.truth is None:
        st.info("The truth of this picture is not known, so each network's own answer is explained. Tell what it is "
                "beside the picture.")
        whose = OWN
    answers = [predicted(each, picture.key, picture.image) for each in references]
    own = [each["probabilities"].index(max(each["probabilities"])) for each in answers]
    colors = [TEACHER, *student_colors([family.networks[each].name for each in references[1:]])]
    cards, maps = [], []
    # One or two cards leave some width empty: wider pictures would push the answers below the screen.
    columns = st.columns([1] * len(references) + [2.6 - len(references)] * (len(references) < 3))
    for place, reference in enumerate(references):
        target = {OWN: own[place], FIRST: own[0], TRUTH: picture.truth, CLASS: chosen}[whose]
        heat_map, note = look(reference, stages[place], picture, target, method, layer)
        entry = family.networks[reference]
        card = Card(
            role=family.other_role if place else family.first_role, name=entry.name,
            inside=kdengine.explain.overlay(picture.inside, heat_map["heat"], opacity) if heat_map else picture.inside,
            probabilities=pinned.softened(answers[place]["logits"], temperature).tolist(),
            classes=classes, truth=picture.truth,
            color=colors[place],
        )
        cards.append(card)
        maps.append(heat_map and heat_map | {"target": target})
        with columns[place]:
            st.html(comparison.heading(card))
            # As JPEG: at this size a PNG takes a tenth of a second, at every step of the opacity.
            st.image(card.picture, width="stretch", output_format="JPEG",
                     alt=f"Where {entry.name} looks for {classes[target]}" if heat_map else "The picture alone")
            st.html(comparison.bars(card))
            st.caption(f"{as_text(entry.note)} · {note}{object_note(picture, heat_map)}")
    if picture.example:
        names = {each: family.networks[each].name for each in references}
        if not warn_of_other_images(names, picture.example[0]):
            show_misses(family, references)
    st.caption(SCALED)
    if len(cards) > 1:
        show_agreement(family, cards, answers, own, maps)
    title = heat_map_methods()[method]["title"]
    explained = "; ".join(
        f"{card.role.lower()}: " + (f"{classes[each['target']]} at {each['stage']}, {cells(each)}" if each else "none")
        for card, each in zip(cards, maps, strict=True))
    softened = f"\nAnswers softened at T = {temperature:g}." if temperature != 1 else ""
    caption = f"{title} of {explained}\n{SCALED}{softened}"
    st.download_button(
        "Download PNG", lambda: comparison.png(comparison.sheet(picture.inside, cards, caption)),
        f"compare-{re.sub(r'[^a-z0-9]+', '-', picture.name.lower()).strip('-') or 'picture'}-{method}.png",
        "image/png", on_click="ignore",
    )
    if picture.example:
        data, _ = picture.example
        show_objects(family, references, data)
    show_fidelity(family, references, picture, method, own[0])


def show_misses(family: families.Family, references: list[str]) -> None:
    """What one picture is worth as evidence: how many of all test images each network misses."""
    missed = {each: misses for each in references if (misses := kdengine.runs.misses(each))}
    counts = {count for _, count in missed.values()}
    if len(missed) < len(references) or len(counts) > 1:
        return
    (count,) = counts
    summary = ", ".join(f"{as_text(family.networks[each].name)} misses **{wrong}**"
                        for each, (wrong, _) in missed.items())
    st.markdown(f"One picture is an anecdote. Of all {count:,} test images {summary}.")


def look(
    reference: str, stages: tuple[str, ...], picture: Picture, target: int, method: str, layer: int
) -> tuple[dict | None, str]:
    """A network's heat map, None where it has none; and in Markdown where it was taken, or why there is none."""
    if not stages:
        return None, choosing.NO_MAPS
    try:
        heat_map = mapped(reference, picture.key, target, method, stages[-layer] if layer else None, picture.image)
    except KDError as error:
        return None, error_text(error)
    return heat_map, as_text(map_note(heat_map))


def cells(heat_map: dict) -> str:
    """A heat map's own size, height first."""
    return "{} × {} cells".format(*heat_map["size"])


def map_note(heat_map: dict) -> str:
    """Where a map was taken and what to beware of."""
    where = f"{heat_map['stage']}, {cells(heat_map)}"
    if not any(map(any, heat_map["heat"])):
        return f"{where}: nothing here speaks for this class"
    return f"{where}: too coarse to say where" if min(heat_map["size"]) < 4 else where


def object_note(picture: Picture, heat_map: dict | None) -> str:
    """How much of a map lies on the object, where there is one and the data set knows its place."""
    if not picture.example or not heat_map:
        return ""
    on = kdengine.explain.heat_on_object(heat_map["heat"], *picture.example)
    return f" · {on['inside']:.0%} of the heat on the object, {on['area']:.0%} of the picture" if on else ""


def show_agreement(
    family: families.Family, cards: list[Card], answers: list[dict], own: list[int], maps: list[dict | None]
) -> None:
    """One row a student: its answer and its map, where there is one, against the first network's."""
    first, other = family.first_role.lower(), family.other_role.lower()
    st.subheader(f"Agreement with the {first}")
    rows = []
    for card, answer, best, heat_map in zip(cards[1:], answers[1:], own[1:], maps[1:], strict=True):
        alike = kdengine.explain.compare_heat_maps(heat_map["heat"], maps[0]["heat"]) if heat_map and maps[0] else {}
        correlation, cosine, overlap = (alike.get(each, math.nan) for each in ("correlation", "cosine", "overlap"))
        rows.append({
            family.other_role: as_text(card.name),
            "Same class": "yes" if best == own[0] else "no",
            f"KL({first} ‖ {other}), nats": comparison.figure(kdengine.measures.kl_to_teacher(answer, answers[0])),
            "Maps: rank correlation": comparison.figure(correlation),
            "Maps: cosine": comparison.figure(cosine),
            "Maps: overlap of the top 20%": comparison.percent(overlap),
        })
    st.table(pd.DataFrame(rows).set_index(family.other_role))
    if len({each["target"] for each in maps if each}) > 1:
        st.caption("**These maps explain different classes.** Choose one class under *Explain* to compare where the "
                   "networks look for the same thing.")


def show_objects(family: families.Family, references: list[str], data: kdengine.data.DataSet) -> None:
    """Whether the heat lies on the objects of many test images, where the data set knows their places."""
    references = [each for each in references if open_network(each).stages]  # the others have no maps
    if data.boxes is None or not references:
        return
    section = st.expander("**Does the heat lie on the object?** Measured on many test images, which takes a while",
                          key="objects", bind="query-params")
    if not section.open:
        return
    titles = forms.told_apart({each: family.networks[each].name for each in references})
    if not titles[references[0]].startswith(family.first_role):
        titles[references[0]] += f" ({family.first_role.lower()})"
    methods = heat_map_methods()
    results: dict[str, dict[str, dict]] = {title: {} for title in titles.values()}
    with section:
        progress = st.progress(0.0)
        for place, reference in enumerate(references):
            for number, (method, about) in enumerate(methods.items()):
                done = (place * len(methods) + number) / (len(references) * len(methods))
                progress.progress(done, f"{about['title']} of {as_text(titles[reference])} …")
                measured = on_objects(reference, data.digest, method, data)
                results[titles[reference]][about["title"]] = measured
        progress.empty()
        st.markdown(objects.reading(results))
        for column, (measure, title) in zip(st.columns(2), MEASURES.items(), strict=True):
            column.altair_chart(charts.on_objects(objects.points(results, measure), measured["area"], title),
                                width="stretch")
        for measure, title in MEASURES.items():
            st.markdown(f"**{title}**, with its 95% interval")
            st.table(pd.DataFrame(objects.table(results, measure)).set_index(""))
        st.caption(
            f"Maps of the true class of the first {measured['n']} test images, at the automatic layer. The box is "
            "drawn around what is seen of the object that names the image. Point: in its own box, with its interval "
            "over the images, not over seeds. Tick, *other boxes*: the same maps in the other images' boxes, what they "
            "get without following their object; objects lie in the middle more often than at the edge, and so may "
            "heat. Dashed: the mean area of the boxes, what a map that prefers nothing gets. A box is not a mask: its "
            "corners hold background. A map on the object is no proof that the network decides by it.")


def show_fidelity(
    family: families.Family, references: list[str], picture: Picture, method: str, target: int
) -> None:
    """How much the students' maps are like the teacher's over many test images, where these are on this machine.

    target: the class that the teacher names for the picture.
    """
    with_maps = [each for each in references if open_network(each).stages]
    data = fidelity.test_images(family, references)
    if data is None or len(with_maps) < 2 or with_maps[0] != references[0]:
        return
    section = st.expander("**Over the whole test set: do they look where the teacher looks?** Measured on many test "
                          "images, which takes some seconds", key="fidelity", bind="query-params")
    if not section.open:
        return
    names = forms.told_apart({each: family.networks[each].name for each in with_maps})
    teacher, *students = (mapped(each, picture.key, target, method, None, picture.image)["heat"] for each in with_maps)
    alike = [kdengine.explain.compare_heat_maps(heat, teacher) for heat in students]
    with section:
        fidelity.show(names, data, method, alike, picture.example[1] if picture.example else None, look_at)


def look_at(index: int) -> None:
    """To a test image, with the maps that are measured over the whole test set."""
    st.session_state.update({"source": choosing.TEST_IMAGE, "target": FIRST, "layer": choosing.AUTOMATIC})
    choosing.go("image", index)


def invite(family: families.Family) -> None:
    """What to do where there is no picture yet."""
    with st.container(border=True):
        st.subheader("Bring a picture" if family.data else "Bring a photograph")
        st.markdown("Drop it into **Your picture** and see what the networks take it for, and where they look.")
        if not family.data:
            st.markdown("A dog, a church, a petrol pump: both know 1000 things. Nothing at hand? Try a sample.")
        st.markdown("**Nothing leaves this machine.** The picture is read by this program alone and is not kept.")


choices, view = st.columns([1, 3], gap="large")
all_families = kdengine.runs.families()
with choices:
    st.title("Compare")
    key = st.selectbox("Networks", list(all_families), key="family", bind="query-params",
                       format_func=families.titles(all_families).__getitem__)
    references = choose_networks(key, all_families[key])
with view:
    references = openable(references, {each: entry.name for each, entry in all_families[key].networks.items()})
if references:
    with choices:
        picture = compare_picture.choose_picture(all_families[key], references, open_network(references[0]).classes)
        then = at_epoch(all_families[key], references)
    with view:
        if picture:
            try:
                show(all_families[key], then, picture)
            except KDError as error:
                show_error(error)
        else:
            invite(all_families[key])
