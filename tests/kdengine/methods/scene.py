"""A scene of a method of the registry, see `kdengine.testing.Scene`."""

from kdengine.methods import method
from kdengine.testing import Scene


def example(name, task=None, *, progress=20.0, **fields):
    """The method with these fields among toys; task: None is its first."""
    built = method(name, **fields)
    return Scene(built, task or built.tasks[0], progress=progress)
