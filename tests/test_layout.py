"""The house stays in order: imports go downward, and nothing heavy loads on the way to the first page."""

import ast
import importlib
import itertools
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from types import FunctionType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = sorted(path for top in ("kdengine", "explorer", "pages") for path in (ROOT / top).rglob("*.py"))

FLOORS = (
    ("errors", "files", "paths", "colors", "trust", "configuration", "losses", "signals", "views", "devices"),
    ("data", "models", "methods"),
    ("measures",),
    ("training", "explain"),
    ("runs",),
    ("charts", "recipes"),
    ("__init__", "cli", "__main__", "testing"),
)
BESIDE = {
    # Within a floor, who may import whom.
    "files": {"errors"}, "paths": {"files"}, "trust": {"errors"}, "signals": {"errors", "losses"},
    "devices": {"errors"}, "configuration": {"errors", "files"}, "losses": {"errors"}, "views": {"errors", "losses"},
    "recipes": {"charts"}, "cli": {"__init__"}, "__main__": {"__init__", "cli"},
}
FACES = {"__init__", "__main__", "testing"}
"""What others see of the house: the package, the command, and the checks for what they build on it."""
MOST_ROOMS, MOST_LINES, MOST_FUNCTION_LINES = 20, 350, 60
FLOOR = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}


def imported(path):
    """Names of the kdengine modules a file imports anywhere, and of every other top-level package."""
    inside, outside = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "kdengine":
            names = [f"kdengine.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "kdengine":
                first = rest.partition(".")[0]
                inside.add(first if first in FLOOR else "__init__")
            else:
                outside.add(package)
    return inside, outside


def module_of(path):
    relative = path.relative_to(ROOT / "kdengine")
    return relative.parts[0].removesuffix(".py")


def test_every_module_has_its_floor():
    assert {module_of(path) for path in (ROOT / "kdengine").rglob("*.py")} == set(FLOOR)
    assert len(FLOOR.keys() - FACES) <= MOST_ROOMS


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_are_short_enough_to_be_read(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    functions = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.FunctionDef)]
    assert not [each.name for each in functions
                if each.end_lineno - each.lineno + 1 > MOST_FUNCTION_LINES]


def test_no_import_goes_in_a_circle():
    """Also those that wait for a call of a function: modules that need each other are one idea in two places."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
               for path in (ROOT / "kdengine").rglob("*.py")}
    graph = TopologicalSorter()
    for name, path in modules.items():
        graph.add(name, *needed(path, modules) - {name})
    graph.prepare()  # a CycleError names the circle


def needed(path, modules):
    """The modules that a file imports anywhere but for its types; a package where what it takes is no module."""
    tree = ast.parse(path.read_text())
    typing = {id(inside) for node in ast.walk(tree)
              if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
              for inside in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing and node.module in modules:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each if each in modules else node.module for each in full}
    return found


@pytest.mark.parametrize("part", ["kdengine", "kdengine.runs", "kdengine.data", "kdengine.recipes", "kdengine.explain"])
def test_a_face_names_all_that_it_offers(part):
    face = importlib.import_module(part)
    offered = {name for name, value in vars(face).items() if not name.startswith("_")
               and isinstance(value, FunctionType)}
    assert offered <= set(face.__all__) <= set(vars(face))


@pytest.mark.parametrize("path", sorted((ROOT / "kdengine").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path):
    module = module_of(path)
    inside, outside = imported(path)
    for other in inside - {module}:
        allowed = FLOOR[other] < FLOOR[module] or other in BESIDE.get(module, ())
        assert allowed, f"{module} (floor {FLOOR[module]}) imports {other} (floor {FLOOR[other]})"
    assert not outside & {"streamlit", "explorer", "pages"}


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*.py")), ids=lambda p: p.name)
def test_pages_do_no_arithmetic_and_no_training(path):
    inside, outside = imported(path)
    assert not outside & {"torch", "torchvision", "numpy", "pytorch_grad_cam"}
    assert inside <= {"__init__", "charts", "colors", "runs", "errors", "measures"}


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*.py")), ids=lambda p: p.name)
def test_no_page_holds_a_string_that_streamlit_would_print(path):
    statements = ast.parse(path.read_text()).body[1:]  # the first is the page's docstring
    assert not [each.lineno for each in statements
                if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)]


def test_readme_lists_the_pages_of_the_navigation():
    from explorer.pages import PAGES

    rows = (ROOT / "README.md").read_text().partition("| page |")[2].splitlines()[2:]
    assert [row.split("**")[1] for row in itertools.takewhile(bool, rows)] == list(PAGES)
    assert {title.lower() for title in PAGES} == {path.stem for path in (ROOT / "pages").glob("*.py")}


def loaded(code):
    """Heavy packages that a fresh process has loaded after running some code."""
    heavy = "torch", "torchvision", "sklearn", "scipy", "pytorch_grad_cam", "altair", "pandas", "streamlit"
    code += f"\nimport sys; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("code", [
    "import kdengine",
    "from kdengine.runs import store; store.all_runs()",
    "from kdengine.__main__ import main; main(['runs'])",
    "from kdengine.__main__ import main; main(['runs', '--json'])",
    "import kdengine; kdengine.list_checkpoints(); kdengine.runs.default_teacher('digits')",
    "import kdengine.colors, kdengine.runs.results",
    "import kdengine.runs.worker",
])
def test_nothing_heavy_loads_on_the_way_to_a_list_of_runs(code):
    assert loaded(code) == set()


def test_nothing_heavy_is_loaded_on_the_way_to_the_first_page():
    code = ("from streamlit.testing.v1 import AppTest; at = AppTest.from_file('explorer/app.py', default_timeout=30)"
            ".run(); assert not at.exception, at.exception; assert at.title")
    assert loaded(code) == {"streamlit"}


def requirements(lines):
    return sorted(line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip())


def test_the_package_asks_for_what_the_project_installs_and_holds_every_part():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["app"]]
    assert sorted(asked) == requirements((ROOT / "requirements.txt").read_text().splitlines())
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "kdengine").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == packages | {"kdengine.shipped"}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.name)
def test_benchmarks_need_no_tests(path):
    _, outside = imported(path)
    assert "tests" not in outside
