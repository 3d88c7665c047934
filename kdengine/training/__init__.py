"""Training: several students side by side on the same views and, where there is one, the same teacher."""

from kdengine.training.learner import Learner, check_task
from kdengine.training.loop import train

__all__ = ["Learner", "check_task", "train"]
