"""What every method and every network promises, as checks for those of one's own.

    from kdengine.testing import check_method, check_model

    def test_my_method():
        check_method(MyMethod)

    def test_my_network():
        check_model(my_network)

A promise that is broken raises AssertionError. The methods and networks of this program are held to the same ones.
"""

from kdengine.methods.scene import Scene, Toy
from kdengine.testing.methods import METHOD_PROMISES, check_method
from kdengine.testing.models import MODEL_PROMISES, check_model

__all__ = ["METHOD_PROMISES", "MODEL_PROMISES", "Scene", "Toy", "check_method", "check_model"]
