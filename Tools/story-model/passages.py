"""Cuts tales into the passages that the chat examples answer with, and judges how a passage begins."""
import re

SHORT_TALE = 400  # words up to which a tale stays whole
SENTENCE_END = re.compile(r"(?<=[.!?])(?<!Mr\.)(?<!Mrs\.)[ ]+(?=[\"'A-Z])")
FIRST_SENTENCE = re.compile(r"(?<!Mr)(?<!Mrs)(?<!St)[.!?][\"']?\s+(?=[\"'A-Z])")
# Openings that lean on something told before.
LATE = re.compile(
    r"""^(["'a-z]|(And|But|So|Then|This|That|These|Those|He|She|They|It|His|Her|Their|At last|Again|After)\b)""")
# Openings that could begin a tale.
FRESH = re.compile(
    r"^(Once|One (day|night|morning|evening|fine)|There (was|were|lived)|Long,? |Many years|"
    r"In (a|the) \w+ (there|lived)|(A|An|Two|Three|Some) [A-Za-z-]+)")
PRONOUN = re.compile(r"\b(he|she|they|his|her)\b")


def passages(paragraphs: list[str], low: int = 150, high: int = 350) -> list[str]:
    """Consecutive passages of whole paragraphs, about ``low`` to ``high`` words each.

    A paragraph of more than ``high`` + 50 words is broken at sentence ends; a last rest of less than 60 words is
    dropped. A tale of at most ``SHORT_TALE`` words is one passage.
    """
    if sum(len(paragraph.split()) for paragraph in paragraphs) <= SHORT_TALE:
        return ["\n\n".join(paragraphs)]
    pieces: list[str] = []
    for paragraph in paragraphs:
        pieces += split_at_sentences(paragraph) if len(paragraph.split()) > high + 50 else [paragraph]
    groups: list[tuple[list[str], int]] = []
    group: list[str] = []
    words = 0
    for piece in pieces:
        count = len(piece.split())
        if group and words + count > high:
            groups.append((group, words))
            group, words = [], 0
        group.append(piece)
        words += count
        if words >= low + 60:
            groups.append((group, words))
            group, words = [], 0
    if group:
        groups.append((group, words))
    return ["\n\n".join(group) for group, words in groups if 60 <= words <= high + 60]


def split_at_sentences(paragraph: str, most: int = 160) -> list[str]:
    """Pieces of whole sentences, at most ``most`` words each where the sentences allow it."""
    pieces, piece = [], ""
    for sentence in SENTENCE_END.split(paragraph):
        if piece and len((piece + sentence).split()) > most:
            pieces.append(piece)
            piece = ""
        piece = (piece + " " + sentence).strip()
    return pieces + [piece]


def first_sentence(text: str) -> tuple[str, str] | None:
    """The text cut after a first sentence of 6 to 45 words; None where there is no such place."""
    for match in FIRST_SENTENCE.finditer(text[:400]):
        words = len(text[:match.end()].split())
        if words > 45:
            return None
        if words >= 6:
            return text[:match.end()].strip(), text[match.end():].strip()
    return None


def begins_late(text: str) -> bool:
    """Does the first passage of a tale nevertheless begin in the middle of something?"""
    return bool(LATE.match(text))


def begins_fresh(text: str) -> bool:
    """Does a passage from inside a tale read like the beginning of one?"""
    return bool(FRESH.match(text)) and not PRONOUN.search(" ".join(text.split()[:7]))
