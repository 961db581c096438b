"""Which model an adopted generation is searched with: one that gives the vectors it holds, and no other."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.kit.archives import check_invariants
from tests.kit.msgvault import Embed, Pair, mail, write_pair
from tests.kit.processes import vaultembed, vaultembed_json
from tests.msgvault.cast import CAST, DELETED, TOPICS, again
from tests.msgvault.test_adoption import stamped
from vaultembed.archive.database import open_archive, open_archive_readonly
from vaultembed.embeddings.verify import SAMPLE
from vaultembed.errors import ModelError, NotReadyError
from vaultembed.models.model_file import ModelFile
from vaultembed.models.registry import model_called
from vaultembed.service.embedding import BuildRequest, build_embeddings
from vaultembed.service.generations import embeddings_status
from vaultembed.service.importing import import_mail
from vaultembed.service.searching import search_archive
from vaultembed.service.verifying import verify_embeddings

Cast = Callable[..., Pair]


@pytest.fixture
def unknown(cast_of: Cast, archive: Path) -> Path:
    """An archive with a generation of a model by a name that is not known here. (It is the default model.)"""
    import_mail(archive, [cast_of("v2", model="my-own-embedder:v3").folder])
    return archive


@pytest.fixture
def blob(model: ModelFile, tmp_path: Path) -> Path:
    """A model as another program keeps it: without a name that says what it is."""
    return Path(shutil.copy(model.path, tmp_path / "sha256-797b70c4edf85907"))


def test_before_its_model_is_found_search_goes_by_words(unknown: Path) -> None:
    found = search_archive(unknown, "lentil soup")
    assert found.data.results[0].subject == "Lentil soup with cumin, as grandmother made it"
    assert "no model here has been found to give the vectors of its my-own-embedder:v3" in found.notes[0]
    assert "vaultembed embeddings build --model PATH" in found.notes[0]
    with pytest.raises(NotReadyError, match="my-own-embedder"):
        search_archive(unknown, "lentil soup", mode="vector")
    assert vaultembed("doctor", archive=unknown).returncode == 4, "its model is missing"
    assert [g.adopted.weights for g in embeddings_status(unknown).data.generations if g.adopted] == ["unknown"]
    shown = vaultembed("embeddings", archive=unknown)
    assert "has not been found here: vaultembed embeddings build --model PATH" in shown.stdout


def test_a_build_without_a_model_says_which_is_needed_and_how_to_get_it(unknown: Path) -> None:
    done = vaultembed("embeddings", "build", archive=unknown)
    assert done.returncode == 4
    assert "ollama show my-own-embedder:v3 --modelfile" in done.stderr
    assert "vaultembed embeddings build --model PATH" in done.stderr


def test_the_right_model_is_found_by_what_it_gives(unknown: Path, blob: Path) -> None:
    built = vaultembed_json("embeddings", "build", "--model", blob, archive=unknown)
    missing = set().union(*again("v2").values())
    assert built["run"]["embedded"] + built["run"]["blank"] == len(missing)
    generation = embeddings_status(unknown).data.generations[0]
    assert generation.adopted is not None
    assert generation.adopted.median_cosine is not None
    assert generation.adopted.median_cosine > 0.999
    assert generation.adopted.weights == "inferred"
    assert "its weights are inferred" in vaultembed("embeddings", archive=unknown).stdout
    assert generation.coverage.missing == 0
    found = search_archive(unknown, "water comes through the ceiling of the stable", mode="vector", limit=3)
    assert {hit.subject for hit in found.data.results} == {TOPICS[0]}
    check_invariants(unknown)
    assert vaultembed("embeddings", "build", archive=unknown).returncode == 0, "from now on it is known"
    assert vaultembed_json("embeddings", "verify", archive=unknown)["sound"]


@pytest.mark.slow
def test_adopted_vectors_that_were_written_over_do_not_pass_verification(unknown: Path, blob: Path) -> None:
    """They are compared as they were when the model was found: those of one quantised may be a little off."""
    vaultembed_json("embeddings", "build", "--model", blob, archive=unknown)
    assert verify_embeddings(unknown).data.sampled > SAMPLE / 2
    noise = np.full(384, 384**-0.5).astype("<f2").tobytes()
    with open_archive(unknown) as opened:
        opened.execute(
            "UPDATE vectors SET embedding = ?, checksum = ? WHERE chunk_id IN (SELECT c.id FROM chunks c"
            " JOIN embed_outcomes o USING (generation_id, message_id) WHERE o.recipe GLOB 'msgvault*')",
            (noise, zlib.crc32(noise)),
        )
    verified = verify_embeddings(unknown).data
    assert (verified.altered, verified.malformed, verified.unsound, verified.sound) == (0, 0, 0, False)


def test_another_model_of_the_same_dimension_is_refused_with_the_figure(
    tmp_path: Path, embed: Embed, archive: Path, blob: Path
) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(384, 384)))[0]

    def other(texts: Sequence[str]) -> np.ndarray:
        return embed(texts) @ turn

    pair = write_pair(tmp_path / "mv", "v2", CAST, other)
    done = import_mail(archive, [pair.folder])
    assert not done.data.compared[0].same
    assert abs(done.data.compared[0].median_cosine) < 0.3
    refused = vaultembed("embeddings", "build", "--model", blob, archive=archive)
    assert refused.returncode == 4
    assert "the median cosine of" in refused.stderr
    assert f"vaultembed embeddings build --new --model {blob}" in refused.stderr
    with open_archive_readonly(archive) as opened:
        assert opened.rows("SELECT state FROM generations") == [("active",)]

    built = build_embeddings(archive, BuildRequest(model=str(blob), new=True))
    assert built.data.run.messages == len(CAST) - len(DELETED)
    assert built.data.activated
    assert [g.state for g in embeddings_status(archive, every=True).data.generations] == ["retired", "active"]
    assert search_archive(archive, "choir", mode="vector").data.results
    check_invariants(archive)


def test_while_another_is_built_what_is_built_answers(
    unknown: Path, blob: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaultembed.embeddings.build import Options
    from vaultembed.embeddings.worker import Limits

    request = BuildRequest(model=str(blob), new=True, options=Options(limits=Limits(messages=20)))
    assert build_embeddings(unknown, request).exit_code == 3
    found = search_archive(unknown, "flight to Portugal", mode="vector")
    assert found.data.results
    assert any("is unavailable" in note for note in found.notes)


def test_with_another_dimension_it_is_refused(tmp_path: Path, archive: Path, blob: Path) -> None:
    def small(texts: Sequence[str]) -> np.ndarray:
        return np.eye(len(texts), 64) + 0.01

    import_mail(archive, [write_pair(tmp_path / "mv", "v2", CAST, small).folder])
    with pytest.raises(ModelError, match="it has 384 dimensions, not 64"):
        build_embeddings(archive, BuildRequest(model=str(blob)))


def test_without_a_text_that_is_known_no_model_is_taken_for_it_nor_for_another(
    tmp_path: Path, embed: Embed, archive: Path
) -> None:
    """Guesses at what was embedded said of the same model that it is another one."""
    mails = [mail(n, f"Subject {n}", f"{TOPICS[n % 8]}, {n}") for n in range(1, 20)]
    pair = write_pair(tmp_path / "mv", "v2", mails, embed)
    pair.write("UPDATE embeddings SET source_char_len = NULL, chunk_char_end = 7", name="vectors.db")
    done = import_mail(archive, [pair.folder])
    assert (done.data.compared[0].same, done.data.compared[0].median_cosine) == (False, None)
    assert stamped(archive) == {one.id for one in mails}, "msgvault vouches for them"
    with open_archive_readonly(archive) as opened:
        assert opened.scalar("SELECT count(*) FROM message_texts") == 0
    with pytest.raises(ModelError, match="cannot be told") as refused:
        build_embeddings(archive)
    for advice in (done.notes[-1], refused.value.hint or ""):
        assert "embeddings build --new" in advice
        assert "pull" not in advice, "the model is here, and was asked"
    check_invariants(archive)


@pytest.mark.parametrize(
    "name",
    [
        "all-minilm",
        "all-minilm:latest",
        "all-minilm:22m",
        "all-minilm:l6-v2",
        "all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "all-minilm:22m-l6-v2-fp16",
        "hf.co/someone/all-MiniLM-L6-v2-GGUF:Q8_0",
        "/models/all-minilm-l6-v2.gguf",
        r"C:\models\all-MiniLM-L6-v2.Q8_0.gguf",
        "models/all-MiniLM-L6-v2/",
    ],
)
def test_names_that_mean_the_default_model(name: str) -> None:
    found = model_called(name, 384)
    assert found is not None
    assert found.name == "all-minilm-l6-v2"
    assert model_called(name, 768) is None


@pytest.mark.parametrize("name", ["", "nomic-embed-text", "mxbai-embed-large:latest", "bge-small-en"])
def test_names_that_mean_none_that_is_known(name: str) -> None:
    assert model_called(name, 384) is None
