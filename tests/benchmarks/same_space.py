"""How near the vectors of what counts as one model are, and how far those of what does not: what the threshold of
`embeddings.adopted` stands on.

`python -m tests.benchmarks.same_space [FOLDER_OF_MAIL]`: the default model, quantised as people run it, with a prefix,
with texts made in another way, against itself. Texts: the bundled sample, or real mail.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from vaultembed.archive.database import open_archive_readonly
from vaultembed.archive.generations.work import read_work
from vaultembed.models.open import open_in_process, resolve_model
from vaultembed.msgvault.comparing import SAME_MEDIAN, SAME_TENTH
from vaultembed.sample import sample_path
from vaultembed.service.importing import import_mail
from vaultembed.text.embeddable.prepare import prepare_text

TYPES = {
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q6_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q3_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M,
}


def quantised(source: Path, target: Path, kind: int) -> Path:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kind
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) == 0
    return target


def texts(folder: Path | None, most: int = 400) -> list[tuple[str, str]]:
    """Subject and body of short messages."""
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "a.db"
        import_mail(archive, [folder or sample_path()])
        with open_archive_readonly(archive) as opened:
            ids = [row[0] for row in opened.rows("SELECT id FROM messages ORDER BY id LIMIT ?", (10 * most,))]
            found = [(work.subject, work.body_text) for work in read_work(opened, ids)]
    return [(s, b) for s, b in found if len(prepare_text(s, b)) > 20 and len(f"Subject: {s}\n\n{b}") < 900][:most]


def told(what: str, made: np.ndarray, other: np.ndarray) -> None:
    cosines = np.sort((made * other).sum(axis=1))
    median, tenth = float(np.median(cosines)), float(cosines[len(cosines) // 10])
    print(
        f"{what:42} median {median:.4f}  lowest {cosines[0]:.4f}  one in ten below {tenth:.4f}"
        f"  {'same' if median >= SAME_MEDIAN and tenth >= SAME_TENTH else 'another'}"
    )


def embed(path: Path | None, given: Sequence[str], prefix: str = "") -> np.ndarray:
    embedder = open_in_process(resolve_model(str(path)) if path else resolve_model(), 1)
    return np.concatenate([embedder.embed([prefix + text]).vectors for text in given])


def main() -> None:
    mail = texts(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    plain = [f"Subject: {subject}\n\n{body.strip()}" for subject, body in mail]
    base = embed(None, plain)
    print(f"{len(mail)} texts; the same from {SAME_MEDIAN} and {SAME_TENTH} on")
    told("itself", base, base)
    with tempfile.TemporaryDirectory() as name:
        for kind, number in TYPES.items():
            path = quantised(resolve_model().path, Path(name) / f"{kind}.gguf", number)
            told(f"quantised to {kind}", embed(path, plain), base)
    told("with the prefix 'search_document: '", embed(None, plain, "search_document: "), base)
    told("with the prefix 'passage: '", embed(None, plain, "passage: "), base)
    told("texts without their subject", embed(None, [b for _, b in mail]), base)
    told("texts prepared as here", embed(None, [prepare_text(s, b) for s, b in mail]), base)
    told("texts of the message after it", np.roll(base, 1, axis=0), base)


if __name__ == "__main__":
    main()
