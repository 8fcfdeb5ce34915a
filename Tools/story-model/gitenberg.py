"""Reads the plain text of the books out of clones of GITenberg repositories."""
import re
import subprocess
from pathlib import Path

from books import BOOKS
from errors import RecipeError


def copy_books(mirror: Path, raw: Path) -> int:
    """Write ``raw/<number>.txt`` for every known book found in ``mirror``; return how many.

    ``mirror`` holds clones, bare or not, named as upstream (``The-Blue-Fairy-Book_503``, with ``.git`` or not), either
    in that folder itself or in its subfolder ``repo``. Of a book's files the UTF-8 one is taken first, then the 8-bit
    one, then plain ASCII.
    """
    if not mirror.is_dir():
        raise RecipeError(f"--mirror {mirror} is not a folder; give one that holds clones named <Title>_<number>.")
    raw.mkdir(parents=True, exist_ok=True)
    found = 0
    for folder in sorted(mirror.iterdir()):
        name = re.search(r"_(\d+)(\.git)?$", folder.name)
        if not name or int(name[1]) not in BOOKS:
            continue
        number = name[1]
        repository = git_directory(folder)
        files = set(git(repository, "ls-tree", "-r", "--name-only", "HEAD").decode().split("\n"))
        for file in (f"{number}-0.txt", f"{number}-8.txt", f"{number}.txt"):
            if file in files:
                (raw / f"{number}.txt").write_text(decode(git(repository, "show", f"HEAD:{file}")), encoding="utf-8")
                found += 1
                break
    return found


def git_directory(folder: Path) -> Path:
    """The git directory of a clone that may be bare and may lie in ``repo``."""
    base = folder / "repo" if (folder / "repo").is_dir() else folder
    return base / ".git" if (base / ".git").is_dir() else base


def git(repository: Path, *arguments: str) -> bytes:
    """What a git command prints."""
    command = ["git", "-c", "safe.directory=*", f"--git-dir={repository}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise RecipeError("git is not on PATH; install it, or give the texts with --raw.") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().split("\n")[0]
        raise RecipeError(f"git could not read {repository} ({reason}); clone it again or move it away.") from None


def decode(data: bytes) -> str:
    """UTF-8 where it is; otherwise the Windows code page the older files were written in."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
