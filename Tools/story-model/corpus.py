"""All tales of all books: repeated paragraphs dropped, some tales held out, read from and written to one file."""
import json
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from books import BOOKS
from clean import body, double_quotes
from errors import RecipeError
from tales import FEWEST_WORDS, split_tales, word_count

GRAM = 8  # words of the sequences by which a held-out tale is compared with the others
MOST_SHARED = 0.02  # of a held-out tale's sequences that training tales may contain


@dataclass
class Document:
    """A cleaned tale and where it belongs."""

    book: int  # Project Gutenberg number
    title: str
    kind: str  # books.TALES or books.NOVEL
    paragraphs: list[str]
    split: str = "train"  # or "val"

    @property
    def text(self) -> str:
        return "\n\n".join(self.paragraphs)


def read_books(raw: Path) -> list[Document]:
    """The tales of every ``raw/<number>.txt`` whose number is in ``BOOKS``.

    A paragraph of more than 80 characters that occurred before, in this or another edition, is dropped; a tale that
    loses more than half of its paragraphs that way is dropped whole.
    """
    seen: set[str] = set()
    documents = []
    for number, book in BOOKS.items():
        path = raw / f"{number}.txt"
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise RecipeError(f"{path} is not UTF-8; convert it, for example with iconv -f cp1252 -t utf-8.") from None
        for tale in split_tales(body(text, book)):
            kept = []
            paragraphs = double_quotes(tale.paragraphs)
            for paragraph in paragraphs:
                key = re.sub(r"\W+", "", paragraph.lower())
                if len(paragraph) > 80 and key in seen:
                    continue
                seen.add(key)
                kept.append(paragraph)
            if word_count(kept) >= FEWEST_WORDS and len(kept) >= 0.5 * len(paragraphs):
                documents.append(Document(number, tale.title, book.kind, kept))
    if not documents:
        raise RecipeError(f"{raw} holds no tale; it needs texts named <number>.txt, with the numbers of books.py.")
    return documents


def grams(document: Document, step: int = 1) -> list[int]:
    """Hashes of the sequences of ``GRAM`` words, case and punctuation aside, beginning at each ``step``-th word."""
    words = re.findall(r"[a-z]+", " ".join(document.paragraphs).lower())
    return [hash(tuple(words[i:i + GRAM])) for i in range(0, max(1, len(words) - GRAM), step)]


def hold_out(documents: list[Document], share: float, seed: int) -> int:
    """Move ``share`` of the tales to the split "val"; return how many.

    Twice as many are drawn; of these, in the books' order, those are taken that share less than ``MOST_SHARED`` of
    their sequences with the tales that were not drawn.
    """
    order = list(range(len(documents)))
    random.Random(seed).shuffle(order)
    drawn = set(order[:int(2 * share * len(documents))])
    known: set[int] = set()
    for i, document in enumerate(documents):
        if i not in drawn:
            known.update(grams(document))
    held_out = 0
    for i in sorted(drawn):
        sequences = grams(documents[i], step=2)
        shared = sum(gram in known for gram in sequences) / len(sequences)
        if shared < MOST_SHARED and held_out < share * len(documents):
            documents[i].split = "val"
            held_out += 1
    return held_out


def write(documents: list[Document], folder: Path) -> None:
    """``tales.jsonl``: one tale a line; ``books.json``: what each book gave."""
    with open(folder / "tales.jsonl", "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(asdict(document)) + "\n")
    summary: dict[int, dict[str, str | int]] = {}
    for document in documents:
        book = BOOKS[document.book]
        entry = summary.setdefault(document.book, {"title": book.title, "author": book.author, "kind": book.kind,
                                                   "tales": 0, "chars": 0})
        entry["tales"] += 1
        entry["chars"] += sum(len(paragraph) + 2 for paragraph in document.paragraphs)
    (folder / "books.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> list[Document]:
    """The documents of ``tales.jsonl``."""
    try:
        with open(folder / "tales.jsonl", encoding="utf-8") as file:
            return [Document(**json.loads(line)) for line in file]
    except FileNotFoundError:
        raise RecipeError(f"{folder / 'tales.jsonl'} does not exist; run once without --reuse.") from None
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{folder / 'tales.jsonl'} cannot be read ({error}); run without --reuse.") from None
