"""A sweep's file: what it asks for, against grids by hand; what it refuses; what is written is read again."""

import dataclasses
import itertools
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kdengine import methods
from kdengine.configuration import CLASS_WEIGHTS, COMPILE, DEVICES, LEARNING_RATES, PRECISIONS, SCHEDULES, Configuration
from kdengine.errors import KDError
from kdengine.recipes import sweep_file

TWO = """
data = "shapes"
teacher = "shapes-teacher"
epochs = 3
seeds = 2

[[method]]
method = "kd"
temperature = [1, 4.5]
alpha = [0.25, 0.5, 1]

[[method]]
method = "rkd"
"""


def test_lists_of_a_method_are_a_grid():
    sweep = sweep_file.read(TWO)
    shared = {"data": "shapes", "teacher": "shapes-teacher", "epochs": 3}
    assert sweep.students == [
        Configuration(**shared, method="none"),
        *(Configuration(**shared, method="kd", hyperparameters={"temperature": temperature, "alpha": alpha})
          for temperature, alpha in itertools.product((1.0, 4.5), (0.25, 0.5, 1.0))),
        Configuration(**shared, method="rkd", hyperparameters=dataclasses.asdict(methods.method("rkd"))),
    ]
    assert (sweep.seeds, sweep.teacher, sweep.lists) == (2, None, [{}] * 8)


def test_lists_above_the_methods_repeat_all_with_an_independent_student_each():
    sweep = sweep_file.read('labels_per_class = [5, 10]\nlearning_rate = [0.1, 0.2]\nteacher = "digits-teacher"\n'
                            '[[method]]\nmethod = "dkd"\n')
    expected = list(itertools.product((5, 10), (0.1, 0.2), ("none", "dkd")))
    assert [(each.labels_per_class, each.learning_rate, each.method) for each in sweep.students] == expected
    assert sweep.lists == [{"labels_per_class": labels, "learning_rate": rate} for labels, rate, _ in expected]
    single = sweep_file.read("labels_per_class = [5]")
    assert (single.students, single.lists) == ([Configuration(labels_per_class=5)], [{}])


@pytest.mark.parametrize(("text", "expected"), [
    ("", ["none"]),
    ("baseline = false\n[[method]]\nmethod = 'label_smoothing'", ["label_smoothing"]),
    ("[[method]]\nmethod = 'label_smoothing'", ["none", "label_smoothing"]),
    ("[[method]]\nmethod = 'label_smoothing'\n[[method]]\nmethod = 'none'", ["label_smoothing", "none"]),
])
def test_an_independent_student_is_added_unless_there_is_one_or_none_is_wanted(text, expected):
    assert [each.method for each in sweep_file.read(text).students] == expected


def test_an_added_independent_student_starts_from_nothing():
    """Only such a one is an independent twin, see `kdengine.runs.verdicts`."""
    none, kd = sweep_file.read('initial = "a-run"\nteacher = "t"\n[[method]]\nmethod = "kd"').students
    assert (none.initial, kd.initial) == (None, "a-run")


def test_a_table_for_the_teacher_takes_what_holds_for_every_network():
    sweep = sweep_file.read("""
data = "shapes"
student = "resnet8"
labels_per_class = 5
learning_rate = [0.1, 0.2]
epochs = 9
batch_size = 32
seed = 4
[teacher]
student = "resnet20"
epochs = 20
""")
    assert sweep.teacher == Configuration(data="shapes", student="resnet20", epochs=20, batch_size=32)
    assert [(each.teacher, each.seed, each.epochs) for each in sweep.students] == [(None, 4, 9)] * 2


KNOWN = ("data, student, teacher, initial, pretrained, labels_per_class, labelled_images, labelled_share, share, "
         "without_class, image_size, views, class_weights, epochs, batch_size, optimizer, learning_rate, momentum, "
         "weight_decay, schedule, warmup_epochs, seed, device, precision, threads, compile, seeds, baseline, method")


@pytest.mark.parametrize(("text", "sentence"), [
    ("data = 'digits'\nepochs 3",
     "This is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 8)."),
    ("a = " + 3000 * "[", "This is not valid TOML: maximum recursion depth exceeded"),
    ("epoch = 3", f"Unknown key 'epoch'. Did you mean 'epochs'? Known: {KNOWN}."),
    ("epochs = 0", "epochs is 0; allowed is a number of at least 1."),
    ("epochs = [1, 2]", "epochs is [1, 2]; allowed is a whole number."),
    ("epochs = 1979-05-27", "epochs is datetime.date(1979, 5, 27); allowed is a whole number."),
    ("seeds = 0", "seeds is 0; allowed is a number from 1 to 500."),
    ("seeds = true", "seeds is True; allowed is a whole number."),
    ("baseline = 1", "baseline is 1; allowed is true or false."),
    ("learning_rate = []", "learning_rate is an empty list; give one value at least."),
    ("learning_rate = nan", "learning_rate is nan; allowed is a number above 0."),
    ("teacher = 5", "teacher is 5; allowed is a text."),
    ("method = 'kd'", 'method is no list of tables; write [[method]] above each, and method = "kd" in it.'),
    ("[method]\nmethod = 'kd'", 'method is no list of tables; write [[method]] above each, and method = "kd" in it.'),
    ("[[method]]\ntemperature = 4",
     'Table [[method]] number 1 names no method; write method = "kd" in it, or another.'),
    ("[[method]]\nmethod = 'kdd'", "Unknown method 'kdd'. Did you mean 'kd'?"),
    ("[[method]]\nmethod = 'kd'\ntemprature = 4",
     "Unknown hyperparameter of kd 'temprature'. Did you mean 'temperature'? Known: temperature, alpha."),
    ("[[method]]\nmethod = 'kd'\nalpha = [0.5, 1.5]", "kd's alpha is 1.5; allowed is a number from 0 to 1."),
    ("[[method]]\nmethod = 'kd'\nalpha = []", "kd's alpha is an empty list; give one value at least."),
    ("[[method]]\nmethod = 'kd'\nalpha = [[1]]", "kd's alpha is [1]; allowed is a number."),
    ("[[method]]\nmethod = 'kd'\nname = 'x'",
     "Unknown hyperparameter of kd 'name'. Known: temperature, alpha."),
    ("[[method]]\nmethod = 'kd'\ntemperature = [1, 1.0]",
     "Two students are set alike: Logit matching, T 1, alpha 0.9. Leave one of them out."),
    ("[[method]]\nmethod = 'fsp_first'",
     "fsp_first runs before another method, which starts it by itself; name that one."),
    ("[[method]]\nmethod = 'os:getcwd'", "os:getcwd"),
    ("[teacher]\nstudent = 'resnet20'\nteacher = 'x'", "Unknown key of [teacher] 'teacher'."),
    ("[teacher]\nepochs = 3", '[teacher] names no network; write student = "resnet20" in it, or another.'),
    ("[teacher]\nstudent = 'resnet20'\nepochs = -3", "[teacher]: epochs is -3; allowed is a number of at least 1."),
    ("seeds = 3\n[[method]]\nmethod = 'kd'\ntemperature = [" + "1," * 20 + "]\nalpha = [" + "1," * 10 + "]",
     "The file asks for 600 students; allowed are 500. Take fewer values, or fewer seeds."),
])
def test_what_no_file_may_ask_for_is_refused_in_words(text, sentence):
    with pytest.raises(KDError) as refused:
        sweep_file.read(text)
    assert str(refused.value).startswith(sentence)


def test_a_grid_without_end_is_refused_before_it_is_written_out():
    sides = "".join(f"{name} = [{', '.join(['1'] * 1000)}]\n" for name in ("temperature", "alpha"))
    with pytest.raises(KDError, match="The file asks for 1,000,000 students"):
        sweep_file.read(f"[[method]]\nmethod = 'kd'\n{sides}")


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
OPTIMIZERS = tuple(LEARNING_RATES)


def numbers(low, high):
    return st.floats(low, high, allow_nan=False, exclude_min=low == 0 < high)


@st.composite
def methods_with_fields(draw):
    """A method's name and a value of each of its fields, anywhere in its range."""
    cls = methods.METHODS[draw(st.sampled_from(list(methods.METHODS)))]
    fields = {}
    for each in dataclasses.fields(cls):
        about = each.metadata
        if about["choices"]:
            fields[each.name] = draw(st.sampled_from(about["choices"]))
        elif isinstance(each.default, int):
            fields[each.name] = draw(st.integers(about["low"], about["high"]))
        else:
            fields[each.name] = draw(st.floats(about["low"], about["high"]))
    return {"method": cls.name, "hyperparameters": fields}


CONFIGURATIONS = st.builds(
    lambda chosen, **more: Configuration(**chosen, **more), methods_with_fields(),
    data=WORDS, student=WORDS, teacher=st.none() | WORDS, pretrained=st.booleans(),
    labels_per_class=st.none() | st.integers(1, 10**6), labelled_images=st.none() | st.integers(1, 10**6),
    labelled_share=st.floats(0, 1), share=numbers(0, 1), without_class=st.none() | st.integers(0, 99),
    image_size=st.none() | st.integers(8, 1024), views=st.none() | WORDS, class_weights=st.sampled_from(CLASS_WEIGHTS),
    epochs=st.integers(1, 10**4), batch_size=st.integers(2, 10**4), optimizer=st.sampled_from(OPTIMIZERS),
    learning_rate=st.none() | numbers(0, 10), momentum=st.floats(0, 0.9999), weight_decay=st.floats(0, 10),
    schedule=st.sampled_from(SCHEDULES), warmup_epochs=st.floats(0, 100), seed=st.integers(0, 2**63 - 1),
    device=st.sampled_from(DEVICES), precision=st.sampled_from(PRECISIONS), threads=st.none() | st.integers(1, 64),
    compile=st.sampled_from(COMPILE),
)


@given(CONFIGURATIONS, WORDS)
@example(Configuration(data="".join(map(chr, range(1, 256))), student="\u2028\U0001f600"), "A comment")
def test_what_is_written_is_read_again(configuration, heading):
    sweep = sweep_file.read(sweep_file.write([configuration], " ".join(filter(str.isprintable, heading))))
    assert sweep.students == [configuration]
    assert (sweep.seeds, sweep.teacher, sweep.lists) == (1, None, [{}])


def test_only_what_is_not_usual_is_written_but_every_hyperparameter():
    kd = Configuration(method="kd", hyperparameters={"temperature": 4}, teacher="digits-teacher", optimizer="adam",
                       seed=3)
    assert sweep_file.write([kd], "A comment") == """\
# A comment
data = "digits"
student = "resnet8"
teacher = "digits-teacher"
optimizer = "adam"
seed = 3
baseline = false

[[method]]
method = "kd"
temperature = 4.0
alpha = 0.9
"""


def test_a_group_of_several_seeds_is_one_file():
    group = [student for seed in (2, 3, 4) for student in sweep_file.read(f'seed = {seed}\n{TWO}').students]
    text = sweep_file.write(group, "A comment")
    assert "\nseed = 2\nseeds = 3\n" in text and "baseline" not in text
    again = sweep_file.read(text)
    assert again.students == group[:8]
    assert again.seeds == 3


def test_the_first_stage_that_a_method_gets_by_itself_is_not_written():
    fsp = Configuration(method="fsp", hyperparameters=dataclasses.asdict(methods.method("fsp")), teacher="t",
                        initial="its-first-stage")
    none = dataclasses.replace(fsp, method="none", hyperparameters={}, initial=None)
    assert "initial" not in sweep_file.write([none, fsp], "A comment")
    kd = dataclasses.replace(fsp, method="kd", hyperparameters={})
    assert tomllib.loads(sweep_file.write([kd], "A comment"))["initial"] == "its-first-stage"


@pytest.mark.parametrize(("changes", "sentence"), [
    ([{}, {"epochs": 8}], "One sweep file holds students with the same epochs; these have 30 and 8."),
    ([{}, {"student": "vgg8"}],
     "One sweep file holds students with the same student; these have 'resnet8' and 'vgg8'."),
    ([{"seed": 0}, {"seed": 2}],
     "One sweep file holds students with the same seeds, one after the other; these have the seeds 0, 2."),
    ([{"seed": 0}, {"seed": 1}, {"method": "label_smoothing"}],
     "One sweep file holds students with the same seeds, one after the other; these have the seeds 0, 0, 1."),
    ([{}, {}], "One sweep file holds students with the same seeds, one after the other; these have the seeds 0, 0."),
    ([{"hyperparameters": {"gone": 1}}], "Method 'none' has no hyperparameters; 'gone' was given."),
])
def test_students_that_one_file_cannot_hold_are_refused(changes, sentence):
    with pytest.raises(KDError) as refused:
        sweep_file.write([Configuration(**change) for change in changes], "A comment")
    assert str(refused.value) == sentence
