"""Learn: each step asks before it answers, and is done when it was done."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import kdengine
from explorer import digits
from explorer.learn import attention, question, square
from kdengine.runs import control, store, worker
from tests.pages.test_demonstration import configuration

APP = Path(__file__).resolve().parent.parent.parent / "explorer" / "app.py"
RIGHT = {1: ("looks like", "9"), 3: ("square", "about a twenty-fifth"),
         6: ("connector", "A layer between them"), 7: ("where", "A lot, above 0.8")}
"""Steps that a right answer ends."""
WRONG = {1: ("looks like", "0"), 2: ("limit", "They stay as they are"), 3: ("square", "as large as before"),
         4: ("alpha", "Nothing"), 6: ("connector", "A smaller teacher"), 7: ("where", "Hardly, below 0.5"),
         8: ("helps", "It helps")}


def opened(step, **query):
    at = AppTest.from_file(str(APP), default_timeout=120)
    at.query_params.update({"step": str(step)} | query)
    at.switch_page("../pages/learn.py").run()
    assert not at.exception, at.exception
    return at


def answer(at, key, option):
    at.radio(key=f"answer {key}").set_value(option).run()
    assert not at.exception, at.exception


def words(at):
    return " ".join(each.value for kind in ("subheader", "markdown", "caption", "success", "warning")
                    for each in getattr(at, kind))


@pytest.mark.parametrize("step", RIGHT)
def test_a_right_answer_ends_a_step(step):
    at = opened(step)
    assert "Steps done, of 8: none yet." in words(at)
    answer(at, *RIGHT[step])
    assert f"Steps done, of 8: {step}." in words(at)
    assert at.query_params["done"] == str(step)
    assert len(at.success) == 1 and not at.warning


@pytest.mark.parametrize("step", WRONG)
def test_a_wrong_answer_is_explained_and_ends_nothing(step):
    at = opened(step)
    answer(at, *WRONG[step])
    assert "Choose again." in at.warning[0].value and not at.success
    assert "Steps done, of 8: none yet." in words(at)


def test_softmax_is_done_once_the_limit_is_known_and_t_was_moved():
    at = opened(2)
    answer(at, "limit", "Each gets 10%")
    assert "Now see it happen" in words(at)
    assert "none yet" in words(at)


def test_alpha_is_done_once_both_ends_were_seen():
    at = opened(4)
    answer(at, "alpha", "As much as from one with a label")
    for alpha in (1.0, 0.0):
        assert "none yet" in words(at)
        at.slider(key="lesson alpha").set_value(alpha).run()
    assert "Steps done, of 8: 4." in words(at)


def test_three_mistakes_and_the_right_answer_end_the_last_step():
    at = opened(8)
    answer(at, "helps", "Three runs do not tell")
    for mistake in ("swapped", "element_mean"):
        assert "none yet" in words(at)
        at.radio(key="lesson mistake").set_value(mistake).run()
        assert not at.exception
    assert "Steps done, of 8: 8." in words(at)
    assert at.metric[1].value == "0.10 x"  # ten classes


def test_the_demonstration_ends_the_fifth(waiting):
    runs = control.submit([configuration("kd", temperature=4.0, alpha=1.0), configuration("none")])
    group = store.read(runs[0]).group
    assert "none yet" in words(opened(5, demo=group))
    worker.work(runs)
    assert "Steps done, of 8: 5." in words(opened(5, demo=group))


@pytest.mark.parametrize("step", WRONG)
def test_a_step_that_the_link_says_is_done_shows_its_answer(step):
    at = opened(step, done=str(step))
    assert len(at.success) == 1 and not at.warning


def test_the_agreement_that_is_asked_for_stays_while_another_digit_is_looked_at():
    at = opened(7)
    answer(at, *RIGHT[7])
    at.select_slider(key="lesson class").set_value(9).run()
    assert not at.exception and len(at.success) == 1


def test_one_goes_on_and_back():
    at = opened(3)
    next(each for each in at.button if each.label == "Next").click().run()
    assert "4. Label or teacher: alpha" in words(at)
    next(each for each in at.button if each.label == "Back").click().run()
    assert "3. Why T squared" in words(at)


@pytest.mark.parametrize("link", ["", "19x", "9", "88"])
def test_a_strange_progress_in_the_link_is_read_as_far_as_it_makes_sense(link):
    at = opened(1, done=link)
    assert not at.exception
    steps = sorted({int(each) for each in link if each in "12345678"})
    assert f"Steps done, of 8: {', '.join(map(str, steps)) or 'none yet'}." in words(at)


def test_without_the_shipped_networks_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("KDENGINE_CHECKPOINTS", str(tmp_path / "none"))
    assert "make checkpoints" in opened(1).info[0].value


def test_what_the_questions_rest_on_is_so():
    """The digit, the shipped networks and the numbers that the right answers name."""
    teacher = digits.logits(digits.TEACHER_NAME, 24)
    order = sorted(range(10), key=lambda place: -teacher[place])
    assert order[:4] == [4, 8, 9, 1]
    lengths = [sum(each**2 for each in square.parts(temperature)["gradients"]["kl"]) ** 0.5 for temperature in (4, 20)]
    assert 20 < lengths[0] / lengths[1] < 40
    shipped = digits.kdengine.list_checkpoints()
    maps = {each: attention.look_at(each, shipped[each]["digest"], 4)["heat"] for each in digits.TITLES}
    cosine = {each: digits.kdengine.explain.compare_heat_maps(maps[each], maps[digits.TEACHER_NAME])["cosine"]
              for each in (digits.ALONE, digits.TAUGHT)}
    assert cosine[digits.TAUGHT] > 0.8 and cosine[digits.ALONE] > 0.8
    assert question.DONE == "done"


@pytest.fixture
def brief(monkeypatch):
    """A short run that is shorter still; what the engine gave is in the list, one item a run."""
    trained = []

    def train(mistake, teacher, data, setting, seed):
        rows = []
        trained.append((mistake, seed, rows))
        for row in train_with_mistake(mistake, teacher, data, setting, seed):
            rows.append(row)
            yield row

    train_with_mistake = kdengine.explain.train_with_mistake
    setting = replace(kdengine.explain.SHORT_RUN, epochs=2, share=0.05, labels_per_class=1)
    monkeypatch.setattr(kdengine.explain, "SHORT_RUN", setting)
    monkeypatch.setattr(kdengine.explain, "train_with_mistake", train)
    return trained


def train(at):
    next(each for each in at.button if each.label == "Train with this mistake").click().run()
    assert not at.exception, at.exception


def finals(rows):
    """What the page says of the last epoch."""
    right, wrong = (f"{rows[-1][key]:.1%}" for key in ("right", "wrong"))
    return f"Right: **{right}**, with the mistake: **{wrong}**, after 2 epochs; one run each."


def test_a_short_run_is_trained_on_a_click_and_stays(brief):
    at = opened(8, **{"lesson effect": "A short run with it", "lesson mistake": "Softmax is applied twice"})
    assert brief == []
    assert "one run each" not in words(at)
    train(at)
    (mistake, seed, rows), = brief
    assert (mistake, seed, [row["epoch"] for row in rows]) == ("softmax_twice", 0, [1, 2])
    assert finals(rows) in words(at)
    assert "train again for others" in words(at)
    mean, deviation = next(each["gap"] for each in kdengine.explain.list_mistakes() if each["name"] == mistake)
    assert f"{mean:+.1f} points at the mean, standard deviation {deviation:.1f}." in words(at)
    at.radio(key="lesson mistake").set_value("swapped").run()
    assert "one run each" not in words(at)
    at.radio(key="lesson mistake").set_value("softmax_twice").run()
    assert finals(rows) in words(at)
    at.segmented_control(key="step").set_value(7).run()
    at.segmented_control(key="step").set_value(8).run()
    assert finals(rows) in words(at)
    assert len(brief) == 1


def test_a_second_click_takes_other_first_weights(brief):
    at = opened(8, **{"lesson effect": "A short run with it"})
    train(at)
    train(at)
    (_, first, _), (_, second, rows) = brief
    assert (first, second) == (0, 1)
    assert finals(rows) in words(at)
    gaps = ", ".join(f"{100 * (each[-1]['wrong'] - each[-1]['right']):+.1f}" for _, _, each in brief)
    assert f"Your 2 runs, each from other first weights: {gaps} points." in words(at)


def test_a_new_session_finds_nothing_trained(brief):
    train(opened(8, **{"lesson effect": "A short run with it"}))
    again = opened(8, **{"lesson effect": "A short run with it"})
    assert len(brief) == 1
    assert "one run each" not in words(again)
    assert len(again.get("vega_lite_chart")) == 1  # that of the measured table


@pytest.mark.parametrize(("differ", "told"), [(True, "the two networks differ"), (False, "cannot be told apart")])
def test_a_run_is_judged_by_what_the_engine_found(differ, told, monkeypatch):
    row = {"epoch": 1, "right": 0.5, "wrong": 0.25, "count": 40, "differ": differ}
    monkeypatch.setattr(kdengine.explain, "train_with_mistake", lambda *arguments, seed: iter([row]))
    at = opened(8, **{"lesson effect": "A short run with it"})
    train(at)
    assert told in words(at)
    assert "Right: **50.0%**, with the mistake: **25.0%**, after 1 epochs" in words(at)


def test_who_has_done_all_eight_is_told_where_to_go_on():
    assert "All eight are done" not in " ".join(each.value for each in opened(8, done="1234567").success)
    assert "All eight are done" in " ".join(each.value for each in opened(1, done="12345678").success)
