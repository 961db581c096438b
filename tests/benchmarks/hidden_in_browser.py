"""Is the text that `text.hidden` takes for seen the text that a browser shows?

Each HTML part of the mails in FOLDER is drawn twice by Chromium, without pictures and scripts, the second time with all
text transparent: text over which no pixel changes is not seen. Needs `pip install playwright pillow` and a Chromium.

    python -m tests.benchmarks.hidden_in_browser FOLDER [--chromium /usr/bin/chromium] [--most 300]
"""

from __future__ import annotations

import argparse
import email
import io
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from resiliparse.parse.html import ElementNode, HTMLTree, NodeType

from vaultembed.text.html.visibility import drop_hidden

DIFFERENT = 25
"""Of 255 in a colour: less is not seen."""
TALLEST = 12_000
ACTIVE = re.compile(r"(?is)<script.*?</script>|<meta[^>]*http-equiv[^>]*>|\son\w+\s*=\s*(\"[^\"]*\"|'[^']*')")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-lcd-text"]
TEXTS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [], ranges = [];
  const skipped = 'script,style,noscript,title,template,svg,math,select,textarea,button';
  while (walker.nextNode()) {
    const node = walker.currentNode, within = node.parentElement;
    if (!node.data.trim() || within.closest(skipped)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    ranges.push(range);
    const places = [...range.getClientRects()].map(r => [r.left + scrollX, r.top + scrollY, r.width, r.height]);
    found.push([node.data, places]);
  }
  window.texts = new Highlight(...ranges);
  return found;
}"""
CLEAR = "::highlight(clear) {color: transparent !important; -webkit-text-fill-color: transparent; text-shadow: none}"


def html_parts(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for part in email.message_from_bytes(path.read_bytes()).walk():
            if part.get_content_type() == "text/html":
                payload = part.get_payload(decode=True)
                if isinstance(payload, bytes):
                    found.append((path.name, payload.decode("latin-1")))
    return found


def seen_by_browser(page: Any, html: str) -> dict[str, set[bool]]:
    """By text without white space: whether it is seen, at each place where it stands."""
    from PIL import Image

    def drawn() -> Any:
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        return np.asarray(picture).astype(np.int16)[:TALLEST]

    page.set_content(ACTIVE.sub("", html), wait_until="domcontentloaded")
    page.add_style_tag(content=CLEAR)
    texts = page.evaluate(TEXTS)
    before = drawn()
    page.evaluate("() => { CSS.highlights.set('clear', window.texts) }")
    after = drawn()
    height, width = min(len(before), len(after)), min(before.shape[1], after.shape[1])
    change = np.abs(before[:height, :width] - after[:height, :width]).max(axis=2)
    seen: dict[str, set[bool]] = defaultdict(set)
    for text, places in texts:
        pixels = 0
        for left, top, wide, high in places:
            area = change[max(int(top), 0) : int(top + high) + 1, max(int(left), 0) : int(left + wide) + 1]
            pixels += int((area >= DIFFERENT).sum())
        seen["".join(text.split())].add(pixels > 2)
    return seen


def texts_of(tree: HTMLTree) -> Counter[str]:
    found: Counter[str] = Counter()
    stack: list[Any] = [tree.body]
    while stack:
        node = stack.pop()
        if isinstance(node, ElementNode):
            if not node.hasattr("hidden"):
                stack += node.child_nodes[:]
        elif node is not None and node.type == NodeType.TEXT:
            found["".join((node.value or "").split())] += 1
    return found


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--most", type=int, default=300)
    given = parser.parse_args()
    parts = html_parts(given.folder)
    parts = random.Random(1).sample(parts, min(given.most, len(parts)))
    verdicts: Counter[str] = Counter()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.route("**/*", lambda route: route.abort())
        for name, html in parts:
            tree = HTMLTree.parse(html)
            if tree.body is None:
                continue
            before = texts_of(tree)
            drop_hidden(tree, tree.body, html)
            after = texts_of(tree)
            for text, seen in seen_by_browser(page, html).items():
                if len(text) < 2 or text not in before or len(seen) != 1:
                    continue
                (is_seen,) = seen
                kept = after[text] > 0 if is_seen else after[text] == before[text]
                verdict = f"{'seen' if is_seen else 'not seen'}, {'kept' if kept else 'left out'}"
                verdicts[verdict] += 1
                if is_seen != kept:
                    print(f"{verdict}: {name}: {text[:80]}")
    for verdict, count in sorted(verdicts.items()):
        print(f"{count:>8,} {verdict}")


if __name__ == "__main__":
    main()
