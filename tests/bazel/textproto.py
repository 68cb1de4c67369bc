"""Reads protocol buffers in text form, as far as Bazel's `starlark_doc_extract` writes it."""

import re
from collections import defaultdict

TOKEN = re.compile(r'\s*(?:(\w+)\s*\{|(\w+):\s*("(?:[^"\\]|\\.)*"|\S+)|(\}))')
# Bytes are written in octal, three digits each.
ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
CHARACTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


def unescape(match: re.Match) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if len(code) == 3 else CHARACTERS.get(code, code)


def value_of(text: str):
    if text.startswith('"'):
        return ESCAPE.sub(unescape, text[1:-1].encode()).decode()
    return {"true": True, "false": False}.get(text, text)


def parse(text: str) -> dict:
    """Returns a message: a list of values by field, each of which is a text, a bool or a message."""
    messages, position = [defaultdict(list)], 0
    text = text.rstrip()
    while position < len(text):
        token = TOKEN.match(text, position)
        if not token:
            raise ValueError(f"expected a field, found `{text[position:position + 40]}`")
        position = token.end()
        opened, field, value, closed = token.groups()
        if opened:
            message = defaultdict(list)
            messages[-1][opened].append(message)
            messages.append(message)
        elif closed:
            messages.pop()
        else:
            messages[-1][field].append(value_of(value))
    if len(messages) != 1:
        raise ValueError("expected `}`, found the end")
    return messages[0]
