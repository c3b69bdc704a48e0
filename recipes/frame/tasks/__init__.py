"""What a net learns: its loss, its metrics, and what became of it in a word. Nothing else knows them."""

from recipes.frame.tasks.classification import Classification
from recipes.frame.tasks.regression import Regression
from recipes.frame.tasks.untrained import Untrained

__all__ = ["Classification", "Regression", "Untrained"]
