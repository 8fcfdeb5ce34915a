"""From a book's file to clean ASCII paragraphs: what is cut, and what is written differently."""
import re
import unicodedata

from books import Book

# Characters that Unicode does not decompose into ASCII, or that we want written another way.
CHARACTERS = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'", "`": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2014": "--", "\u2013": "-", "\u2015": "--", "\u2010": "-", "\u2011": "-", "\u2212": "-",
    "\u2026": "...", "\u00a0": " ", "\u00e6": "ae", "\u00c6": "Ae", "\u0153": "oe", "\u0152": "Oe",
    "\u00df": "ss", "\u00f8": "o", "\u00d8": "O", "\u0142": "l", "\u00f0": "d", "\u00fe": "th",
    "\u00a3": "pounds ", "\ufeff": "", "\u00ad": "",
})
LICENCE_START = re.compile(r"\*\*\*\s*START OF TH[EIS ]+PROJECT GUTENBERG.*?\*\*\*", re.S | re.I)
OLD_LICENCE_START = re.compile(r"\*END\W*THE SMALL PRINT.*?\n")
LICENCE_END = re.compile(r"\n\W*(\*\*\*\s*END OF TH|End of (the )?(this )?Project Gutenberg)", re.I)

INSERTED = re.compile(r"\[\s*(Illustration|Footnote|Transcriber|Note|FN|Picture|Image|Pg|Page)[^\]]*\]", re.I)
MARKUP = re.compile(r"\{\w+\}|<[^>\n]{1,60}>")
BRACKETED = re.compile(r"\[([^\]]{1,200})\]")

# Words of editors and producers. A paragraph with one of them is about the tale, not of it.
SCHOLARLY = re.compile(
    r"\b(ibid|op\. cit|cf\.|pp\.|vol\.|edit(or|ed) by|translated by|gutenberg|copyright|www\.|http|"
    r"e-?text|transcrib|proofread|footnote|folk-?lore|variants?\b|Professor|Madame d'Aulnoy|"
    r"Mdlle|Laboulaye|Cabinet des Fees|Asbjornsen|Moe\b|Kletke|Campbell's|Revue|Ethnolog|MSS?\.)", re.I)
PROVENANCE = re.compile(
    r"^(\(|\"?From |\[|Translated|Taken from|Adapted from|Told by|Story of )")  # where the editor had the tale from
LEADING_CAPITALS = re.compile(r"^([A-Z]{2,})(?=[ ,'])((?: [A-Z]{2,}\b)*)")


def to_ascii(text: str) -> str:
    """Plain ASCII: quotes and dashes straightened, accents dropped, anything else left out."""
    text = unicodedata.normalize("NFKD", text.translate(CHARACTERS))
    return text.encode("ascii", "ignore").decode("ascii")


def body(text: str, book: Book) -> str:
    """The book itself in ASCII: without the licence, the producer's notes and what ``book`` says to cut."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = LICENCE_START.search(text) or OLD_LICENCE_START.search(text)
    if start:
        text = text[start.end():]
    end = LICENCE_END.search(text)
    if end:
        text = text[:end.start()]
    text = to_ascii(text)
    if book.begins:
        openings = list(re.finditer(book.begins, text))  # the first ones are lines of the contents
        if openings:
            text = text[openings[-1].start():]
    if book.ends:
        closings = [m for m in re.finditer(book.ends, text, re.I) if m.start() > len(text) / 2]
        if closings:
            text = text[:closings[0].start() + 1]
    return text


def without_insertions(text: str) -> str:
    """Drop illustrations, footnotes, page numbers, markup and short remarks in brackets."""
    text = INSERTED.sub("\n", text)
    return BRACKETED.sub("", MARKUP.sub("", text))


def clean_paragraph(lines: list[str]) -> str:
    """One paragraph on one line, or a short verse on its own lines; empty where it should be dropped.

    Lines all shorter than 52 characters, 46 on average, are taken for verse; more than ten of them are dropped.
    """
    lines = [re.sub(r"\s+", " ", line).strip() for line in lines]
    verse = (len(lines) >= 2 and all(len(line) < 52 for line in lines)
             and sum(len(line) for line in lines) / len(lines) < 46)
    if verse and len(lines) > 10:
        return ""
    text = ("\n" if verse and len(lines) > 2 else " ").join(lines)
    text = text.replace("_", "").replace("=", "")  # italics and bold
    text = re.sub(r"\[\s*(\d+|[A-Z*])\s*\]|\(\d+\)|\{\d+\}|\*+", "", text)  # references to notes
    text = re.sub(r"\s*-{2,}\s*", "--", text)
    text = text.replace("''", '"')
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r" ([,;:.!?])", r"\1", text).strip()


def belongs_to_tale(paragraph: str) -> bool:
    """Is this narration, rather than a note, a list, a heading or a line of the contents?"""
    if not re.search("[a-z]{2}", paragraph):
        return False
    if SCHOLARLY.search(paragraph) or len(re.findall(r"\d", paragraph)) > max(4, len(paragraph) * 0.02):
        return False
    if len(paragraph) < 120 and paragraph[-1] not in ".,;:!?\"'-)":
        return False
    return not (len(paragraph) < 160 and PROVENANCE.match(paragraph) and paragraph[-1] in ").]\"")


def lower_opening(paragraph: str) -> str:
    """``ONCE UPON a time`` -> ``Once upon a time``: books set a chapter's first words in capitals."""
    return LEADING_CAPITALS.sub(lambda match: match.group(0).capitalize(), paragraph)


def double_quotes(paragraphs: list[str]) -> list[str]:
    """Turn 'single' speech marks into "double" ones, in a tale that mostly uses single ones."""
    text = "\n\n".join(paragraphs)
    if text.count('"') > 0.2 * len(re.findall(r"(?:^|[\s(-])'(?=\w)", text)):
        return paragraphs
    text = text.replace('"', "\0")  # quotes within quotes change places
    text = re.sub(r"(^|[\s(\-])'(?=[A-Za-z])(?!(tis|twas|twill|twere|em|tother)\b)", r'\1"', text)
    text = re.sub(r"(?<=[,.!?;\-])'(?!\w)", '"', text)
    return text.replace("\0", "'").split("\n\n")
