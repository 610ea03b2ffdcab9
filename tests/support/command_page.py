"""Writes docs/commands.md, and the arguments of COMMAND DOCS, after a command was added.

`make docs` does it: our side is the command table, Redis's is asked of the redis-server that the
tests compare with.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from shoal.worker.commands import load_all
from shoal.worker.registry import COMMANDS, Command, LockScope, Scope, every_command
from support import command_arguments
from support.command_docs import Docs, documented

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

HEADER = """\
# Commands

<!-- Written by `make docs` from the command table. Do not edit. -->

What Shoal implements, {ours} commands, with what COMMAND and COMMAND DOCS of the server itself tell
too; subcommands count for their container. {theirs} commands of Redis 8.2 are missing and listed
[at the end](#not-there).

Keys are divided among the workers by hash slot: each worker owns one partition. *Where it runs*
says what that means for a command:

- **client's worker**: it needs no key; the worker that holds the connection answers, some after
  asking the supervisor;
- **owner of the key**: on the worker that owns the key, which is one hop away unless it is the
  client's own;
- **owner of the keys**: the same if all keys lie in one partition; else it is done atomically over
  all of theirs; a hash tag puts keys into one: `{{user1}}:name`, `{{user1}}:mail`;
- **owner of the cursor**: each call of an iteration is answered by one worker;
- **owners of the keys, atomically**: the keys may lie anywhere; they are locked in every partition
  concerned and the command takes effect in all of them at once;
- **all partitions, atomically**: the database, or every database, is locked in all partitions;
- **all workers**: each one is asked or told, and the answers are merged; no lock is taken.
"""

_SPANNING = {
    LockScope.KEYS: "owners of the keys, atomically",
    LockScope.DB: "all partitions, atomically",
    LockScope.STORE: "all partitions, atomically",
    LockScope.NOTHING: "all workers",
}


def where(entry: Command) -> str:
    """Return where a command runs, in the words of the page."""
    if entry.scope is Scope.CLIENT:
        return "client's worker"
    if entry.spanning is not None:
        return _SPANNING[entry.spanning.locks]
    if entry.scope is Scope.SERVER:
        return "all workers"
    if entry.route is not None:
        return "owner of the cursor"
    keys = entry.spec.keys
    if not keys:
        return "client's worker"
    several = len(keys) > 1 or keys[0].last or keys[0].keynum
    return "owner of the keys" if several else "owner of the key"


def page(oracle: dict[str, Docs]) -> str:
    """Return the text of the page; `oracle` is what `documented` gives."""
    ours = {entry.spec.name: entry for entry in every_command()}
    groups: dict[str, list[Command]] = {}
    for entry in ours.values():
        if not _is_container(entry):
            groups.setdefault(entry.spec.group, []).append(entry)
    missing: dict[str, list[str]] = {}
    for name, docs in sorted(oracle.items()):
        container = name.partition("|")[0]
        # Of a container that is missing altogether the name is enough.
        if name not in ours and (container == name or container in ours):
            missing.setdefault(docs["group"], []).append(_shown(name))
    lost = sum("|" not in name and name not in ours for name in oracle)
    text = HEADER.format(ours=len(COMMANDS), theirs=lost)
    for group in sorted(groups):
        text += f"\n## {_title(group)}\n\n" + "".join(_rows(groups[group]))
    text += "\n## Not there\n\nWhat Redis 8.2 has and Shoal has not, by group. Calling one is "
    text += "answered as Redis answers an\nunknown command or subcommand.\n"
    for group in sorted(missing):
        names = ", ".join(f"`{name}`" for name in missing[group])
        text += f"\n- **{_title(group)}**: {names}"
    return text + "\n"


def _rows(entries: Iterable[Command]) -> Iterator[str]:
    yield "| Command | Since | Arity | What it does | ACL categories | Where it runs |\n"
    yield "|---|---|---|---|---|---|\n"
    for entry in sorted(entries, key=lambda entry: entry.name):
        spec = entry.spec
        does = spec.summary.replace("|", "\\|")
        if spec.deprecated_since is not None:
            does += f" *Deprecated since {spec.deprecated_since}, replaced by {spec.replaced_by}.*"
        categories = " ".join(f"@{category}" for category in spec.categories())
        cells = (f"`{_shown(spec.name)}`", spec.since, str(spec.arity), does, categories)
        yield f"| {' | '.join(cells)} | {where(entry)} |\n"


def _is_container(entry: Command) -> bool:
    return bool(entry.subcommands) and not entry.spec.arity_fits(1)


def _shown(name: str) -> str:
    return name.upper().replace("|", " ")


def _title(group: str) -> str:
    return group.replace("-", " ").capitalize()


def main() -> None:
    """Write what is generated from the command table."""
    load_all()
    oracle = documented()
    command_arguments.TABLE.write_text(command_arguments.table(oracle))
    PAGE.write_text(page(oracle))


if __name__ == "__main__":
    main()
