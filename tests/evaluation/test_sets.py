from __future__ import annotations

import json
import mailbox
from contextlib import closing
from email.header import decode_header, make_header
from pathlib import Path

import pytest

from vaultembed.errors import UsageError
from vaultembed.evaluation.sets import corpus_as_mbox, read_set


def beir(folder: Path, queries: list[object], **qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries), "utf-8")
    for split, rows in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text(rows, "utf-8")
    return folder


def test_a_folder_in_beir_layout(tmp_path: Path) -> None:
    queries = [
        {"_id": "1", "text": "the leaking roof", "metadata": {"kind": "words", "n": {"not": "a cohort"}}},
        {"_id": "2", "text": "nobody judged this"},
        {"_id": "3", "text": "где лодка, которую мы купили в том году"},
    ]
    rows = "query-id\tcorpus-id\tscore\n1\t<a@b>\t2\n1\tc@d\t0\n3\te@f\t1\r\n"
    found = read_set(beir(tmp_path / "mine", queries, test=rows))
    assert found.name == "mine"
    assert [(query.name, query.grades) for query in found.queries] == [("1", {"a@b": 2, "c@d": 0}), ("3", {"e@f": 1})]
    assert found.queries[0].cohorts == {"kind": "words", "language": "Latin letters", "length": "1-3 words"}
    assert found.queries[1].cohorts == {"language": "Cyrillic letters", "length": "4-9 words"}


def test_a_file_of_questions(tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("17\twhere is the boat?\n\n<a@b>\twho sold it\tto whom\n", "utf-8")
    found = read_set(tmp_path / "mine.tsv")
    assert found.name == "mine"
    assert [(query.name, query.text, query.grades) for query in found.queries] == [
        ("1", "where is the boat?", {"17": 1}),
        ("3", "who sold it\tto whom", {"a@b": 1}),
    ]


def test_which_judgements_are_taken(tmp_path: Path) -> None:
    queries: list[object] = [{"_id": "1", "text": "a"}]
    several = beir(tmp_path / "several", queries, train="1\td\t1\n", test="1\te\t1\n", dev="1\tf\t1\n")
    assert read_set(several).queries[0].grades == {"e": 1}
    assert read_set(several, "dev").queries[0].grades == {"f": 1}
    assert read_set(several, "dev").name == "several/dev"
    (several / "qrels" / "test.tsv").unlink()
    with pytest.raises(UsageError, match="dev, train"):
        read_set(several)
    assert read_set(beir(tmp_path / "one", queries, dev="1\tf\t1\n")).queries[0].grades == {"f": 1}


def test_an_edited_set_is_another(tmp_path: Path) -> None:
    queries: list[object] = [{"_id": "1", "text": "a"}]
    first = read_set(beir(tmp_path / "a", queries, test="1\td\t1\n1\te\t1\n")).fingerprint
    assert read_set(beir(tmp_path / "b", queries, test="query-id\tx\ty\n1\te\t1\n1\td\t1\n")).fingerprint == first
    assert read_set(beir(tmp_path / "c", queries, test="1\td\t1\n1\te\t2\n")).fingerprint != first
    assert read_set(beir(tmp_path / "d", [{"_id": "1", "text": "b"}], test="1\td\t1\n1\te\t1\n")).fingerprint != first


@pytest.mark.parametrize(
    ("queries", "rows", "told"),
    [
        ('{"_id": "1", "text": "a"}\n{"_id": 2}\n', "1\td\t1\n", "queries.jsonl:2"),
        ('["_id", "text"]\n', "1\td\t1\n", "queries.jsonl:1"),
        ('{"_id": "1", "text": "\\ud800"}\n', "1\td\t1\n", "queries.jsonl:1"),
        ('{"_id": "1", "text": " "}\n', "1\td\t1\n", "queries.jsonl:1"),
        ('{"_id": "1", "text": "a"}\n', "1\td\t1\n1\td\n", "test.tsv:2"),
        ('{"_id": "1", "text": "a"}\n', "1\td\t1\n1\te\t0.5\n", "test.tsv:2"),
        ('{"_id": "1", "text": "a"}\n', "2\td\t1\n", "not in queries.jsonl: 2"),
        ('{"_id": "1", "text": "a"}\n', "query-id\tcorpus-id\tscore\n", "no query that is judged"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, queries: str, rows: str, told: str) -> None:
    folder = beir(tmp_path / "s", [], test=rows)
    (folder / "queries.jsonl").write_text(queries, "utf-8")
    with pytest.raises(UsageError, match=told):
        read_set(folder)


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            read_set(path)
    (tmp_path / "odd.tsv").write_bytes(b"1\tcaf\xe9\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_set(tmp_path / "odd.tsv")


def test_a_corpus_becomes_mail_without_loss(tmp_path: Path) -> None:
    text = "From here on\n\nFrom me Mon Feb  3 10:00:00 2003\n.\nBoot für Jürgen\n"
    document = {"_id": "<d 1@x>", "title": "A\nboat", "text": text}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(document) + "\n" + json.dumps({"_id": "2", "text": ""}), "utf-8")
    (tmp_path / "out.mbox").write_bytes(b"".join(corpus_as_mbox(tmp_path)))
    with closing(mailbox.mbox(tmp_path / "out.mbox")) as box:
        first, second = box
    assert (first["Message-ID"], str(make_header(decode_header(first["Subject"])))) == ("<d1@x>", "A boat")
    assert second["Message-ID"] == "<2@corpus.invalid>"
    assert bytes(first.get_payload(decode=True)).decode() == text
