"""What can go wrong with one text, or with the process that hosts the model.

ModelError
├── BadTextError           this text cannot be embedded; the others of the call can
└── EmbedderCrashedError   the process that hosts the model died; the next call starts a new one
"""

from __future__ import annotations

from vaultembed.errors import ModelError


class BadTextError(ModelError):
    """One text of a call cannot be embedded. Nothing of that call was returned: leave it out and call again."""

    def __init__(self, index: int, reason: str, characters: int, tokens: int) -> None:
        super().__init__(f"Text {index} ({characters} characters, {tokens} tokens) cannot be embedded: {reason}.")
        self.index = index
        """Position in the sequence given to `embed`."""
        self.reason = reason
        self.characters = characters
        self.tokens = tokens
        """Special tokens and prefix included."""


class EmbedderCrashedError(ModelError):
    """The process that hosts the model died in the middle of a call; the next call starts a new one."""
