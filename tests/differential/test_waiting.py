"""WAIT and WAITAOF beside redis-server, both without replicas."""

import pytest
from support.differential import Case, Compare, Table, cases, reply, sends

WORDS = ("0", "1", "2", "-1", "99999999999", "99999999999999999999", "x", "1.5", '""', " 1", "01")

WAIT: Table = {
    "any number of arguments": ["WAIT", "WAIT 0", "WAIT 0 0", "WAIT 0 0 0"],
    "any number of replicas": [f"WAIT {word} 5" for word in WORDS],
    "any timeout": [f"WAIT 0 {word}" for word in WORDS],
    "both are wrong": ["WAIT x x", "WAIT x -1", "WAIT 1 -1"],
    "what follows it waits": ["SET k v", sends("WAIT 1 50"), "PING", reply()],
}
WAITAOF: Table = {
    "any number of arguments": ["WAITAOF", "WAITAOF 0", "WAITAOF 0 0", "WAITAOF 0 0 0 0"],
    "any numlocal": [f"WAITAOF {word} 0 0" for word in WORDS if word != "1"],
    "any number of replicas": [f"WAITAOF 0 {word} 5" for word in WORDS[3:]],
    "any timeout": [f"WAITAOF 0 0 {word}" for word in WORDS[3:]],
    "several are wrong": ["WAITAOF x x x", "WAITAOF 0 x x", "WAITAOF 2 x -1", "WAITAOF x 0 -1"],
}


@pytest.mark.parametrize("script", cases(WAIT, WAITAOF))
def test_waiting(script: Case, compare: Compare) -> None:
    compare(script)
