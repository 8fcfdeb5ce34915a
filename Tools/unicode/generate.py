#!/usr/bin/env python3
"""Writes Sources/CSwerveUnicode/tables.c: the character properties that tokenizers depend on.

Tokenizers must agree with the library they were trained with, and that library carries several Unicode versions at
once (its regex engine, its language's standard library, its normalisation tables). So the tables are measured: every
code point is put through the reference library and the answer recorded.

usage: python3 -m venv v && v/bin/pip install tokenizers==0.23.3 regex && v/bin/python Tools/unicode/generate.py
"""
import os, sys, unicodedata
import regex
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, SCALARS))
ALL = set(SCALARS)
CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co").split()


def note(*words):
    print(*words, file=sys.stderr)


def points(text):
    return set(map(ord, text))


def matching(pattern):
    return ALL - points(normalizers.Replace(Regex(pattern), "").normalize_str(TEXT))


def removed_by(normalizer):
    return {c for c in SCALARS if normalizer.normalize_str(chr(c)) == ""}


def split_from_letter(pre):
    """Code points that `pre` separates from a letter before them."""
    starts = {span[0] for _, span in pre.pre_tokenize_str("".join("a" + chr(c) for c in SCALARS))}
    return {c for k, c in enumerate(SCALARS) if 2 * k + 1 in starts}


category = dict.fromkeys(SCALARS, 0)
for number, name in enumerate(CATEGORIES):
    if number and name != "Cs":
        for c in matching(r"\p{%s}+" % name):
            category[c] = number
note("categories", tokenizers.__version__)

flags = {}
flags["SPACE"] = matching(r"\s+")
flags["WORD"] = matching(r"\w+")
flags["ALPHABETIC"] = matching(r"[[:alpha:]]+")
flags["UPPER"] = matching(r"[[:upper:]]+")
flags["LOWER"] = matching(r"[[:lower:]]+")
flags["SYMBOL"] = matching(r"[[:punct:]]+")
flags["WHITESPACE"] = ALL - points("".join(p for p, _ in pre_tokenizers.WhitespaceSplit().pre_tokenize_str(TEXT)))
flags["NUMERIC"] = split_from_letter(pre_tokenizers.Digits(individual_digits=False))
flags["PUNCTUATION"] = ALL - points("".join(p for p, _ in pre_tokenizers.Punctuation("removed").pre_tokenize_str(TEXT)))
bert = dict(handle_chinese_chars=False, lowercase=False)
flags["NONSPACING"] = removed_by(normalizers.BertNormalizer(clean_text=False, strip_accents=True, **bert))
flags["OTHER"] = removed_by(normalizers.BertNormalizer(clean_text=True, strip_accents=False, **bert)) - {0xFFFD}
flags["MARK"] = removed_by(normalizers.StripAccents())
flags["CJK"] = {c for c in SCALARS if normalizers.BertNormalizer(
    clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False).normalize_str(chr(c)) != chr(c)}
whitespace_words = split_from_letter(pre_tokenizers.Whitespace())
whitespace_words = ALL - whitespace_words - flags["WHITESPACE"]
note("word of the Whitespace pre-tokenizer differs on", len(whitespace_words ^ flags["WORD"]))

lookup = Tokenizer(models.WordLevel({"?": 0, "Q": 1}, unk_token="?"))
lookup.add_tokens([AddedToken("Q", single_word=True, normalized=False)])
lookup.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
flags["WORD_BOUND"] = {c for c in SCALARS if 1 not in lookup.encode("Q" + chr(c)).ids[:1]}
flags["TOKEN_WORD"] = flags.pop("WORD_BOUND")
note("added-token word differs on", len(flags["TOKEN_WORD"] ^ flags["WORD"]), "from Whitespace's on",
     len(flags["TOKEN_WORD"] ^ whitespace_words))
flags["WHITESPACE_WORD"] = whitespace_words

nfd, nfkd, nfc, lower = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC(), normalizers.Lowercase()
canonical = {c: nfd.normalize_str(chr(c)) for c in SCALARS}
canonical = {c: d for c, d in canonical.items() if d != chr(c)}
compatible = {c: nfkd.normalize_str(chr(c)) for c in SCALARS}
compatible = {c: d for c, d in compatible.items() if d != chr(c) and d != canonical.get(c)}
hangul = range(0xAC00, 0xD7A4)
composition = {}
for c, d in canonical.items():
    if c in hangul or nfc.normalize_str(d) != chr(c) or len(d) < 2:
        continue
    head = nfc.normalize_str(d[:-1])
    assert len(head) == 1, hex(c)
    composition[(ord(head), ord(d[-1]))] = c
lowered = {c: lower.normalize_str(chr(c)) for c in SCALARS}
lowered = {c: d for c, d in lowered.items() if d != chr(c)}
note("normalisation", len(canonical), len(compatible), len(composition), len(lowered))

# Canonical combining classes, found by the order in which NFD puts two marks.
known = {}
for c in SCALARS:
    k = unicodedata.combining(chr(c))
    # Only marks that the library knows: they change places with one of the lowest or the highest class.
    if k and c not in canonical and (nfd.normalize_str(chr(c) + "\u0334") == "\u0334" + chr(c)
                                     or nfd.normalize_str("\u0345" + chr(c)) == chr(c) + "\u0345" or c in (0x334, 0x345)):
        known.setdefault(k, c)


def above(c, k):
    """Whether c's class is greater than k, by its order against a mark of class k."""
    return c != known[k] and nfd.normalize_str(chr(c) + chr(known[k])) == chr(known[k]) + chr(c)


def below(c, k):
    return c != known[k] and nfd.normalize_str(chr(known[k]) + chr(c)) == chr(c) + chr(known[k])


classes = sorted(known)
combining = {}
for c in SCALARS:
    if c in canonical:
        continue
    lowest = above(c, classes[0])
    if not lowest and not below(c, classes[-1]) and c not in (0x334, 0x345):
        continue
    found = [k for k in classes if not above(c, k) and not below(c, k)]
    assert len(found) == 1, (hex(c), found)
    combining[c] = found[0]
note("combining", len(combining), "unlike Python's:",
     [hex(c) for c in SCALARS if c not in canonical and combining.get(c, 0) != unicodedata.combining(chr(c))][:20])

seconds = {b for _, b in composition}
flags["UNSTABLE"] = ({c for c in canonical if nfc.normalize_str(chr(c)) != chr(c)} | set(combining) | seconds
                     | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3)))
flags["DECOMPOSES"] = (set(canonical) | set(compatible)) - set(hangul)
flags["LOWERS"] = set(lowered)

folds = {c: ord(chr(c).casefold()) for c in SCALARS if len(chr(c).casefold()) == 1 and chr(c).casefold() != chr(c)}

# Scripts as the UnicodeScripts pre-tokenizer sees them: code points that it keeps together are one class.
scripts_of = pre_tokenizers.UnicodeScripts()


def together(a, b):
    return [p for p, _ in scripts_of.pre_tokenize_str(chr(a) + chr(b))] == [chr(a) + chr(b)]


def is_neutral(c):
    """Neutral characters never cause a split on either side."""
    return together(ord("a"), c) and together(0x4E00, c)


representatives, runs = [], []
previous = None
for c in SCALARS:
    if previous is not None and c == previous[0] + 1:
        if previous[1] >= 0 and together(previous[0], c) and not (is_neutral(c)):
            previous = (c, previous[1])
            continue
    if is_neutral(c):
        number = 0
    else:
        number = next((k + 1 for k, r in enumerate(representatives) if together(r, c)), None)
        if number is None:
            representatives.append(c)
            number = len(representatives)
    if not runs or runs[-1][1] != number:
        runs.append((c, number))
    previous = (c, number) if number else (c, -1)
note("scripts", len(representatives), "runs", len(runs))

# Script names for \p{Greek} and the like.
names = ["Arabic", "Armenian", "Bengali", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati", "Gurmukhi",
         "Han", "Hangul", "Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam", "Mongolian",
         "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan", "Common", "Inherited", "Bopomofo",
         "Cherokee", "Syriac", "Tagalog", "Yi", "Braille", "Coptic", "Javanese", "Balinese"]
named_runs = []
for name in names:
    member = matching(r"\p{%s}+" % name)
    start = None
    for c in sorted(member):
        if start is None:
            start, last = c, c
        elif c == last + 1 or (last == 0xD7FF and c == 0xE000):
            last = c
        else:
            named_runs.append((names.index(name), start, last)); start, last = c, c
    if start is not None:
        named_runs.append((names.index(name), start, last))

order = ["SPACE", "WORD", "WHITESPACE", "NUMERIC", "PUNCTUATION", "NONSPACING", "OTHER", "MARK", "TOKEN_WORD",
         "WHITESPACE_WORD", "LOWERS", "DECOMPOSES", "UNSTABLE", "CJK", "SYMBOL"]
low_order = ["ALPHABETIC", "UPPER", "LOWER"]
assert set(order + low_order) == set(flags), set(order + low_order) ^ set(flags)
word = {}
for c in SCALARS:
    value = category[c] | combining.get(c, 0) << 24
    for bit, name in enumerate(order):
        if c in flags[name]:
            value |= 1 << (8 + bit)
    for bit, name in enumerate(low_order):
        if c in flags[name]:
            value |= 1 << (5 + bit)
    word[c] = value
for c in range(0xD800, 0xE000):
    word[c] = CATEGORIES.index("Cs")

pages, index = {}, []
for base in range(0, 0x110000, 128):
    page = tuple(word[c] for c in range(base, base + 128))
    index.append(pages.setdefault(page, len(pages)))

out = []


def array(ctype, name, values):
    out.append(f"const {ctype} {name}[{len(values)}] = {{")
    line = ""
    for v in values:
        item = f"{v},"
        if len(line) + len(item) > 118:
            out.append(line); line = ""
        line += item
    out.append(line); out.append("};\n")


def mapping(name, table):
    pool, rows = [], []
    for c in sorted(table):
        d = [ord(x) for x in table[c]]
        rows.append((c, len(pool), len(d))); pool += d
    assert all(n < 256 for _, _, n in rows)
    array("uint32_t", f"swerve_unicode_{name}_keys", [c for c, _, _ in rows])
    array("uint32_t", f"swerve_unicode_{name}_values", [o << 8 | n for _, o, n in rows])
    array("uint32_t", f"swerve_unicode_{name}_pool", pool)
    return len(rows)


counts = {}
array("uint16_t", "swerve_unicode_index", index)
array("uint32_t", "swerve_unicode_words", [v for p in sorted(pages, key=pages.get) for v in p])
counts["canonical"] = mapping("canonical", {c: d for c, d in canonical.items() if c not in hangul})
counts["compatible"] = mapping("compatible", compatible)
counts["lowercase"] = mapping("lowercase", lowered)
counts["fold"] = mapping("fold", {c: chr(f) for c, f in folds.items()})
pairs = sorted(composition)
array("uint64_t", "swerve_unicode_compose_keys", [f"{a << 32 | b}u" for a, b in pairs])
array("uint32_t", "swerve_unicode_compose_values", [composition[p] for p in pairs])
counts["compose"] = len(pairs)
array("uint32_t", "swerve_unicode_script_starts", [c for c, _ in runs])
array("uint8_t", "swerve_unicode_script_classes", [k for _, k in runs])
counts["script"] = len(runs)
array("uint32_t", "swerve_unicode_named_runs", [x for row in named_runs for x in row])
counts["named"] = len(named_runs)
assert len(representatives) < 256

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Sources/CSwerveUnicode")
head = f"// Written by Tools/unicode/generate.py (tokenizers {tokenizers.__version__}). Do not edit.\n"
with open(os.path.join(root, "tables.c"), "w") as f:
    f.write(head + '#include "swerve_unicode.h"\n\n')
    for name, n in counts.items():
        f.write(f"const uint32_t swerve_unicode_{name}_count = {n};\n")
    f.write("\n" + "\n".join(out))
note("flag order:", " ".join(f"{n}={8 + k}" for k, n in enumerate(order)))
note("categories:", " ".join(f"{n}={k}" for k, n in enumerate(CATEGORIES)))
note("script names:", names)
