"""Histories of the real server: many clients, `kill -9` meanwhile, a checker over what was heard.

Pure, and tested on histories made by hand (`tests/unit/test_histories.py`):

- `history`: what a client did and heard, and what an anomaly is;
- `registers`, `list_append`, `bank`, `sets`: one checker for each workload.

With processes and sockets:

- `link`: a connection, and the recorder of what goes over it;
- `workloads`: what clients do, and on which keys;
- `runs`: one round (a server, clients, a killer, the checker), and many of them with a report.

`python -m support.histories` is `make verify`; docs/consistency.md says what is checked and how.
"""
