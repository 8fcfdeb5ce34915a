#!/usr/bin/env python3
"""Tests of the cleaning, the splitting and the chat examples on made-up text. Standard library only:

  python3 Tools/story-model/test_recipe.py
"""
import random
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import chat_template
import corpus
import phrases
from books import BOOKS, NOVEL, TALES, Book
from chat_examples import KINDS, from_tales, small_talk
from clean import belongs_to_tale, body, clean_paragraph, double_quotes, lower_opening, to_ascii, without_insertions
from nouns import FORMS, listing, salient
from passages import begins_fresh, begins_late, first_sentence, passages
from tales import is_heading, split_tales

PLAIN = Book("A Toy Book", "Nobody", TALES)
NAMES = "Alder Birch Cedar Dogwood Elm Fir Gorse Hazel Ivy Juniper Larch Maple Nettle Oak Pine Quince".split()


def narration(seed: int, sentences: int) -> str:
    """Made-up prose of about ten words a sentence, different for each seed."""
    rng = random.Random(seed)
    return " ".join(f"The fox met {rng.choice(NAMES)} {rng.randint(2, 9) * 'very '}near {rng.choice(NAMES)}."
                    for _ in range(sentences))


def document(paragraphs: list[str], kind: str = TALES) -> corpus.Document:
    return corpus.Document(503, "A Tale", kind, paragraphs)


class Cleaning(unittest.TestCase):
    def test_text_becomes_plain_ascii(self):
        self.assertEqual(to_ascii("\u201cNa\u00efve\u201d \u2014 it\u2019s \u00e6on\u2026 \u4f60"),
                         '"Naive" -- it\'s aeon... ')

    def test_licence_is_cut_at_both_ends(self):
        text = "licence\r\n*** START OF THIS PROJECT GUTENBERG EBOOK TOY ***\r\nThe tale.\r\n*** END OF THIS PROJECT"
        self.assertEqual(body(text, PLAIN).strip(), "The tale.")
        old = "x\n*END*THE SMALL PRINT! y\nThe tale.\nEnd of Project Gutenberg's z"
        self.assertEqual(body(old, PLAIN), "The tale.")

    def test_a_book_begins_and_ends_where_its_entry_says(self):
        book = Book("", "", TALES, begins=r"\nFIRST\n", ends=r"\nnotes\n")
        text = "contents\nFIRST\nx\nFIRST\nNotes\n" + "The tale goes on. " * 20 + "\nNOTES\nsources"
        cut = body(text, book)
        self.assertTrue(cut.startswith("\nFIRST\nNotes\nThe tale"))
        self.assertTrue(cut.endswith("goes on. \n"))

    def test_insertions_and_markup_are_dropped(self):
        self.assertEqual(without_insertions("a[Illustration: b\nc] d {12}e<i>f</i> [12]g"), "a\n d ef g")

    def test_prose_is_joined_and_short_verse_keeps_its_lines(self):
        lines = ["  The _fox_ went out [3] into the wide and wintry and windy wood ,", "and -- so -- on."]
        self.assertEqual(clean_paragraph(lines),
                         "The fox went out into the wide and wintry and windy wood, and--so--on.")
        self.assertEqual(clean_paragraph(["Little fox,", "little crow,", "out you go."]),
                         "Little fox,\nlittle crow,\nout you go.")
        self.assertEqual(clean_paragraph(["Little fox,"] * 11), "")

    def test_notes_lists_and_headings_are_no_narration(self):
        for text in ("The fox ran.", "\"Well,\" said he, \"run!\""):
            self.assertTrue(belongs_to_tale(text), text)
        for text in ("", "III.", "The fox and the crow", "See vol. 3 of the same.", "It cost 12345678 and 9.",
                     "From an old book.", "(Told by a miller.)", "Transcribed by hand."):
            self.assertFalse(belongs_to_tale(text), text)

    def test_opening_capitals_are_lowered(self):
        self.assertEqual(lower_opening("ONCE UPON a time"), "Once upon a time")
        self.assertEqual(lower_opening("A FOX ran"), "A FOX ran")

    def test_single_speech_marks_become_double_ones_only_where_a_tale_uses_them(self):
        self.assertEqual(double_quotes(["'Run!' said the fox's wife, 'for 'tis late.'"]),
                         ["\"Run!\" said the fox's wife, \"for 'tis late.\""])
        double = ['"Run!" said the fox.', "'Tis late."]
        self.assertEqual(double_quotes(double), double)


class Splitting(unittest.TestCase):
    def test_headings_are_told_from_prose(self):
        for lines in (["THE FOX"], ["Chapter the Last"], ["The King and His Sons"], ["12. Another tale"], ["* * *"],
                      ["XIV."]):
            self.assertTrue(is_heading(lines), lines)
        for lines in ([""], ["The fox ran away."], ["and so it was"], ["One", "two", "three", "FOUR"], ["X" * 91]):
            self.assertFalse(is_heading(lines), lines)

    def test_tales_are_split_at_headings_and_front_matter_is_dropped(self):
        text = "\n\n".join(["before any heading " * 30 + ".", "PREFACE", narration(1, 20), "THE FOX AND THE ELM",
                            "ONCE " + narration(2, 10), "* * *", narration(3, 10), "CHAPTER II", narration(4, 12),
                            "THE SHORT ONE", "Too short to keep.", "NOTES", narration(5, 20)])
        tales = split_tales(text)
        self.assertEqual([tale.title for tale in tales], ["The Fox And The Elm"] * 2)
        self.assertEqual(tales[0].paragraphs, ["Once " + narration(2, 10), narration(3, 10)])
        self.assertEqual(tales[1].paragraphs, [narration(4, 12)])

    def test_repeated_paragraphs_are_dropped_across_books(self):
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder)
            first, second = narration(6, 12), narration(7, 12)
            (raw / "503.txt").write_text("THE FOX\n\n" + first)
            (raw / "540.txt").write_text(f"THE FOX AGAIN\n\n{first.lower()}\n\n{second}\n\nONCE MORE\n\n{first}")
            (raw / "999.txt").write_text("A BOOK WE DO NOT KNOW\n\n" + narration(8, 12))
            documents = corpus.read_books(raw)
            self.assertEqual([(d.book, d.title) for d in documents], [(503, "The Fox"), (540, "The Fox Again")])
            self.assertEqual(documents[1].text, second)
            corpus.write(documents, raw)
            self.assertEqual(corpus.read(raw), documents)

    def test_held_out_tales_share_no_wording_with_the_others(self):
        rng = random.Random(1)
        words = ["".join(rng.choices("abcdefgh", k=6)) for _ in range(4000)]
        documents = [document([" ".join(words[100 * i:100 * i + 100])]) for i in range(20)]
        documents += [document([narration(9, 40)]) for _ in range(20)]
        held_out = corpus.hold_out(documents, 0.1, seed=7)
        chosen = [i for i, d in enumerate(documents) if d.split == "val"]
        self.assertEqual(len(chosen), held_out)
        self.assertTrue(0 < held_out <= 4)
        self.assertTrue(all(i < 20 for i in chosen), chosen)


class ChatExamples(unittest.TestCase):
    def test_nouns_are_named_with_their_article(self):
        self.assertEqual([FORMS["wolves"], FORMS["foxes"], FORMS["oxen"]], ["wolf", "fox", "ox"])
        self.assertEqual(salient("The fox and the crow. Foxes! A crow, a fox, an owl. The king, a king."),
                         ["fox", "crow"])
        self.assertEqual(listing(["fox", "owl", "moon", "gold"]), "a fox, an owl, the moon and gold")

    def test_passages_are_whole_paragraphs_of_bounded_length(self):
        paragraphs = [narration(i, 8) for i in range(30)] + [narration(99, 80)]
        parts = passages(paragraphs)
        self.assertGreater(len(parts), 5)
        self.assertTrue(all(60 <= len(part.split()) <= 410 for part in parts))
        self.assertTrue(all(part.split("\n\n")[0] in " ".join(paragraphs) for part in parts))
        self.assertEqual(passages(paragraphs[:2]), ["\n\n".join(paragraphs[:2])])

    def test_first_sentence_and_the_kinds_of_beginning(self):
        self.assertEqual(first_sentence("Mr. Fox went out to see the world. Then he came home."),
                         ("Mr. Fox went out to see the world.", "Then he came home."))
        self.assertIsNone(first_sentence("No end"))
        self.assertTrue(begins_late("But the fox ran.") and not begins_late("Once the fox ran."))
        self.assertTrue(begins_fresh("There was a fox.") and not begins_fresh("One day he met the fox."))

    def test_examples_answer_with_the_tale_and_ask_for_what_it_is_about(self):
        fable = ["Once there was a fox. " + narration(11, 10)]
        examples = [e for seed in range(20) for e in from_tales([document(fable)], random.Random(seed))]
        self.assertEqual({e.kind for e in examples}, {"story", "story_continue"})
        for example in examples:
            roles = [role for role, _ in example.turns]
            self.assertIn(roles, (["user", "assistant"], ["system", "user", "assistant"]))
            question, answer = example.turns[-2][1], example.turns[-1][1]
            self.assertTrue(fable[0].endswith(answer))
            self.assertNotIn("{", question)
            if example.kind == "story":
                self.assertTrue("fox" in question.lower() or question in phrases.PLAIN, question)

    def test_a_long_tale_gives_conversations_and_a_novel_gives_nothing(self):
        long = ["Once there was a fox. " + narration(12, 30)] + [narration(13 + i, 30) for i in range(4)]
        examples = [e for seed in range(20) for e in from_tales([document(long)], random.Random(seed))]
        several = [e.turns for e in examples if e.kind == "multi_turn"]
        self.assertTrue(several)
        for turns in several:
            self.assertIn(turns[-2][1], phrases.NEXT)
            self.assertNotEqual(turns[-1][1], turns[-3][1])
        self.assertEqual(from_tales([document(long, NOVEL)], random.Random(1)), [])

    def test_small_talk_is_complete_and_repeatable(self):
        talk = small_talk(200, random.Random(3))
        self.assertEqual(talk, small_talk(200, random.Random(3)))
        self.assertEqual({e.kind for e in talk}, {"small_talk"})
        self.assertTrue(all("{t}" not in text for e in talk for _, text in e.turns))
        self.assertIn(talk[0].kind, KINDS)

    def test_only_the_assistants_turns_are_learned(self):
        characters = SimpleNamespace(encode=lambda text: SimpleNamespace(ids=[ord(c) for c in text]))
        ids, mask = chat_template.encode(characters, [("user", "Hi"), ("assistant", "Yes")])
        specials = {1: "<|im_start|>", 2: "<|im_end|>"}
        text = "".join(specials.get(i) or chr(i) for i in ids)
        self.assertEqual(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n")
        self.assertEqual("".join(specials.get(i) or chr(i) for i, m in zip(ids, mask) if m), "Yes<|im_end|>")


class Table(unittest.TestCase):
    def test_every_book_has_a_title_an_author_and_a_kind(self):
        self.assertEqual(len(BOOKS), 62)
        for number, book in BOOKS.items():
            self.assertTrue(number > 0 and book.title and book.author and book.kind in (TALES, NOVEL), number)


if __name__ == "__main__":
    unittest.main()
