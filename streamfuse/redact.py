"""Takes user names and passwords out of text that people will see: messages, logs, reports."""

from __future__ import annotations

import re

HIDDEN = "***"
_IN_ADDRESS = re.compile(r"(?<=://)[^\s'\"]*@")
_NAMED = re.compile(
    r"(?i)\b(user-?(?:id|name)?|user-pw|pass(?:word|wd|phrase)?|pwd|token|api-?key)=(\"[^\"]*\"|[^\s&;,'\"]+)"
)


def redact(text: str) -> str:
    """`text` with `user:password@` of every address and the value of every `password=...` hidden.

    Greedy where an unescaped password makes the address ambiguous: better too much hidden than too little.
    """
    return _NAMED.sub(rf"\1={HIDDEN}", _IN_ADDRESS.sub(f"{HIDDEN}@", text))
