"""The embedder in the process and in the child: right vectors, nothing cut off or printed, no crash that spreads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.models.reference import Reference
from vaultembed.errors import ModelError
from vaultembed.models.errors import BadTextError, EmbedderCrashedError
from vaultembed.models.host import ChildEmbedder
from vaultembed.models.llama import LlamaEmbedder
from vaultembed.models.model_file import ModelFile
from vaultembed.models.open import open_in_child, open_in_process
from vaultembed.models.protocol import Embedded, Embedder


@pytest.fixture(scope="module")
def here(model: ModelFile) -> Iterator[LlamaEmbedder]:
    embedder = open_in_process(model)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def child(model: ModelFile) -> Iterator[ChildEmbedder]:
    embedder = open_in_child(model)
    yield embedder
    embedder.close()


@pytest.fixture(params=["here", "child"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    chosen: Embedder = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_vectors_agree_with_the_float32_reference(embedder: Embedder, reference: Reference, every: int) -> None:
    texts, ids = reference.texts[every - 1 :: every], reference.ids[every - 1 :: every]
    embedded = embedder.embed(texts)
    cosines = np.sum(embedded.vectors * reference.vectors[every - 1 :: every], axis=1)
    assert cosines.min() >= 0.999, texts[int(cosines.argmin())]
    assert embedded.tokens == sum(map(len, ids))
    assert max(map(len, ids)) == 256


def test_vectors_are_normalised_float32_rows_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = ["a boat", "an invoice " * 60, "", "the roof"]
    together = embedder.embed(texts).vectors
    alone = np.vstack([embedder.embed([text]).vectors for text in texts])
    assert together.dtype == np.float32
    assert together.shape == (4, embedder.facts.dimension)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.sum(together * alone, axis=1).min() > 0.9999


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).vectors.shape == (0, embedder.facts.dimension)


def test_a_text_of_the_models_full_length_is_embedded_and_one_token_more_is_refused(embedder: Embedder) -> None:
    limit = embedder.facts.context_length
    full = "boat " * (limit - 2)
    assert embedder.count_tokens(full) == limit
    assert embedder.embed([full]).tokens == limit
    with pytest.raises(BadTextError) as refusal:
        embedder.embed(["fine", "boat " * (limit - 1), "also fine"])
    assert (refusal.value.index, refusal.value.tokens) == (1, limit + 1)
    assert embedder.embed(["fine", "also fine"]).vectors.shape[0] == 2


def test_lone_surrogates_and_nul_are_embedded_as_if_they_were_not_there(embedder: Embedder) -> None:
    vectors = embedder.embed(["the \ud800boat\x00", "the boat"]).vectors
    assert vectors[0] @ vectors[1] > 0.9999


def test_more_texts_than_fit_one_batch_keep_their_order(here: LlamaEmbedder) -> None:
    texts = [f"message number {number} " + "word " * (number % 40) for number in range(100)]
    vectors = here.embed(texts).vectors
    for probe in (0, 7, 50, 99):
        assert vectors[probe] @ here.embed([texts[probe]]).vectors[0] > 0.9999


def test_prefixes_go_in_front_of_documents_and_queries(model: ModelFile, here: LlamaEmbedder) -> None:
    facts = replace(model.facts, document_prefix="passage: ", query_prefix="query: ")
    prefixed = LlamaEmbedder(replace(model, facts=facts))
    try:
        assert prefixed.count_tokens("boat") == here.count_tokens("passage: boat")
        document, query = here.embed(["passage: boat", "query: boat"]).vectors
        assert prefixed.embed(["boat"], "document").vectors[0] @ document > 0.9999
        assert prefixed.embed(["boat"], "query").vectors[0] @ query > 0.9999
        assert document @ query < 0.9999
    finally:
        prefixed.close()


def test_a_second_thread_is_turned_away_and_the_first_gets_its_vectors(model: ModelFile) -> None:
    embedder = open_in_process(model)
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(embedder.embed(["word " * 200] * 8).vectors.shape[0])
        except RuntimeError:
            outcomes.append("turned away")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    embedder.close()
    assert 8 in outcomes
    assert "turned away" in outcomes


def test_use_after_close_is_an_exception_and_closing_twice_is_fine(model: ModelFile) -> None:
    embedder = open_in_process(model)
    embedder.embed(["boat"])
    embedder.close()
    embedder.close()
    with pytest.raises(RuntimeError, match="after close"):
        embedder.embed(["boat"])


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def own_child(model: ModelFile) -> Iterator[ChildEmbedder]:
    embedder = open_in_child(model)
    yield embedder
    embedder.close()


@contextmanager
def asked(embedder: ChildEmbedder, texts: list[str]) -> Iterator[Future[Embedded]]:
    """Inside, the child works on these."""
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(embedder.embed, texts)
        while embedder.process_id is None:
            time.sleep(0.01)
        time.sleep(0.1)
        yield answer


def test_a_child_killed_in_the_middle_of_a_call_is_an_error_and_the_next_call_works(own_child: ChildEmbedder) -> None:
    before = own_child.embed(["boat"]).vectors
    with asked(own_child, ["word " * 250] * 400) as answer:
        assert own_child.process_id is not None
        os.kill(own_child.process_id, signal.SIGKILL)
        with pytest.raises(EmbedderCrashedError, match="SIGKILL"):
            answer.result()
    assert np.array_equal(own_child.embed(["boat"]).vectors, before)


def test_a_child_killed_between_calls_is_an_error_once(own_child: ChildEmbedder) -> None:
    own_child.embed(["boat"])
    assert own_child.process_id is not None
    os.kill(own_child.process_id, signal.SIGKILL)
    with pytest.raises(EmbedderCrashedError):
        own_child.embed(["boat"])
    assert own_child.embed(["boat"]).vectors.shape[0] == 1


def test_the_child_ignores_ctrl_c(own_child: ChildEmbedder) -> None:
    own_child.embed(["boat"])
    with asked(own_child, ["word " * 200] * 10) as answer:
        assert own_child.process_id is not None
        os.kill(own_child.process_id, signal.SIGINT)
        assert answer.result().vectors.shape[0] == 10


def test_tokens_are_counted_while_the_child_is_at_work(own_child: ChildEmbedder) -> None:
    with asked(own_child, ["word " * 200] * 10) as answer:
        assert own_child.count_tokens("boat") == 3
        assert answer.result().vectors.shape[0] == 10


def test_a_text_too_long_leaves_the_child_alive(own_child: ChildEmbedder) -> None:
    own_child.embed(["boat"])
    before = own_child.process_id
    with pytest.raises(BadTextError):
        own_child.embed(["boat " * 600])
    own_child.embed(["boat"])
    assert own_child.process_id == before


def test_an_altered_model_is_refused_by_the_child_by_name(model: ModelFile, tmp_path: Path) -> None:
    altered = tmp_path / "altered.gguf"
    content = bytearray(model.path.read_bytes())
    content[-1000] ^= 0xFF
    altered.write_bytes(content)
    embedder = open_in_child(replace(model, path=altered))
    with pytest.raises(ModelError, match=r"altered\.gguf has been altered"):
        embedder.embed(["boat"])
    embedder.close()


_ORPHAN = """
import sys
from vaultembed.models.open import open_in_child, resolve_model
child = open_in_child(resolve_model(sys.argv[1]))
child.embed(["boat"])
print(child.process_id, flush=True)
sys.stdin.read()
"""


def test_the_child_ends_when_its_caller_is_killed(model: ModelFile) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ORPHAN, str(model.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        assert Path(f"/proc/{pid}").exists() or sys.platform != "linux"
        caller.kill()
        caller.wait()

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"

    _wait_until(gone)


_QUIET = """
import sys
from vaultembed.models.open import open_in_child, open_in_process, resolve_model
model = resolve_model(sys.argv[1])
for opened in (open_in_process, open_in_child):
    embedder = opened(model)
    embedder.embed(["boat", "roof " * 400])
    embedder.close()
"""


def test_nothing_is_printed(model: ModelFile) -> None:
    run = subprocess.run([sys.executable, "-c", _QUIET, str(model.path)], capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")


def test_counting_tokens_loads_no_native_code(model: ModelFile) -> None:
    script = (
        "import sys; from vaultembed.models.open import open_in_child, resolve_model\n"
        "print(open_in_child(resolve_model(sys.argv[1])).count_tokens('the boat'))\n"
        "sys.exit('llama_cpp' in sys.modules or 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(model.path)], capture_output=True, check=True)
    assert run.stdout.strip() == b"4"
