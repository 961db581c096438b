from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.assistant import Assistant, assistant, http_server
from tests.kit.mail import mail, mbox
from tests.kit.processes import vaultembed
from vaultembed.models.model_file import ModelFile

BODIES = {
    "Water everywhere": "The pipe under the sink burst and the whole kitchen is flooded.",
    "Sunday": "Shall we take the children to the zoo? The penguins hatched.",
    "Invoice 4411": "Please pay the attached invoice within fourteen days.",
    "Re: Sunday": "The zoo it is. I bring sandwiches for the children.",
    "Plumber": "The plumber came and mended the burst pipe in the kitchen.",
}


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> Path:
    """A small archive, imported and built by the real commands with the real model. Not to be changed."""
    folder = tmp_path_factory.mktemp("answering")
    messages = [
        mail(
            subject,
            body,
            message_id=f"m{n}@example.org",
            date=f"Mon, 0{n + 1} Feb 200{n} 10:00:00 +0100",
            headers=["In-Reply-To: <m1@example.org>"] if subject.startswith("Re:") else ["X-Keywords: home"],
            sender=("Ada <ada@example.org>", "Ben <ben@example.net>")[n % 2],
        )
        for n, (subject, body) in enumerate(BODIES.items())
    ]
    archive = folder / "a.db"
    assert vaultembed("import", mbox(folder / "box", messages), archive=archive).returncode == 0
    done = vaultembed("embeddings", "build", archive=archive)
    assert done.returncode == 0, done.stderr
    return archive


@pytest.fixture(scope="session")
def helper(answering: Path) -> Iterator[Assistant]:
    """An assistant with that archive, over standard input and output."""
    with assistant(answering) as connected:
        yield connected


@pytest.fixture(scope="session")
def url(answering: Path) -> Iterator[str]:
    """Of a server of that archive, over HTTP."""
    with http_server(answering) as found:
        yield found
