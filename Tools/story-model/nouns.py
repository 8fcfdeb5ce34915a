"""What a passage is about: the fairy-tale nouns a chat example may ask for."""
import re

# Singular forms, with the plural after a colon where it is not regular.
NOUNS = """
fox crow wolf:wolves bear lion tiger mouse:mice rat cat dog hound horse donkey ass cow ox:oxen bull calf:calves goat
kid sheep:sheep lamb pig hen cock goose:geese duck duckling swan stork eagle owl raven nightingale sparrow swallow
bird dove pigeon parrot peacock frog toad snake serpent dragon monster giant ogre ogress troll dwarf:dwarfs elf:elves
fairy:fairies witch wizard magician sorcerer goblin mermaid ghost king queen prince princess emperor sultan knight
soldier captain sailor fisherman:fishermen huntsman:huntsmen hunter shepherd shepherdess miller tailor shoemaker
cobbler blacksmith smith baker cook butcher woodcutter woodman:woodmen farmer peasant merchant thief:thieves robber
beggar hermit priest parson judge doctor barber weaver spinner gardener servant maid nurse stepmother stepdaughter
stepsister grandmother grandfather widow orphan twins child:children boy girl baby:babies bride bridegroom castle
palace tower cottage hut mill forest wood garden orchard mountain hill cave river well lake sea island ship boat
bridge ring crown sword spear bow arrow cloak slipper shoe mirror key lamp candle purse gold treasure diamond pearl
apple pear cherry:cherries nut rose lily:lilies flower tree oak fir-tree bean turnip pumpkin cabbage egg feather
fish:fish whale crab tortoise turtle snail spider bee ant fly:flies grasshopper butterfly:butterflies beetle hedgehog
hare rabbit squirrel monkey ape elephant camel crocodile jackal leopard deer:deer stag doe fawn lark wren robin kite
hawk moon sun star wind snow storm cloud rain winter fire kettle pot spindle needle thread doll toy broom drum fiddle
harp flute pipe bell clock book letter bread cake pie soup milk honey cheese coat hat sack basket chest box carriage
cart wheel axe knife:knives table chair bed door window stone mouse-trap wolf-skin donkey-skin bear-skin hen-wife
goose-girl swineherd goatherd cowherd kitten puppy:puppies chicken cuckoo pony:ponies scarecrow lionheart pirate
unicorn griffin phoenix mule buffalo peach orange fig grape vine thorn briar reed
""".split()

# Too frequent to say much about a passage: these need one more mention and count for half.
COMMON = frozenset("""
king queen prince princess child boy girl sea wood tree fire bed door window stone gold table sun wind servant fly
well book letter bread hill bow box maid rain star snow bird horse
""".split())

UNCOUNTED = frozenset("gold bread snow rain soup milk honey treasure winter cheese twins".split())
UNIQUE = frozenset("sun moon sea wind".split())
WORD = re.compile(r"[A-Za-z][a-z]*(?:-[a-z]+)*")


def noun_forms() -> dict[str, str]:
    """Every form of every noun -> its singular."""
    forms: dict[str, str] = {}
    for entry in NOUNS:
        singular, _, plural = entry.partition(":")
        if not plural:
            plural = singular + ("es" if re.search("(s|x|ch|sh)$", singular) else "s")
        forms.setdefault(singular, singular)
        forms.setdefault(plural, singular)
    return forms


FORMS = noun_forms()


def salient(text: str, most: int = 5) -> list[str]:
    """The nouns a passage is really about, the most telling first.

    A noun counts when it is named twice (a common one three times) and first within the opening 90 words; early and
    frequent ones come first, equals in alphabetical order.
    """
    count: dict[str, int] = {}
    first: dict[str, int] = {}
    for position, match in enumerate(WORD.finditer(text)):
        noun = FORMS.get(match.group(0).lower())
        if noun:
            count[noun] = count.get(noun, 0) + 1
            first.setdefault(noun, position)
    scored = []
    for noun, times in count.items():
        common = noun in COMMON
        if times >= (3 if common else 2) and first[noun] < 90:
            scored.append((-times * (0.5 if common else 1.0) * (1.5 if first[noun] < 30 else 1.0), noun))
    return [noun for _, noun in sorted(scored)[:most]]


def with_article(noun: str) -> str:
    """``a fox``, ``an owl``, ``the moon``, ``gold``."""
    if noun in UNCOUNTED:
        return noun
    if noun in UNIQUE:
        return "the " + noun
    return ("an " if noun[0] in "aeiou" and noun != "unicorn" else "a ") + noun


def listing(nouns: list[str]) -> str:
    """``a fox, an owl and the moon``."""
    named = [with_article(noun) for noun in nouns]
    return named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]
