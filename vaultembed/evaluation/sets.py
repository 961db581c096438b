"""Reads judged sets: folders in BEIR layout, and files of questions about messages that are known.

    queries.jsonl      {"_id": "1", "text": "…", "metadata": {"kind": "paraphrase"}}
    qrels/test.tsv     query-id, corpus-id, score, with tabs between
    corpus.jsonl       {"_id": "d1", "title": "…", "text": "…"}; none where documents are messages of an archive

A file of questions has lines `ID<TAB>QUESTION`, the id that of the message which answers it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from email.header import Header
from pathlib import Path
from typing import Any, Final

from vaultembed.archive.evaluations import JudgedQuery, JudgedSet
from vaultembed.archive.mail.judged import message_id_of
from vaultembed.errors import StorageError, UsageError
from vaultembed.text.mime.identity import normalise_message_id

_LENGTHS: Final = ((3, "1-3 words"), (9, "4-9 words"), (29, "10-29 words"))
_LONGER: Final = "30 words or more"
_LAYOUT: Final = "docs/evaluating.md shows what a judged set looks like."


def read_set(path: Path, split: str | None = None) -> JudgedSet:
    """Queries that nothing is judged for are left out.

    Raises:
        UsageError: it is none, or a line of it cannot be read.
        StorageError: it cannot be read from the disk.
    """
    if path.is_dir():
        judgements = _judgements_file(path, split)
        queries = _beir(path, judgements)
        name = path.resolve().name + ("" if judgements.stem == "test" else f"/{judgements.stem}")
    else:
        queries, name = _questions(path), path.stem
    if not queries:
        raise UsageError(f"{path} has no query that is judged", _LAYOUT)
    told = [(query.name, query.text, sorted(query.grades.items()), sorted(query.cohorts.items())) for query in queries]
    return JudgedSet(name, hashlib.sha256(json.dumps(told).encode()).hexdigest(), tuple(queries))


def _judgements_file(folder: Path, split: str | None) -> Path:
    files = sorted((folder / "qrels").glob("*.tsv"))
    found = [file for file in files if file.stem == (split or "test")] or (files if split is None else [])
    if len(found) == 1:
        return found[0]
    if not files:
        raise UsageError(f"{folder} is no judged set: it has no qrels/*.tsv", _LAYOUT)
    raise UsageError(f"{folder} has judgements in {', '.join(f.stem for f in files)}", "Choose one of them: --split")


def _beir(folder: Path, judgements: Path) -> list[JudgedQuery]:
    grades: dict[str, dict[str, int]] = {}
    for place, line in _lines(judgements):
        parts = line.split("\t")
        try:
            query, document, grade = parts[0], _document(parts[1]), int(parts[2])
        except (IndexError, ValueError) as error:
            if place.endswith(":1"):
                continue  # the names of the columns
            raise UsageError(f"{place}: not a query's id, a document's id and a whole number, with tabs") from error
        grades.setdefault(query, {})[document] = grade
    queries = []
    for place, entry in json_lines(folder / "queries.jsonl"):
        name, text = entry["_id"], entry["text"]
        if name in grades:
            queries.append(_query(place, name, text, grades.pop(name), entry.get("metadata")))
    if grades:
        raise UsageError(f"{judgements}: judges queries that are not in queries.jsonl: {', '.join(list(grades)[:3])}")
    return queries


def _questions(path: Path) -> list[JudgedQuery]:
    queries = []
    for place, line in _lines(path):
        message, _, text = line.partition("\t")
        queries.append(_query(place, place.rpartition(":")[2], text, {_document(message): 1}, None))
    return queries


def _document(name: str) -> str:
    """As a Message-ID is kept."""
    return normalise_message_id(name) or ""


def _query(place: str, name: str, text: str, grades: dict[str, int], metadata: Any) -> JudgedQuery:
    if not text.strip():
        raise UsageError(f"{place}: a query without words", _LAYOUT)
    said = metadata if isinstance(metadata, Mapping) else {}
    cohorts = {str(key): str(value) for key, value in said.items() if isinstance(value, str | int)}
    cohorts.setdefault("language", _script(text))
    words = len(text.split())
    cohorts.setdefault("length", next((what for most, what in _LENGTHS if words <= most), _LONGER))
    return JudgedQuery(name, text, grades, cohorts)


def _script(text: str) -> str:
    """Of most of its letters: a language that nobody names can only be guessed, and of a few words not well."""
    scripts = Counter(unicodedata.name(letter, "?").partition(" ")[0].title() for letter in text if letter.isalpha())
    return f"{scripts.most_common(1)[0][0]} letters" if scripts else "no letters"


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects that have an "_id" and a "text", each with its place.

    Raises: as `read_set`.
    """
    for place, line in _lines(path):
        try:
            entry = json.loads(line)
            json.dumps(entry, ensure_ascii=False).encode()  # half of a character, "\\ud800", is not text
            is_right = isinstance(entry["_id"], str) and isinstance(entry["text"], str)
        except (ValueError, KeyError, TypeError):
            is_right = False
        if not is_right:
            raise UsageError(f'{place}: not an object with texts "_id" and "text"', _LAYOUT)
        yield place, entry


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each that says something, without its end."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", _LAYOUT) from error
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", _LAYOUT) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def corpus_as_mbox(folder: Path) -> Iterator[bytes]:
    """Each document of a set that has its own as a message, whose Message-ID is its id.

    Raises: as `read_set`.
    """
    for _, document in json_lines(folder / "corpus.jsonl"):
        subject = Header(" ".join(str(document.get("title") or "").split()), "utf-8", 10**6).encode()
        head = (
            f"From set Thu Jan  1 00:00:00 1970\nMessage-ID: <{message_id_of(_document(document['_id']))}>\n"
            f"From: set@example.org\nSubject: {subject}\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        )
        # in base64 no line of the text is taken for the beginning of another message
        yield head.encode() + base64.encodebytes(document["text"].encode()) + b"\n"
