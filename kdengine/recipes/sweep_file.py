"""A sweep as a file: TOML with the fields of a configuration, and a table a method. Read, and written.

    data = "digits"
    teacher = "digits-teacher"
    labels_per_class = 5
    seeds = 3

    [[method]]
    method = "kd"
    temperature = [1, 4, 8]

What stands above the tables holds for every network. A list in a method's table is one side of its grid; a list of one
of LISTS trains everything once for each of its values.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdengine.configuration import LEARNING_RATES, Configuration
from kdengine.errors import KDError, out_of_range, unknown_name
from kdengine.runs.records import is_first_stage

LISTS = ("labels_per_class", "labelled_images", "learning_rate")
"""The fields of every student that may be lists."""
MOST = 500
"""Networks that one file may ask for."""
_METHOD = ("method", "hyperparameters")
_FIELDS = tuple(each.name for each in dataclasses.fields(Configuration) if each.name not in _METHOD)
_KEYS = (*_FIELDS, "seeds", "baseline", "method")
_STUDENTS_ALONE = ("student", "initial", "pretrained", "seed", "without_class", "labels_per_class", "labelled_images",
                   "labelled_share")
"""What the file says of its students, and not of the teacher that it has trained."""
_TEACHER = tuple(name for name in _FIELDS if name not in ("teacher", "initial"))
_USUAL = {each.name: each.default for each in dataclasses.fields(Configuration)}
_ALWAYS = ("data", "student")
"""What a file says even where it is the usual value: what it is about."""


@dataclass(frozen=True)
class Sweep:
    """What a file asks for.

    students: a configuration each, with all hyperparameters and the first seed; those of one `lists` beside each other.
    lists: of each student, its values of the fields that are lists of several. teacher: what is to be trained first, to
    teach them; None where they name one that is there, or have none. seeds: how many, counted from the students' own.
    """

    students: Sequence[Configuration]
    lists: Sequence[Mapping[str, Any]]
    teacher: Configuration | None
    seeds: int


def read(text: str) -> Sweep:
    """What a file's text asks for. Raises KDError for what is no TOML, with its line, and otherwise with its key.

    Nothing is looked up but methods and their hyperparameters: see `kdengine.recipes.check` for the rest.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise KDError(f"This is not valid TOML: {str(error).rstrip('.')}.") from error
    for name in content:
        if name not in _KEYS:
            raise unknown_name("key", name, _KEYS)
    seeds, baseline = _whole(content.pop("seeds", 1), "seeds"), content.pop("baseline", True)
    if not isinstance(baseline, bool):
        raise KDError(f"baseline is {baseline!r}; allowed is true or false.")
    methods = list(_methods(content.pop("method", [])))
    lists = {name: _values(content.pop(name), name) for name in LISTS if isinstance(content.get(name), list)}
    _require_few(seeds, [*lists.values()], methods)
    teacher = content.pop("teacher", None)
    if isinstance(teacher, dict):
        shared, own = content, _teacher(teacher, content)
    else:
        shared, own = content | {"teacher": teacher}, None
    students: list[Configuration] = []
    of_each: list[Mapping[str, Any]] = []
    for values in _grid(lists):
        together = [_student(shared | values, name, fields) for name, sides in methods for fields in _grid(sides)]
        if baseline and not any(each.method == "none" for each in together):
            together.insert(0, _student(shared | values | {"initial": None}, "none", {}))
        students += together
        of_each += [{name: value for name, value in values.items() if len(lists[name]) > 1}] * len(together)
    _require_different(students)
    return Sweep(students, of_each, own, seeds)


def write(configurations: Sequence[Configuration], comment: str) -> str:
    """The file of students that share all but method, hyperparameters and seed; `read` gives them again.

    comment: the first line. A value that is the usual one is left out, unless it is a hyperparameter; so is the first
    stage that a method gets by itself. Raises KDError for students that one file cannot hold, and for a method that is
    no more.
    """
    students = [dataclasses.asdict(_whole_student(each)) for each in configurations]
    for student, name in itertools.product(students, _FIELDS):
        if name != "seed" and student[name] != students[0][name]:
            raise KDError(f"One sweep file holds students with the same {name}; these have {students[0][name]!r} and "
                          f"{student[name]!r}.")
    methods: list[tuple[str, dict[str, Any]]] = []
    for student in students:
        if (each := (student["method"], student["hyperparameters"])) not in methods:
            methods.append(each)
    seeds = sorted({student["seed"] for student in students})
    if len(students) != len(methods) * len(seeds) or seeds[-1] - seeds[0] >= len(seeds):
        raise KDError("One sweep file holds students with the same seeds, one after the other; these have the seeds "
                      f"{', '.join(map(str, sorted(student['seed'] for student in students)))}.")
    usual = _USUAL | {"learning_rate": LEARNING_RATES[students[0]["optimizer"]]}
    top = students[0] | {"seed": seeds[0]}
    lines = [f"# {comment}"]
    lines += [_line(name, top[name]) for name in _FIELDS if name in _ALWAYS or top[name] != usual[name]]
    lines += [_line("seeds", len(seeds))] if len(seeds) > 1 else []
    lines += [] if any(name == "none" for name, _ in methods) else [_line("baseline", False)]
    for name, fields in methods:
        lines += ["", "[[method]]", _line("method", name), *(_line(key, value) for key, value in fields.items())]
    return "\n".join(lines) + "\n"


def _methods(tables: Any) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Each method's name and the values of its hyperparameters."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise KDError('method is no list of tables; write [[method]] above each, and method = "kd" in it.')
    for number, table in enumerate(tables, start=1):
        name = table.pop("method", None)
        if not isinstance(name, str):
            raise KDError(f'Table [[method]] number {number} names no method; write method = "kd" in it, or another.')
        yield name, {key: _values(value, f"{name}'s {key}") for key, value in table.items()}


def _values(value: Any, name: str) -> list[Any]:
    """The values of a list, or a single one."""
    if value == []:
        raise KDError(f"{name} is an empty list; give one value at least.")
    return value if isinstance(value, list) else [value]


def _grid(sides: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of one value of each; the last changes fastest."""
    return [dict(zip(sides, values, strict=True)) for values in itertools.product(*sides.values())]


def _student(shared: Mapping[str, Any], name: str, fields: Mapping[str, Any]) -> Configuration:
    """A student's configuration, each of its hyperparameters checked and said."""
    return Configuration(**shared, method=name, hyperparameters=_hyperparameters(name, fields))


def _hyperparameters(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    from kdengine import methods
    from kdengine.methods.contract import build

    if is_first_stage(name):
        raise KDError(f"{name} runs before another method, which starts it by itself; name that one.")
    return dataclasses.asdict(build(methods.find(name), name, dict(fields)))  # a field may be called `name`


def _teacher(table: dict[str, Any], shared: Mapping[str, Any]) -> Configuration:
    """The configuration of the teacher that a file has trained."""
    for name in table:
        if name not in _TEACHER:
            raise unknown_name("key of [teacher]", name, _TEACHER)
    if "student" not in table:
        raise KDError('[teacher] names no network; write student = "resnet20" in it, or another.')
    try:
        return Configuration(**{name: value for name, value in shared.items() if name not in _STUDENTS_ALONE} | table)
    except KDError as error:
        raise KDError(f"[teacher]: {error}") from error


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise KDError(f"{name} is {value!r}; allowed is a whole number.")
    if not 1 <= value <= MOST:
        raise out_of_range(name, value, 1, MOST)
    return value


def _require_few(
    seeds: int, lists: Sequence[Sequence[Any]], methods: Sequence[tuple[str, Mapping[str, Sequence[Any]]]]
) -> None:
    """Raise KDError for more networks than a file may ask for, before any of them is written out."""
    students = sum(math.prod(map(len, sides.values())) for _, sides in methods) or 1
    if (networks := seeds * math.prod(map(len, lists)) * students) > MOST:
        raise KDError(f"The file asks for {networks:,} students; allowed are {MOST}. Take fewer values, or fewer "
                      "seeds.")


def _require_different(students: Sequence[Configuration]) -> None:
    for place, student in enumerate(students):
        if student in students[:place]:
            from kdengine import methods

            raise KDError(f"Two students are set alike: {methods.titled(student.method, student.hyperparameters)}. "
                          "Leave one of them out.")


def _whole_student(configuration: Configuration) -> Configuration:
    """With all hyperparameters, and without the first stage that its method gets by itself."""
    from kdengine.runs.first_stages import first_stage

    fields = _hyperparameters(configuration.method, configuration.hyperparameters)
    initial = None if first_stage(configuration) else configuration.initial
    return dataclasses.replace(configuration, hyperparameters=fields, initial=initial)


def _line(name: str, value: Any) -> str:
    """A key and its value in TOML: a number, a text, true or false."""
    if isinstance(value, str):
        written = _quoted(value)
    else:
        written = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"{name if name.isascii() else _quoted(name)} = {written}"


def _quoted(text: str) -> str:
    """As in JSON, but for the one sign that JSON leaves as it is and TOML does not."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
