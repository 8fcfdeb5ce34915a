"""What these scripts say when they cannot go on: one sentence, no traceback."""
import sys
from collections.abc import Callable
from pathlib import Path


class RecipeError(Exception):
    """One sentence: what is wrong, where, and what would work."""


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; a ``RecipeError`` is printed and ends it with status 1."""
    try:
        main()
    except RecipeError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
