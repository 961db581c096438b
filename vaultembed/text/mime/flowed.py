"""format=flowed (RFC 3676): soft line breaks undone."""

from __future__ import annotations


def unflow(text: str, *, delete_space: bool) -> str:
    """`text` with flowed paragraphs as one line each; quote depth and signature separator are kept.

    `delete_space` is the DelSp parameter: the space before a soft break belongs to the break.
    """
    out: list[str] = []
    paragraph: list[str] = []
    paragraph_depth = 0

    def flush() -> None:
        if paragraph:
            prefix = ">" * paragraph_depth + (" " if paragraph_depth else "")
            out.append(prefix + "".join(paragraph))
            paragraph.clear()

    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # space-stuffing
        if paragraph and depth != paragraph_depth:
            flush()
        if content == "-- ":
            flush()
            paragraph_depth = depth
            paragraph.append(content)
            flush()
            continue
        paragraph_depth = depth
        if content.endswith(" "):
            paragraph.append(content[:-1] if delete_space else content)
        else:
            paragraph.append(content)
            flush()
    flush()
    return "\n".join(out)
