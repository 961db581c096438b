"""Search quality on judged sets, through the real import, build and search.

    python -m tests.benchmarks.retrieval_quality FOLDER-IN-BEIR-LAYOUT [ARCHIVE]

Prints nDCG@10 and recall@100 of search by words, by meaning, and hybrid. The archive is kept where it is named, and
built only once.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from email.header import Header
from pathlib import Path

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.records import generation_in_state
from vaultembed.embeddings.query_vector import embed_query
from vaultembed.embeddings.recipe import MAX_TOKENS
from vaultembed.models.open import open_in_process, resolve_model
from vaultembed.search.answering import Answerer
from vaultembed.search.query import plain_query
from vaultembed.search.ranking import DEPTH, Hit, by_distinctive_words, by_meaning, by_words, fuse
from vaultembed.service.embedding import build_embeddings
from vaultembed.service.importing import import_mail


def lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def write_mail(corpus: Path, folder: Path) -> None:
    """Each document as a message file; its id is the Message-ID."""
    for number, document in enumerate(lines(corpus)):
        identifier = document["_id"].strip("<>")
        head = f"Message-ID: <{identifier}>\nSubject: {Header(document['title'], 'utf-8', 10**6).encode()}\n"
        head += "From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
        (folder / f"{number}.eml").write_bytes(head.encode() + document["text"].encode())


def judgements(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) > 0:
            found[query][document.strip("<>")] = int(score)
    return found


def ndcg(ranked: list[str], relevant: dict[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain with linear gain, as trec_eval and BEIR count it."""
    gain = sum(relevant.get(name, 0) / math.log2(rank + 1) for rank, name in enumerate(ranked[:depth], 1))
    ideal = sorted(relevant.values(), reverse=True)[:depth]
    return gain / sum(score / math.log2(rank + 1) for rank, score in enumerate(ideal, 1))


def recall(ranked: list[str], relevant: dict[str, int], depth: int = 100) -> float:
    return len(set(ranked[:depth]) & set(relevant)) / len(relevant)


def main(folder: Path, archive_path: Path) -> None:
    if not archive_path.exists():
        with tempfile.TemporaryDirectory() as mail:
            write_mail(folder / "corpus.jsonl", Path(mail))
            print(import_mail(archive_path, [Path(mail)]).data.counts)
    built = build_embeddings(archive_path)
    print(built.data.run, built.data.generation.coverage)
    embedder = open_in_process(resolve_model())
    relevant = judgements(folder / "qrels" / "test.tsv")
    totals: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with open_archive_readonly(archive_path) as archive:
        generation = generation_in_state(archive, "active")
        assert generation is not None
        names = dict(archive.rows("SELECT id, rfc822_message_id FROM messages"))
        for found in lines(folder / "queries.jsonl"):
            if found["_id"] not in relevant:
                continue
            query = plain_query(found["text"])
            started = time.perf_counter()
            text = by_words(archive, query, DEPTH)
            middle = time.perf_counter()
            vector = embed_query(embedder, query.text, MAX_TOKENS)
            meaning = by_meaning(archive, query, Answerer(generation, vector, rest=None, share=1.0), DEPTH)
            ended = time.perf_counter()
            rankings: dict[str, tuple[list[Hit], float]] = {
                "text": (text, middle - started),
                "vector": (meaning, ended - middle),
                "hybrid": (fuse(by_distinctive_words(archive, query, DEPTH), meaning, DEPTH), ended - started),
            }
            for mode, (hits, seconds) in rankings.items():
                ranked = [names[hit.message_id] for hit in hits]
                wanted = relevant[found["_id"]]
                totals[mode].append((ndcg(ranked, wanted), recall(ranked, wanted), seconds))
    for mode, scores in totals.items():
        means = [sum(column) / len(scores) for column in zip(*scores, strict=True)]
        quality = f"nDCG@10 {means[0]:.3f}  recall@100 {means[1]:.3f}"
        print(f"{mode:<7} {quality}  {means[2] * 1000:.0f} ms  ({len(scores)} queries)")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    if len(sys.argv) > 2:
        main(given, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as kept:
            main(given, Path(kept) / "archive.db")
