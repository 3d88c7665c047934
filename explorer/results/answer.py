"""The results of one data set as an answer: what each method changed, then the table, and where to go from its rows."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

import kdengine
from explorer import families, networks, no_gain
from explorer.choosing import MOST_STUDENTS, telling_pair
from explorer.forms import link_names, linked_names, told_apart
from explorer.recipes import own_sweep
from explorer.wording import as_text
from kdengine import KDError, charts
from kdengine.runs import costs, results
from kdengine.runs.summary import Summary, latex

MOST_ROWS = 12
"""More methods than these are no picture; the table has them all."""
TICKED = "row"
"""Under which the ticked rows stand in the link, each by its first name."""
AGAINST = {"parameters": "Parameters", "milliseconds": "ms / image", "kl_to_teacher": "KL to teacher, nats"}


def titles(rows: Sequence[Summary]) -> dict[str, str]:
    """What the rows are called beside each other, by their first names; no two are called alike."""
    return told_apart({row.names[0]: _title(row, rows) for row in rows})


def _title(row: Summary, among: Sequence[Summary]) -> str:
    """A row's method with its settings, and in what else students differ."""
    if row.teaches:
        return "Teacher"
    students = [each for each in among if not each.teaches]
    parts = [kdengine.runs.method_title(row.method, row.hyperparameters)]
    if len({each.network for each in students}) > 1:
        parts.append(row.network)
    if len({each.labels for each in students}) > 1:
        parts.append(f"{row.labels:,} {'masks' if row.headline == 'mIoU' else 'labels'}")
    if len({each.epochs for each in students}) > 1:
        parts.append(f"{row.epochs} epoch{'s' if row.epochs > 1 else ''}")
    return " · ".join(parts)


def show_changes(rows: Sequence[Summary]) -> None:
    """A chart of what the methods changed, each against its independent student."""
    changed = [row for row in rows if row.change is not None]
    if not changed:
        st.info("Nothing here is held against an independent student yet. Train one with the same settings and seed: "
                "the method none.")
        return
    called = titles(rows)
    drawn = sorted(changed, key=lambda row: -abs(row.change or 0))[:MOST_ROWS]
    points = [{
        "label": called[row.names[0]], "change": 100 * row.change, "seeds": [100 * each for each in row.changes],
        "low": row.change_interval and 100 * row.change_interval[0],
        "high": row.change_interval and 100 * row.change_interval[1],
        "verdict": f"{row.verdict or 'no verdict'}, {len(row.changes)} seed{'s' if len(row.changes) > 1 else ''}",
    } for row in drawn if row.change is not None]
    st.altair_chart(charts.changes(points, rows[0].headline), width="stretch")
    left_out = f" The {MOST_ROWS} largest changes of {len(changed)}." if len(changed) > len(drawn) else ""
    st.caption("0 is the independent student of the same settings, data and seed. An interval that misses 0 is more "
               "than chance. With one seed that is said of these two networks on these images, with three or more of "
               f"the method. Both are corrected for how much is compared.{left_out}")


def show_table(rows: Sequence[Summary]) -> list[Summary]:
    """One row a method in a setting, its seeds averaged; returns the rows that are ticked."""
    headline = "Accuracy" if rows[0].headline == "accuracy" else rows[0].headline
    ordered, called = sorted(rows, key=lambda row: -row.score), titles(rows)
    names = [row.names[0] for row in ordered]
    key = "answer " + " ".join(names)
    linked = [names.index(name) for name in dict.fromkeys(linked_names(TICKED)) if name in names]
    if key not in st.session_state or _rows_of(key) != linked:
        st.session_state[key] = {"selection": {"rows": linked}}
    picked = st.dataframe(
        [cells(row, called[row.names[0]], headline) for row in ordered], width="stretch", hide_index=True,
        on_select=lambda: link_names(TICKED, [names[place] for place in _rows_of(key)]),
        selection_mode="multi-row", placeholder="–", key=key,
        column_config={"Change": st.column_config.NumberColumn(format="%+.2f pts"),
                       "KL to teacher": st.column_config.NumberColumn(format="%.4f"),
                       "Parameters": st.column_config.NumberColumn(format="compact"),
                       "Verdict": st.column_config.TextColumn(width=230)},
        alt="The results, one row per method and setting. The plain table further down has every run.",
    )
    with st.expander("As a plain table, for a screen reader or to copy from"):
        plain = [cells(row, called[row.names[0]], headline) for row in ordered]
        st.table([{name: as_text(_plain(name, value)) for name, value in row.items()} for row in plain],
                 hide_index=True)
    return [ordered[place] for place in picked["selection"]["rows"]]


def _rows_of(key: str) -> list[int]:
    """The places of the rows that are ticked in a table, as its state says it."""
    return list(st.session_state[key]["selection"]["rows"])


def _plain(name: str, value: object) -> str:
    """A cell of the plain table, rounded as in the other."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:+.2f} points" if name == "Change" else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def cells(row: Summary, title: str, headline: str) -> dict[str, object]:
    """A row as the table shows it."""
    seeds = f", {len(row.names)} seeds" if len(row.names) > 1 else ""
    sure = f" ({row.interval[0]:.1%} to {row.interval[1]:.1%})" if row.interval else ""
    return {
        "Method": f"{title}{seeds}", headline: f"{row.score:.2%}{sure}",
        "Change": None if row.change is None else 100 * row.change, "Verdict": row.verdict,
        "KL to teacher": row.kl_to_teacher, "Parameters": row.parameters, "Name": row.names[0],
    }


def offer_latex(rows: Sequence[Summary]) -> None:
    """The table, for a paper."""
    ordered, called = sorted(rows, key=lambda row: -row.score), titles(rows)
    st.download_button("Download LaTeX", latex(ordered, [called[row.names[0]] for row in ordered]), "results.tex",
                       "text/x-tex", help="For booktabs.", on_click="ignore")


def show_scatter(rows: Sequence[Summary]) -> None:
    """Accuracy against what a network costs, or against how far it is from its teacher."""
    against = st.segmented_control("Against", list(AGAINST), default="parameters", required=True, key="against",
                                   bind="query-params", persist_state="session", format_func=AGAINST.__getitem__)
    called = titles(rows)
    points = [_point(row, called[row.names[0]], against) for row in rows
              if against != "kl_to_teacher" or row.kl_to_teacher is not None]
    if not points:
        st.caption("None of these networks has a teacher that it was measured against.")
        return
    st.altair_chart(charts.scatter(points, AGAINST[against], f"Test {rows[0].headline}",
                                   logarithmic=against == "parameters"), width="stretch")
    if against == "milliseconds":
        st.caption(" ".join(_on_times(rows)))


def _point(row: Summary, label: str, against: str) -> dict[str, object]:
    """A row in the scatter. A time has its quartiles; one of a busy machine the word for it: its own would hide all
    others.
    """
    timed = against == "milliseconds"
    low, high = (timed and not row.speed.busy and row.speed.quartiles) or (None, None)
    return {"label": label, "x": row.speed.milliseconds if timed else getattr(row, against), "low": low, "high": high,
            "y": row.score, "note": costs.BUSY if timed and row.speed.busy else ""}


def _on_times(rows: Sequence[Summary]) -> list[str]:
    """How the times of networks are to be read, in sentences."""
    said = ["The median time for one image; a line reaches from the first to the third quartile."]
    if len({row.network for row in rows}) < len(rows):
        said.append("Networks of one architecture take the same time: what lies between their points is the machine, "
                    "not the method.")
    if any(row.speed.busy for row in rows):
        said.append("**busy**: other processes used the machine while the time was measured, so it says little of the "
                    "network.")
    return said


def show_chosen(chosen: Sequence[Summary]) -> None:
    """The curves of the rows that are ticked, and the way to Compare."""
    if not chosen:
        st.caption("Tick rows in the table to see how they learned, and to compare them on a picture.")
        return
    data = chosen[0].data
    family = kdengine.runs.families().get(data)
    students = [row.names[0] for row in chosen if family and row.names[0] in family.networks
                and row.names[0] != family.first]
    if family and students:
        students = students[:MOST_STUDENTS]
        pair = telling_pair(students, {each: family.networks[each].method for each in students})
        image = kdengine.runs.telling_example(family.first, *pair) if len(pair) == 2 else None
        st.page_link("../pages/compare.py", label="**Compare these**", icon=":material/compare:",
                     query_params=families.link(data, family.first, students, image or 0))
    called = titles(chosen)
    no_gain.show({called[row.names[0]]: row.names for row in chosen})
    own_sweep.offer([name for row in chosen for name in row.names])
    histories = {row.names[0]: results.history(row.names[0]) for row in chosen}
    accuracy, terms = st.columns(2)
    accuracy.altair_chart(charts.accuracy_curves(histories), width="stretch")
    terms.altair_chart(charts.term_curves(histories), width="stretch")


def warn_of_other_images(chosen: Sequence[Summary]) -> None:
    """Say which of the rows that are ticked were tested on other images than are here now.

    Opens the data set; where it is not here there is nothing that answers could be held against.
    """
    for size in dict.fromkeys(row.image_size for row in chosen):
        try:
            data = networks.open_data(chosen[0].data, size)
        except KDError:
            return
        networks.warn_of_other_images(
            {name: name for row in chosen if row.image_size == size for name in row.names}, data)


def name_of(data: str) -> str:
    """What a data set is called on screen."""
    titles = {each["name"]: each["title"] for each in kdengine.list_data()}
    return as_text(titles.get(data, data))
