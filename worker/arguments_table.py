"""What follows the name of each command, in the notation of worker/arguments.py.

Written by `make docs`, of what redis-server's COMMAND DOCS says. Do not edit.
"""

from typing import Final

ARGUMENTS: Final = """
append key:key value
auth [username@6.0.0] password
client|kill filter(old-format"ip:port"@-2.8.12|new-format([ID=client-id:integer@2.8.12]|
    [TYPE=client-type(NORMAL|MASTER@3.2.0|SLAVE|REPLICA@5.0.0|PUBSUB)@2.8.12]|[USER=username]|
    [ADDR=addr"ip:port"]|[LADDR=laddr"ip:port"@6.2.0]|[SKIPME=skipme(YES|NO)]|
    [MAXAGE=maxage:integer@7.4.0])...)
client|list [TYPE=client-type(NORMAL|MASTER|REPLICA|PUBSUB)@5.0.0] [ID=client-id:integer@6.2.0...]
client|no-evict enabled(ON|OFF)
client|no-touch enabled(ON|OFF)
client|pause timeout:integer [mode(WRITE|ALL)@6.2.0]
client|reply action(ON|OFF|SKIP)
client|setinfo attr(LIB-NAME=libname|LIB-VER=libver)
client|setname connection-name
client|unblock client-id:integer [unblock-type(TIMEOUT|ERROR)]
command|docs [command-name...]
command|getkeys command [arg...]
command|getkeysandflags command [arg...]
command|info [command-name...]
command|list [FILTERBY=filterby(MODULE=module-name|ACLCAT=category|PATTERN=pattern:pattern)]
config|get parameter...
config|set data(parameter value)...
copy source:key destination:key1 [DB=destination-db:integer] [REPLACE]
decr key:key
decrby key:key decrement:integer
del key:key...
echo message
exists key:key...
expire key:key seconds:integer [condition(NX|XX|GT|LT)@7.0.0]
expireat key:key unix-time-seconds:unix-time [condition(NX|XX|GT|LT)@7.0.0]
expiretime key:key
flushall [flush-type(ASYNC@4.0.0|SYNC@6.2.0)]
flushdb [flush-type(ASYNC@4.0.0|SYNC@6.2.0)]
get key:key
getdel key:key
getex key:key [expiration(EX=seconds:integer|PX=milliseconds:integer|
    EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|PERSIST)]
getrange key:key start:integer end:integer
getset key:key value
hello [arguments(protover:integer [AUTH=auth(username password)] [SETNAME=clientname])]
incr key:key
incrby key:key increment:integer
incrbyfloat key:key increment:double
info [section...]
keys pattern:pattern
lcs key1:key key2:key [LEN] [IDX] [MINMATCHLEN=min-match-len:integer] [WITHMATCHLEN]
lolwut [VERSION=version:integer]
mget key:key...
move key:key db:integer
mset data(key:key value)...
msetnx data(key:key value)...
object|encoding key:key
object|freq key:key
object|idletime key:key
object|refcount key:key
persist key:key
pexpire key:key milliseconds:integer [condition(NX|XX|GT|LT)@7.0.0]
pexpireat key:key unix-time-milliseconds:unix-time [condition(NX|XX|GT|LT)@7.0.0]
pexpiretime key:key
ping [message]
psetex key:key milliseconds:integer value
pttl key:key
rename key:key newkey:key1
renamenx key:key newkey:key1
scan cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer] [TYPE=type@6.0.0]
select index:integer
set key:key value [condition(NX|XX)@2.6.12] [GET@6.2.0] [expiration(EX=seconds:integer@2.6.12|
    PX=milliseconds:integer@2.6.12|EXAT=unix-time-seconds:unix-time@6.2.0|
    PXAT=unix-time-milliseconds:unix-time@6.2.0|KEEPTTL@6.0.0)]
setex key:key seconds:integer value
setnx key:key value
setrange key:key offset:integer value
shutdown [save-selector(NOSAVE|SAVE)] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]
strlen key:key
substr key:key start:integer end:integer
swapdb index1:integer index2:integer
touch key:key...
ttl key:key
type key:key
unlink key:key...
"""
