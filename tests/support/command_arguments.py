"""Makes worker/arguments_table.py: what redis-server says of the arguments of our commands.

`make docs` writes it. The notation is described in worker/arguments.py, which reads it; here is the
way back, from a reply of COMMAND DOCS.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from shoal.worker.registry import every_command
from support.command_docs import Docs

TABLE = Path(__file__).parents[2] / "worker" / "arguments_table.py"
WIDTH = 100

HEADER = '''"""What follows the name of each command, in the notation of worker/arguments.py.

Written by `make docs`, of what redis-server's COMMAND DOCS says. Do not edit.
"""

from typing import Final

ARGUMENTS: Final = """
'''
FOOTER = '"""\n'


def notation(arguments: Iterable[Docs]) -> str:
    """Return the line that describes a list of arguments as COMMAND DOCS gives it."""
    return " ".join(map(_argument, arguments))


def _argument(docs: Docs) -> str:
    name, kind = docs["name"], docs["type"]
    text: str = name
    if kind == "pure-token":
        text += ":token"
    elif "arguments" in docs:
        inner = map(_argument, docs["arguments"])
        text += f"({'|'.join(inner) if kind == 'oneof' else ' '.join(inner)})"
    elif kind != "string":
        number = docs.get("key_spec_index", "")
        text += f":{kind}" if kind == "key" and number == 0 else f":{kind}{number}"
    if docs.get("display_text", name) != name:
        text += f'"{docs["display_text"]}"'
    if "token" in docs:
        token: str = docs["token"]
        plain = re.fullmatch("[A-Z][A-Z0-9-]*", token) is not None
        if kind == "pure-token" and plain and token.lower() == name:
            text = token
        else:
            text = f"{token}={text}" if plain else f'"{token}"={text}'
    if "since" in docs:
        text += f"@{docs['since']}"
    if "deprecated_since" in docs:
        text += f"@-{docs['deprecated_since']}"
    flags = docs.get("flags", [])
    if "multiple" in flags:
        text += "...!" if "multiple_token" in flags else "..."
    return f"[{text}]" if "optional" in flags else text


def wrapped(line: str) -> str:
    """Break a line after spaces and bars; what follows is indented."""
    lines, current = [], ""
    for piece in re.findall(r"[^ |]+\|?|\|", line):
        glue = "" if not current.strip() or current.endswith("|") else " "
        if len(current) + len(glue) + len(piece) > WIDTH:
            lines.append(current)
            current, glue = "    ", ""
        current += glue + piece
    return "\n".join([*lines, current])


def table(oracle: dict[str, Docs]) -> str:
    """Return the text of the module, for the commands we have."""
    lines = []
    for name in sorted(entry.spec.name for entry in every_command()):
        arguments = oracle.get(name, {}).get("arguments")
        if arguments:
            lines.append(wrapped(f"{name} {notation(arguments)}") + "\n")
    return HEADER + "".join(lines) + FOOTER
