"""The books the story model was trained on, by Project Gutenberg number.

All of them are in the public domain in the United States, and no author among them is known to have died within the
last 70 years. The order matters: where two editions share a paragraph, the first book listed keeps it.
"""
from typing import NamedTuple

TALES = "tales"  # separate stories; also the source of the chat examples
NOVEL = "novel"  # one long story in chapters; read, never asked for
AFTERWORD = r"\n\s*notes( and references)?\s*\n"  # the heading of a scholarly appendix


class Book(NamedTuple):
    """What is needed to find and cut one book."""

    title: str
    author: str
    kind: str
    begins: str | None = None  # pattern whose last match opens the book's own text
    ends: str | None = None  # pattern whose first match in the second half closes it


BOOKS: dict[int, Book] = {
    503: Book("The Blue Fairy Book", "Andrew Lang", TALES),
    540: Book("The Red Fairy Book", "Andrew Lang", TALES),
    7277: Book("The Green Fairy Book", "Andrew Lang", TALES),
    640: Book("The Yellow Fairy Book", "Andrew Lang", TALES),
    641: Book("The Violet Fairy Book", "Andrew Lang", TALES),
    3027: Book("The Orange Fairy Book", "Andrew Lang", TALES),
    6746: Book("The Grey Fairy Book", "Andrew Lang", TALES),
    3282: Book("The Brown Fairy Book", "Andrew Lang", TALES),
    2435: Book("The Crimson Fairy Book", "Andrew Lang", TALES),
    5615: Book("The Pink Fairy Book", "Andrew Lang", TALES),
    27826: Book("The Olive Fairy Book", "Andrew Lang", TALES),
    3454: Book("The Lilac Fairy Book", "Andrew Lang", TALES),
    2591: Book("Grimms' Fairy Tales", "Jacob and Wilhelm Grimm", TALES),
    5314: Book("Household Tales", "Jacob and Wilhelm Grimm, tr. Margaret Hunt", TALES),
    1597: Book("Andersen's Fairy Tales", "Hans Christian Andersen", TALES),
    27200: Book("Fairy Tales of Hans Christian Andersen", "Hans Christian Andersen", TALES),
    11339: Book("Aesop's Fables; a new translation", "Aesop, tr. V. S. Vernon Jones", TALES),
    7885: Book("Celtic Fairy Tales", "Joseph Jacobs", TALES, ends=AFTERWORD),
    34453: Book("More Celtic Fairy Tales", "Joseph Jacobs", TALES, ends=AFTERWORD),
    7439: Book("English Fairy Tales", "Joseph Jacobs", TALES, ends=AFTERWORD),
    14241: Book("More English Fairy Tales", "Joseph Jacobs", TALES, ends=AFTERWORD),
    17034: Book("English Fairy Tales", "Flora Annie Steel", TALES, ends=AFTERWORD),
    7128: Book("Indian Fairy Tales", "Joseph Jacobs", TALES, ends=AFTERWORD),
    4018: Book("Japanese Fairy Tales", "Yei Theodora Ozaki", TALES),
    8933: Book("Popular Tales from the Norse", "P. C. Asbjornsen, tr. G. W. Dasent", TALES,
               begins=r"\n+TRUE AND UNTRUE\s*\n"),
    12851: Book("Folk Tales from the Russian", "Verra de Blumenthal", TALES),
    2198: Book("Stories from the Pentamerone", "Giambattista Basile", TALES),
    9368: Book("Welsh Fairy Tales", "William Elliot Griffis", TALES),
    7871: Book("Dutch Fairy Tales for Young Folks", "William Elliot Griffis", TALES),
    19461: Book("Tales of Wonder Every Child Should Know", "K. D. Wiggin, N. A. Smith", TALES),
    14916: Book("Fairy Tales Every Child Should Know", "H. W. Mabie", TALES),
    128: Book("The Arabian Nights Entertainments", "Andrew Lang", TALES),
    902: Book("The Happy Prince and Other Tales", "Oscar Wilde", TALES),
    873: Book("A House of Pomegranates", "Oscar Wilde", TALES),
    2781: Book("Just So Stories", "Rudyard Kipling", TALES),
    4357: Book("American Fairy Tales", "L. Frank Baum", TALES),
    23661: Book("The Book of Dragons", "Edith Nesbit", TALES),
    14838: Book("The Tale of Peter Rabbit", "Beatrix Potter", TALES),
    11757: Book("The Velveteen Rabbit", "Margery Williams", TALES),
    701: Book("The King of the Golden River", "John Ruskin", TALES),
    697: Book("The Light Princess", "George MacDonald", NOVEL),
    708: Book("The Princess and the Goblin", "George MacDonald", NOVEL),
    709: Book("The Princess and Curdie", "George MacDonald", NOVEL),
    225: Book("At the Back of the North Wind", "George MacDonald", NOVEL),
    11: Book("Alice's Adventures in Wonderland", "Lewis Carroll", NOVEL),
    12: Book("Through the Looking-Glass", "Lewis Carroll", NOVEL),
    16: Book("Peter Pan", "J. M. Barrie", NOVEL),
    55: Book("The Wonderful Wizard of Oz", "L. Frank Baum", NOVEL),
    420: Book("Dorothy and the Wizard in Oz", "L. Frank Baum", NOVEL),
    485: Book("The Road to Oz", "L. Frank Baum", NOVEL),
    517: Book("The Emerald City of Oz", "L. Frank Baum", NOVEL),
    957: Book("The Scarecrow of Oz", "L. Frank Baum", NOVEL),
    419: Book("The Magic of Oz", "L. Frank Baum", NOVEL),
    520: Book("The Life and Adventures of Santa Claus", "L. Frank Baum", NOVEL),
    500: Book("The Adventures of Pinocchio", "Carlo Collodi", NOVEL),
    236: Book("The Jungle Book", "Rudyard Kipling", NOVEL),
    1937: Book("The Second Jungle Book", "Rudyard Kipling", NOVEL),
    501: Book("The Story of Doctor Dolittle", "Hugh Lofting", NOVEL),
    20606: Book("The Magic City", "Edith Nesbit", NOVEL),
    3536: Book("The Enchanted Castle", "Edith Nesbit", NOVEL),
    17314: Book("Five Children and It", "Edith Nesbit", NOVEL),
    289: Book("The Wind in the Willows", "Kenneth Grahame", NOVEL),
}
