"""Makes chat examples: requests, and the passages of the tales that answer them.

Four kinds: a story about something named, a story continued, a conversation of several turns, and small talk.
"""
import random
from typing import NamedTuple

import phrases
from books import TALES
from corpus import Document
from nouns import listing, salient
from passages import begins_fresh, begins_late, first_sentence, passages

KINDS = ["story", "story_continue", "multi_turn", "small_talk"]  # in the arrays a kind is its index here
FABLE = 250  # words below which a whole tale is called a fable


class Example(NamedTuple):
    """One conversation."""

    kind: str  # one of KINDS
    turns: list[tuple[str, str]]  # (role, text)


def from_tales(documents: list[Document], rng: random.Random) -> list[Example]:
    """Examples from the passages of all tales; novels are left out."""
    examples: list[Example] = []
    for document in documents:
        if document.kind == TALES:
            parts = passages(document.paragraphs)
            for i, text in enumerate(parts):
                following = parts[i + 1] if i + 1 < len(parts) else None
                examples += from_passage(text, following, i == 0, len(parts) == 1, rng)
    return examples


def from_passage(text: str, following: str | None, first: bool, whole: bool, rng: random.Random) -> list[Example]:
    """Examples answered by ``text``. Openings and fables give several, a passage from the middle at most a few."""
    examples: list[Example] = []
    fable = whole and len(text.split()) < FABLE
    opening = first and not begins_late(text)
    beginning = opening or begins_fresh(text)

    about = phrases.ABOUT + phrases.SHORT * 3 if fable else phrases.ABOUT if beginning else phrases.SCENE
    for _ in range(4 if fable else 3 if opening else 1):
        question = ask(text, about, rng)
        if question and (beginning or rng.random() < 0.4):
            examples.append(example("story", dialogue(question, text), 0.08, rng))
    if opening and rng.random() < 0.6:
        examples.append(example("story", dialogue(rng.choice(phrases.PLAIN), text), 0.08, rng))

    if opening or rng.random() < 0.35:
        cut = first_sentence(text)
        if cut and len(cut[1].split()) > 40:
            question = rng.choice(phrases.CONTINUE).replace("{s}", cut[0])
            examples.append(example("story_continue", dialogue(question, cut[1]), 0.08, rng))

    if following is not None and (rng.random() < 0.6 if opening else beginning):
        question = ask(text, phrases.ABOUT, rng) or rng.choice(phrases.PLAIN)
        turns = dialogue(question, text) + dialogue(rng.choice(phrases.NEXT), following)
        if rng.random() < 0.3:
            turns = dialogue(rng.choice(phrases.HELLO), with_topic(rng.choice(phrases.HELLO_ANSWERS), rng)) + turns
        examples.append(example("multi_turn", turns, 0.08, rng))
    return examples


def small_talk(count: int, rng: random.Random) -> list[Example]:
    """Greetings, thanks, and questions the storyteller cannot answer, in one exchange or two."""
    examples = []
    weights = [weight for _, _, weight in phrases.SMALL_TALK]
    for _ in range(count):
        turns: list[tuple[str, str]] = []
        for _ in range(rng.choice([1, 1, 1, 2])):
            said, answered, _ = rng.choices(phrases.SMALL_TALK, weights)[0]
            turns += dialogue(rng.choice(said), with_topic(rng.choice(answered), rng))
        examples.append(example("small_talk", turns, 0.1, rng))
    return examples


def ask(text: str, requests: list[str], rng: random.Random) -> str | None:
    """A request that names one to three things the passage is about; None where it is about nothing we know."""
    nouns = salient(text)
    if not nouns:
        return None
    count = min(len(nouns), rng.choice([1, 1, 2, 2, 3]))
    named = listing(nouns[:count] if rng.random() < 0.6 else rng.sample(nouns, count))
    return rng.choice(requests).replace("{x}", named).replace("{X}", named[0].upper() + named[1:])


def dialogue(user: str, assistant: str) -> list[tuple[str, str]]:
    """One exchange."""
    return [("user", user), ("assistant", assistant)]


def with_topic(answer: str, rng: random.Random) -> str:
    """An answer with something to suggest in it."""
    return answer.replace("{t}", rng.choice(phrases.TOPICS))


def example(kind: str, turns: list[tuple[str, str]], system_share: float, rng: random.Random) -> Example:
    """An example, in ``system_share`` of the cases with a system message in front."""
    if rng.random() < system_share:
        turns = [("system", rng.choice(phrases.SYSTEM))] + turns
    return Example(kind, turns)
