"""Each bound on a queue, buffer or retry, and why it has the size it has."""

from __future__ import annotations

from typing import Final

# Spanning commands in flight. A client has at most one (it is a barrier for its own client), so
# with the default maxclients of 10000 none is refused for this.
MAX_TICKETS: Final = 16_384

# Bytes of their parts, kept until release in case a participant dies. As much as the largest single
# value; a command that is alone is let in whatever its size, which the client's query buffer has
# bounded.
MAX_TICKET_BYTES: Final = 512 * 1024 * 1024

# Ordinary commands of one partition that wait behind locks: six pipelined by each of 10000 clients.
MAX_LOCK_WAITERS: Final = 65_536

# Bytes kept of a line of a log message; Redis cuts at 1024 as well. A line is one write(2), and the
# processes share a log.
MAX_LOG_LINE_BYTES: Final = 1024

# Workers. They are joined by N * (N - 1) pipes: 128 already mean 32,512 descriptors in the
# supervisor.
MAX_WORKERS: Final = 128

# Addresses in `bind`, as in Redis.
MAX_BIND_ADDRESSES: Final = 16

# Bytes of a unix socket's path: sun_path of unix(7) has 108, the last one for the terminating NUL.
MAX_UNIX_PATH_BYTES: Final = 107

# Bytes of one configuration file, nine times Redis's commented redis.conf; a wrong path may lead to
# anything.
MAX_CONFIG_FILE_BYTES: Final = 1024 * 1024

# `include` inside of an included file: this deep nobody writes by hand, it is a circle.
MAX_INCLUDE_DEPTH: Final = 16

# Bytes of one answer on the control socket: STATUS of 128 workers takes some 50 kB.
MAX_CONTROL_REPLY_BYTES: Final = 8 * 1024 * 1024

# Bytes of one frame between processes. The largest command is bounded by client-query-buffer-limit
# (1 GB), the largest reply by proto-max-bulk-len times the keys of one part; a size is a u32.
MAX_FRAME_BYTES: Final = (1 << 32) - 1

# One read from a pipe; as much as a pipe holds after F_SETPIPE_SZ, so that one read empties it.
PIPE_READ_BYTES: Final = 1 << 18
PIPE_BYTES: Final = 1 << 18

# One read from a client. hiredis takes pieces of up to 64 kB at full speed, three times longer for
# 1 MB.
CLIENT_READ_BYTES: Final = 1 << 16

# Replies of a client that are not sent: above this its commands wait (it does not read).
MAX_UNSENT_REPLY_BYTES: Final = 1 << 20

# Pieces of one sendmsg; IOV_MAX is 1024 on Linux.
MAX_SEND_PIECES: Final = 64

# Bytes of one command. Redis bounds each argument alone (client-query-buffer-limit, 1 GB), which
# counts here too where it is set higher; a command has to fit into a frame, and into memory.
MAX_COMMAND_BYTES: Final = 1 << 30

# Bytes that a client queues in a MULTI, as many as one command may have: it travels to the keys'
# owner as one request. As in Redis they count to the query buffer, whose limit may be lower.
MAX_TRANSACTION_BYTES: Final = MAX_COMMAND_BYTES

# Clients looked at for idleness in one run of the cron, ten times a second: a tenth of all, at
# least this many.
CLIENTS_CRON_MIN: Final = 5
CLIENTS_CRON_SHARE: Final = 10

# Hops of one client without a reply: as many as a pipeline of small commands in one read, so that
# memory for the replies of a careless pipeline of large GETs stays bounded.
MAX_HOPS_IN_FLIGHT: Final = 2048

# Bytes of the reply to one hop, less with many workers (Dispatcher): it has to fit into a frame,
# and marshal takes no bytes object of 2 GB. A larger one (MGET of one huge value, many times) is
# an error.
MAX_HOP_REPLY_BYTES: Final = 1 << 30

# Bytes waiting for one peer's pipe: above this the clients that want more of that peer wait.
MAX_PEER_OUTBOX_BYTES: Final = 1 << 24

# Hops to a worker that is being replaced: how many wait, and how long, before they are answered
# TRYAGAIN or LOADING.
MAX_PARKED_HOPS: Final = 65_536
MAX_PARKED_HOP_BYTES: Final = 1 << 28
PARK_MS: Final = 5_000

# How long a command's reply is held back at most, until clients that wait for keys of several
# partitions, and may be served by what it did, have been tried (`worker/blocking.py`).
HOLD_MS: Final = 5_000

# Bytes and commands of one piece of a value that is lent to another worker, or given back: about a
# millisecond to make, and to take, as the commands that rebuild a value have some 64 elements each.
CHUNK_BYTES: Final = 1 << 16
CHUNK_COMMANDS: Final = 32

# How often a command is run again because it turned out to need more keys, before it is answered
# TRYAGAIN: what it reads must have changed in between each time.
MAX_KEY_ROUNDS: Final = 16

# After so many of these a script is run under locks on everything.
KEY_ROUNDS_UNTIL_EVERYTHING: Final = 4

# Calls that a script may still make once it has turned out to need more keys, to find out which;
# what it does then is taken back.
MAX_CALLS_TO_FIND_KEYS: Final = 4096

# Calls of scripts of which a home remembers what they turned out to need, and how often it relies
# on that before it finds it out anew.
MAX_LEARNED_CALLS: Final = 1024
LEARNED_USES: Final = 1000

# Connections accepted in one turn of the supervisor, so that spanning commands are not held up by a
# flood of them.
ACCEPTS_PER_TURN: Final = 64

# Connections handed to a worker whose channel did not take them yet; beyond, nothing is accepted.
MAX_UNSENT_CLIENTS: Final = 4096

# Bytes of a string that grows by APPEND, SETRANGE or SETBIT: the default of proto-max-bulk-len.
MAX_STRING_BYTES: Final = 512 * 1024 * 1024

# Bytes of one annotation of the log with its CRLF: Redis's loader and redis-check-aof read these
# lines through a buffer of 1024 bytes, and take the rest of a longer one for a command.
MAX_ANNOTATION_BYTES: Final = 1023

# Bytes of a part's answer kept in its annotation: statuses and integers are shorter. The rest of
# the line is for the participants, at most 300 bytes with MAX_WORKERS.
MAX_LOGGED_REPLY_BYTES: Final = 128

# Bytes of one argument in the log. No proto-max-bulk-len comes near, so a larger length is damage.
MAX_LOGGED_BULK_BYTES: Final = 1 << 32

# Bytes of the log read at a time. hiredis takes pieces of up to 64 kB at full speed.
LOG_READ_BYTES: Final = 1 << 16

# Bytes of several unwritten turns joined for one write.
LOG_WRITE_BYTES: Final = 1 << 20

# Bytes of the log in memory until an fsync succeeded (a failed one may drop them from the page
# cache): above this everysec does not wait for its second, above twice this it waits for the disk.
MAX_UNSYNCED_LOG_BYTES: Final = 1 << 26

# Bytes of the log in memory that a failing disk did not take. Writes are refused from its first
# error on, so only expiry and what was under way add to it: as much as the largest single write
# (a query buffer), then the worker gives up.
MAX_UNWRITTEN_LOG_BYTES: Final = 1 << 30

# Bytes of the manifest: 128 workers with hundreds of slot ranges and files each.
MAX_MANIFEST_BYTES: Final = 1 << 22

# Bytes of one line of a request: an inline command, or the header of an array or argument. As in
# Redis.
MAX_REQUEST_LINE_BYTES: Final = 1 << 16

# Arguments of one command, as in Redis (a C int); the query buffer limit comes much earlier.
MAX_REQUEST_ARGS: Final = (1 << 31) - 1

# What a client may send before it has authenticated: arguments, and bytes of each. As in Redis;
# enough for HELLO and AUTH, too little to fill the memory of a server one has no password of.
MAX_UNAUTHENTICATED_ARGS: Final = 10
MAX_UNAUTHENTICATED_ARG_BYTES: Final = 16_384

# Deaths of one worker within this time, after which the server gives up; a crash that a client or
# the data causes comes back within seconds.
MAX_CRASHES: Final = 5
CRASH_WINDOW_MS: Final = 60_000

# Before the second restart within that time; each further one waits twice as long.
FIRST_RESTART_DELAY_MS: Final = 100

# Connections of the control socket at once, and bytes of one request there.
MAX_CONTROL_CLIENTS: Final = 16
MAX_CONTROL_REQUEST_BYTES: Final = 1 << 16

# The active expire cycle: monotonic microseconds of one slice, and ms until the next one when it is
# behind. That is a quarter of the time, as in Redis, and never more than 1 ms at once.
EXPIRE_BUDGET_US: Final = 1000
EXPIRE_REST_MS: Final = 4

# Elements of one reply of SRANDMEMBER and its kind with a negative count, which may exceed the
# collection's size; they take about half a second. Redis goes on until its memory or the client's
# output buffer ends.
MAX_RANDOM_ELEMENTS: Final = 1 << 22

# Small hashes with the same fields share the names (worker/values/hash.py). So many sets of names
# are shared, of so many names each, which are so long: a few MB with usual names if all are used,
# and 90 MB at the very worst, of hashes that then hold as many different names.
MAX_HASH_SHAPES: Final = 4096
MAX_SHAPE_FIELDS: Final = 64
MAX_SHAPE_NAME_BYTES: Final = 64

# Bytes of one dumped value that are compressed (LZF takes 0.3 us for each, in this language), the
# rest stays as it is: a worker stops for 20 ms at most.
MAX_COMPRESSED_BYTES: Final = 1 << 16

# Bytes of one Lua runtime; Redis has no bound there. As much as the largest value, so that a script
# can handle that. A script that needs more ends, and its runtime is made anew.
MAX_SCRIPT_MEMORY_BYTES: Final = 512 * 1024 * 1024

# Of these, what is left for the arguments and results that Python pushes and for an error about it.
SCRIPT_MEMORY_SLACK_BYTES: Final = 8 * 1024 * 1024

# Lua instructions between two looks at the time a script takes: about 1 ms.
SCRIPT_HOOK_COUNT: Final = 100_000

# Scripts that EVAL has brought, as in Redis; what SCRIPT LOAD has brought stays until SCRIPT FLUSH.
MAX_EVAL_SCRIPTS: Final = 500
# Bytes of messages that wait for the confirmation of a SUBSCRIBE, which takes a round trip to all
# workers: the hard limit that client-output-buffer-limit has for pubsub by default.
MAX_HELD_PUSH_BYTES: Final = 1 << 25

# Bytes waiting for one peer's pipe from which on messages for its clients are dropped. PUBLISH
# waits long before (MAX_PEER_OUTBOX_BYTES); keyspace events and MONITOR's lines cannot, and a
# worker that is so far behind will not catch up.
MAX_UNSENT_NEWS_BYTES: Final = 1 << 26

# Flushes that not every partition has told of yet, of which a home keeps account for client-side
# caching. Few are ever under way: each locks a whole database in all partitions.
MAX_FLUSHES_UNDER_WAY: Final = 64

# Keyspace events kept by a worker that has started anew until it knows the subscriptions of the
# others, some milliseconds.
MAX_EVENTS_BEFORE_SYNC: Final = 65_536

# Bytes that a client has not read of what is sent to it unasked, where client-output-buffer-limit
# sets no bound: MONITOR, by default.
MAX_UNREAD_PUSH_BYTES: Final = 1 << 30
