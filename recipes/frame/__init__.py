"""What all recipes share: flags, trainings, resuming, verdicts, report, pictures. It knows no recipe.

Nothing heavy is imported here, so that `--help` is instant.
"""

from recipes.frame.recipe import Claim, Picture, Recipe, Training

__all__ = ["Claim", "Picture", "Recipe", "Training"]
