"""Splits a cleaned book into its tales, by its headings."""
import re
from typing import NamedTuple

from clean import belongs_to_tale, clean_paragraph, lower_opening, without_insertions

FEWEST_WORDS = 60  # what is shorter is no tale
HEADING_NUMBER = re.compile(r"^(chapter|part|book|section|story|no)?\.?\s*([ivxlc]+\b|\d+)\.?\)?\s*[-:.]*\s*", re.I)
CHAPTER = re.compile(r"^(chapter|part|book)\s+([ivxlc]+|\d+|[a-z]+)\b", re.I)
# Headings of what is not a tale.
NOT_A_TALE = re.compile(
    r"^(the )?(preface|introduction|introductory|contents|table of contents|illustrations|list of|notes?\b|"
    r"footnotes?|glossary|index|bibliograph|dedication|transcriber|translator|appendix|advertis|"
    r"credits|colophon|by the same|books by|to the (reader|children)|oyez|how to get into|"
    r"man or woman|bibliography|parallels|remarks|source\b)", re.I)


class Tale(NamedTuple):
    """One tale of a collection, or one chapter of a novel."""

    title: str
    paragraphs: list[str]


def word_count(paragraphs: list[str]) -> int:
    """Words, as separated by white space."""
    return sum(len(paragraph.split()) for paragraph in paragraphs)


def is_heading(lines: list[str]) -> bool:
    """Does a block of lines look like a heading: a chapter number, capitals, or a few capitalised words?

    A row of ornaments or a bare number counts as one; ``split_tales`` tells them apart.
    """
    text = " ".join(lines).strip()
    if not text or len(text) > 90 or len(lines) > 3:
        return False
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return True
    if CHAPTER.match(text) and len(text) < 80:
        return True
    if len(letters) > 2 and sum(c.isupper() for c in letters) / len(letters) > 0.8:
        return True
    if len(lines) == 1 and len(text) < 60 and text[-1] not in ".,;:!?\"'-" and text[0].isupper():
        words = text.split()
        capitalised = sum(word[0].isupper() for word in words if word[0].isalpha())
        return capitalised >= 0.5 * len(words)
    return bool(re.match(r"^\d+\.? +[A-Z]", text)) and len(text) < 70


def split_tales(text: str) -> list[Tale]:
    """The tales of a book's text (see ``clean.body``), in order.

    Nothing before the first heading is kept, nor anything under a heading like "Preface", nor a tale of less than
    ``FEWEST_WORDS`` words. A chapter number without a name begins a new tale under the last name.
    """
    tales: list[Tale] = []
    title, paragraphs, skipping = "", [], True
    for block in re.split(r"\n[ \t]*\n+", without_insertions(text)):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        if is_heading(lines):
            whole = re.sub(r"\s+", " ", " ".join(lines)).strip(" *_.")
            if not re.search("[A-Za-z0-9]", whole):
                continue  # ornaments are no boundary
            keep(tales, title, paragraphs)
            paragraphs = []
            name = HEADING_NUMBER.sub("", whole).strip()
            if not re.search("[A-Za-z]{2}", name):
                skipping = False
                continue
            title = name.title() if name.isupper() else name
            skipping = bool(NOT_A_TALE.match(name) or NOT_A_TALE.match(whole))
        elif not skipping:
            paragraph = clean_paragraph(lines)
            if belongs_to_tale(paragraph):
                paragraphs.append(lower_opening(paragraph))
    keep(tales, title, paragraphs)
    return tales


def keep(tales: list[Tale], title: str, paragraphs: list[str]) -> None:
    """Add a tale that is long enough."""
    if word_count(paragraphs) >= FEWEST_WORDS:
        tales.append(Tale(title, paragraphs))
