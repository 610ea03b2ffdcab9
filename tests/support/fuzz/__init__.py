"""The differential fuzzer: random scripts of commands on a real Redis and on Shoal.

`python -m support.fuzz --help`, or `make fuzz SEED=1 N=100000`. What each module is about:

- `words`: what is put for an argument, by its name: numbers at the edges, ids, scores, binary;
- `grammar`: from the arguments that COMMAND DOCS tells of a command to a call of it;
- `scripts`: which commands a script has, over which keys, from which seed;
- `wrapped`: commands inside of MULTI, or called by EVAL;
- `alike`: when two replies count as the same, where they need not be equal byte for byte;
- `runs`: a whole run; `pair`: a script on both servers, in batches;
- `special`: commands whose outcome is free to a degree, so that they are not just sent;
- `state`: all that a server holds, read back and compared;
- `shrink`: the shortest script that still shows a difference;
- `segments`: what a restart, another number of workers and a real Redis make of the log.
"""
