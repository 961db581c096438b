"""A generation that finds less than the one in use does not take its place unasked."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.kit.archives import add, new_archive
from tests.kit.builds import run, search
from tests.kit.embedder import DIMENSION, WordHashEmbedder
from tests.kit.processes import vaultembed, vaultembed_process
from vaultembed.archive.database import Archive, open_archive
from vaultembed.archive.generations.records import generation_in_state, generation_with_id
from vaultembed.archive.generations.transitions import activate
from vaultembed.embeddings.build import Wanted
from vaultembed.embeddings.quality import QUESTIONS, Quality
from vaultembed.embeddings.verify import WorseError
from vaultembed.errors import StoppedError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.protocol import Embedded, Role

MESSAGES = 120


class Noise(WordHashEmbedder):
    """The same text has the same vector, and no two texts have anything in common."""

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        embedded = super().embed(texts, role)
        for row, text in zip(embedded.vectors, texts, strict=True):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            row[:] = np.random.default_rng(seed).standard_normal(DIMENSION)
            row /= np.linalg.norm(row)
        return embedded


class PrefixForgotten(WordHashEmbedder):
    """Queries lie elsewhere than documents, as those of a model that is trained with a prefix and asked without."""

    def embed(self, texts: Sequence[str], role: Role = "document") -> Embedded:
        embedded = super().embed(texts, role)
        if role == "query":
            embedded.vectors[:] = 0.3 * embedded.vectors + 0.7 * WordHashEmbedder("elsewhere").embed(texts).vectors
            embedded.vectors[:] /= np.linalg.norm(embedded.vectors, axis=1, keepdims=True)
        return embedded


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages and answers of 40 common words; generation 1 is in use."""
    path = tmp_path_factory.mktemp("quality") / "a.db"
    pick = random.Random(0)
    common = [f"word{n}" for n in range(40)]
    with new_archive(path) as archive:
        for n in range(MESSAGES):
            said = " ".join(pick.choices(common, k=9))
            message_id = add(archive, f"subject {n}", f"{said}. And the rest of it, number {n}.", message_id=f"{n}")
            if n % 2:
                archive.db.execute("UPDATE messages SET in_reply_to = ? WHERE id = ?", (str(n - 1), message_id))
        run(archive)
    return path


@pytest.fixture
def archive(filled: Path, tmp_path: Path) -> Iterator[Archive]:
    path = tmp_path / "a.db"
    path.write_bytes(filled.read_bytes())
    with open_archive(path) as opened:
        yield opened


def build_second(archive: Archive, embedder: WordHashEmbedder, **options: object) -> Quality | str | None:
    is_begun = generation_in_state(archive, "building") is not None
    built = run(
        archive,
        embedder,
        wanted=Wanted(model_named=True, new=not is_begun),
        open_model=lambda _: WordHashEmbedder(),
        **options,
    )
    assert built.activated
    assert built.verified is not None
    return built.verified.quality


@pytest.mark.parametrize("worse", [Noise("noise"), PrefixForgotten("prefix forgotten")], ids=lambda e: e.facts.name)
def test_a_worse_generation_is_reported_and_used_only_if_that_is_accepted(
    archive: Archive, worse: WordHashEmbedder
) -> None:
    with pytest.raises(WorseError, match=r"(?s)generation 2 finds less than generation 1.*--accept-worse"):
        build_second(archive, worse)
    active = generation_in_state(archive, "active")
    assert active is not None
    assert active.id == 1
    assert generation_with_id(archive, 2).verification == "failed"
    assert search(archive, "word1 word2"), "it serves as before"
    quality = build_second(archive, worse, accept_worse=True)
    assert isinstance(quality, Quality)
    assert quality.is_worse
    assert quality.found < quality.found_in_use
    assert generation_with_id(archive, 2).state == "active"


@pytest.mark.parametrize("name", ["word-hash", "as good"])
def test_the_same_model_again_and_one_as_good_take_its_place(archive: Archive, name: str) -> None:
    quality = build_second(archive, WordHashEmbedder(name))
    assert isinstance(quality, Quality)
    assert quality.questions <= QUESTIONS
    assert quality.least <= 0 <= quality.most
    assert (quality.found == quality.found_in_use) == (name == "word-hash")


def test_a_worse_one_that_was_accepted_once_is_not_asked_about_again(archive: Archive) -> None:
    build_second(archive, Noise("noise"), accept_worse=True)
    activate(archive, 1, 0)
    assert activate(archive, 2, 0)


def test_a_build_that_is_stopped_while_the_two_are_compared_goes_on_later(archive: Archive) -> None:
    said: list[str] = []
    good = WordHashEmbedder("as good")
    with pytest.raises(StoppedError):
        build_second(archive, good, on_wait=said.append, should_stop=lambda: bool(said))
    assert "comparing it" in said[0]
    assert generation_with_id(archive, 1).state == "active"
    assert generation_with_id(archive, 2).verification is None, "nothing came of it"
    assert isinstance(build_second(archive, good), Quality)


def test_too_few_messages_tell_nothing(archive: Archive) -> None:
    archive.db.execute("UPDATE messages SET deleted_at = 1 WHERE id > 20")
    assert "too little" in str(build_second(archive, Noise("noise")))


@pytest.mark.slow
@pytest.mark.corpus
def test_a_model_whose_token_embeddings_were_shuffled_is_caught(
    tmp_path: Path, model: ModelFile, shared_data: Path
) -> None:
    """It embeds the same text the same way each time: verification sees nothing."""
    shuffled = Path(shutil.copy(model.path, tmp_path / "shuffled.gguf"))
    rows = next(t for t in gguf.GGUFReader(shuffled, "r+").tensors if t.name == "token_embd.weight").data
    rows[:] = np.array(rows)[np.random.default_rng(0).permutation(len(rows))]
    rows.flush()
    archive = tmp_path / "a.db"
    short = sorted((shared_data / "eml/spamassassin").rglob("*.eml"), key=lambda path: (path.stat().st_size, path))
    vaultembed("import", *short[500:600], archive=archive)
    vaultembed("embeddings", "build", archive=archive)
    again = vaultembed_process("embeddings", "build", "--new", archive=archive, timeout=400)
    assert (again.returncode, "as much as generation 1" in again.stdout) == (0, True)
    worse = vaultembed_process("embeddings", "build", "--model", str(shuffled), archive=archive, timeout=400)
    assert (worse.returncode, "generation 3 finds less than generation 2" in worse.stderr) == (3, True)
    forced = vaultembed_process("embeddings", "activate", "3", "--accept-worse", archive=archive)
    assert forced.returncode == 0, forced.stderr
