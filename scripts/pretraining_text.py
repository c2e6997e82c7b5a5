#!/usr/bin/env python3
"""The text that the embedded base is pre-trained on, from its three sources, and a held-out part of each.

    scripts/pretraining_text.py SOURCES OUTPUT

SOURCES holds general-english.txt.gz and textbook-english.txt.gz (documents between blank lines) and medquad.json.gz
(records of `input` and `output`). OUTPUT gets training.txt.gz, and held-out-general.txt.gz, held-out-textbook.txt.gz
and held-out-questions.txt.gz: one document in a hundred, of the textbooks one in sixty, of the questions all that ask
about one subject in a hundred. Which ones follows from their text alone, so that the same sources give the same files.
"""
import gzip
import hashlib
import json
import re
import sys
from pathlib import Path

# Characters of a textbook's passage: a chapter is cut between its lines, so that one held out is small beside the rest.
PASSAGE = 6000
# Words of a short answer.
SHORT = 60


def held_out(key: str, one_in: int) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % one_in == 0


def documents(path: Path) -> list[str]:
    text = gzip.open(path, "rt", encoding="utf-8").read()
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def question(text: str) -> str:
    """A question as people write it: "What is (are) Gout ?" becomes "What is Gout?"."""
    text = re.sub(r"\s*\((?:are|is|s)\)", "", " ".join(text.split()))
    return re.sub(r"\s+\?", "?", text)


def subject(text: str) -> str:
    """What a question is about: its words without those that all questions share."""
    common = set("what is are the of for to do does how who when i you if have has might from by a an in on with and or "
                 "symptoms treatments causes cause outlook prevent diagnose many people affected genetic changes related "
                 "inherited research clinical trials being done need know about risk at complications".split())
    words = re.findall(r"[a-z0-9']+", text.lower())
    return " ".join(word for word in words if word not in common)


def sentences(text: str, words: int) -> str:
    """The first sentences of a text, at most so many words of them, at least one."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
        if kept and len(" ".join([*kept, sentence]).split()) > words:
            break
        kept.append(sentence)
    return " ".join(kept)


def answers(record: dict) -> list[str]:
    """A record as documents: with its whole answer, and where that is long with its beginning alone."""
    asked = question(record["input"])
    whole = "\n".join(line.strip() for line in record["output"].splitlines() if line.strip())
    whole = re.sub(r"^Key Points\n", "", whole)
    short = sentences(re.sub(r"^- ", "", whole), SHORT)
    texts = [whole]
    if len(short) < 0.7 * len(whole) and len(short.split()) <= 1.5 * SHORT and short.endswith((".", "!", "?")):
        texts.append(short)
    return [f"Question: {asked}\nAnswer: {text}" for text in texts if text]


def write(path: Path, texts: list[str]) -> None:
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("\n\n".join(texts).encode())
    print(f"{path.name}: {len(texts)} documents, {sum(len(text.encode()) for text in texts)} bytes")


def main() -> None:
    sources, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(parents=True, exist_ok=True)
    training: list[str] = []
    parts: dict[str, list[str]] = {"general": [], "textbook": [], "questions": []}
    for text in documents(sources / "general-english.txt.gz"):
        (parts["general"] if held_out(text, 100) else training).append(text)
    for chapter in documents(sources / "textbook-english.txt.gz"):
        passage: list[str] = []
        lines = chapter.split("\n")
        for number, line in enumerate(lines):
            passage.append(line)
            if number + 1 == len(lines) or sum(map(len, passage)) > PASSAGE:
                text = "\n".join(passage)
                (parts["textbook"] if held_out(text, 60) else training).append(text)
                passage = []
    seen: set[str] = set()
    for record in json.load(gzip.open(sources / "medquad.json.gz")):
        for text in answers(record):
            if text not in seen:
                seen.add(text)
                (parts["questions"] if held_out(subject(record["input"]), 100) else training).append(text)
    write(output / "training.txt.gz", training)
    for name, texts in parts.items():
        write(output / f"held-out-{name}.txt.gz", texts)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
