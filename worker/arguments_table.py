"""What follows the name of each command, in the notation of worker/arguments.py.

Written by `make docs`, of what redis-server's COMMAND DOCS says. Do not edit.
"""

from typing import Final

ARGUMENTS: Final = """
append key:key value
auth [username@6.0.0] password
bitcount key:key [range(start:integer end:integer [unit(BYTE|BIT)@7.0.0])]
bitfield key:key [operation(GET=get-block(encoding offset:integer)|
    write([OVERFLOW=overflow-block(WRAP|SAT|FAIL)] write-operation(SET=set-block(encoding
    offset:integer value:integer)|INCRBY=incrby-block(encoding offset:integer
    increment:integer))))...]
bitfield_ro key:key [GET=get-block(encoding offset:integer)...!]
bitop operation(AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE) destkey:key key:key1...
bitpos key:key bit:integer [range(start:integer [end-unit-block(end:integer [unit(BYTE|
    BIT)@7.0.0])])]
blmove source:key destination:key1 wherefrom(LEFT|RIGHT) whereto(LEFT|RIGHT) timeout:double
blmpop timeout:double numkeys:integer key:key... where(LEFT|RIGHT) [COUNT=count:integer]
blpop key:key... timeout:double
brpop key:key... timeout:double
brpoplpush source:key destination:key1 timeout:double
bzmpop timeout:double numkeys:integer key:key... where(MIN|MAX) [COUNT=count:integer]
bzpopmax key:key... timeout:double
bzpopmin key:key... timeout:double
client|caching mode(YES|NO)
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
client|tracking status(ON|OFF) [REDIRECT=client-id:integer] [PREFIX=prefix...!] [BCAST] [OPTIN]
    [OPTOUT] [NOLOOP]
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
dump key:key
echo message
eval script numkeys:integer [key:key...] [arg...]
eval_ro script numkeys:integer [key:key...] [arg...]
evalsha sha1 numkeys:integer [key:key...] [arg...]
evalsha_ro sha1 numkeys:integer [key:key...] [arg...]
exists key:key...
expire key:key seconds:integer [condition(NX|XX|GT|LT)@7.0.0]
expireat key:key unix-time-seconds:unix-time [condition(NX|XX|GT|LT)@7.0.0]
expiretime key:key
fcall function numkeys:integer [key:key...] [arg...]
fcall_ro function numkeys:integer [key:key...] [arg...]
flushall [flush-type(ASYNC@4.0.0|SYNC@6.2.0)]
flushdb [flush-type(ASYNC@4.0.0|SYNC@6.2.0)]
function|delete library-name
function|flush [flush-type(ASYNC|SYNC)]
function|list [LIBRARYNAME=library-name-pattern] [WITHCODE]
function|load [REPLACE] function-code
function|restore serialized-value [policy(FLUSH|APPEND|REPLACE)]
geoadd key:key [condition(NX|XX)@6.2.0] [CH=change:token@6.2.0] data(longitude:double
    latitude:double member)...
geodist key:key member1 member2 [unit(M|KM|FT|MI)]
geohash key:key [member...]
geopos key:key [member...]
georadius key:key longitude:double latitude:double radius:double unit(M|KM|FT|MI) [WITHCOORD]
    [WITHDIST] [WITHHASH] [count-block(COUNT=count:integer [ANY@6.2.0])] [order(ASC|DESC)]
    [store(STORE=storekey:key1"key"|STOREDIST=storedistkey:key2"key")]
georadius_ro key:key longitude:double latitude:double radius:double unit(M|KM|FT|MI) [WITHCOORD]
    [WITHDIST] [WITHHASH] [count-block(COUNT=count:integer [ANY@6.2.0])] [order(ASC|DESC)]
georadiusbymember key:key member radius:double unit(M|KM|FT|MI) [WITHCOORD] [WITHDIST] [WITHHASH]
    [count-block(COUNT=count:integer [ANY])] [order(ASC|DESC)] [store(STORE=storekey:key1"key"|
    STOREDIST=storedistkey:key2"key")]
georadiusbymember_ro key:key member radius:double unit(M|KM|FT|MI) [WITHCOORD] [WITHDIST] [WITHHASH]
    [count-block(COUNT=count:integer [ANY])] [order(ASC|DESC)]
geosearch key:key from(FROMMEMBER=member|FROMLONLAT=fromlonlat(longitude:double latitude:double))
    by(circle(BYRADIUS=radius:double unit(M|KM|FT|MI))|box(BYBOX=width:double height:double unit(M|
    KM|FT|MI))) [order(ASC|DESC)] [count-block(COUNT=count:integer [ANY])] [WITHCOORD] [WITHDIST]
    [WITHHASH]
geosearchstore destination:key source:key1 from(FROMMEMBER=member|
    FROMLONLAT=fromlonlat(longitude:double latitude:double)) by(circle(BYRADIUS=radius:double
    unit(M|KM|FT|MI))|box(BYBOX=width:double height:double unit(M|KM|FT|MI))) [order(ASC|DESC)]
    [count-block(COUNT=count:integer [ANY])] [STOREDIST]
get key:key
getbit key:key offset:integer
getdel key:key
getex key:key [expiration(EX=seconds:integer|PX=milliseconds:integer|
    EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|PERSIST)]
getrange key:key start:integer end:integer
getset key:key value
hdel key:key field...
hello [arguments(protover:integer [AUTH=auth(username password)] [SETNAME=clientname])]
hexists key:key field
hexpire key:key seconds:integer [condition(NX|XX|GT|LT)] FIELDS=fields(numfields:integer field...)
hexpireat key:key unix-time-seconds:unix-time [condition(NX|XX|GT|LT)]
    FIELDS=fields(numfields:integer field...)
hexpiretime key:key FIELDS=fields(numfields:integer field...)
hget key:key field
hgetall key:key
hgetdel key:key FIELDS=fields(numfields:integer field...)
hgetex key:key [expiration(EX=seconds:integer|PX=milliseconds:integer|
    EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|PERSIST)]
    FIELDS=fields(numfields:integer field...)
hincrby key:key field increment:integer
hincrbyfloat key:key field increment:double
hkeys key:key
hlen key:key
hmget key:key field...
hmset key:key data(field value)...
hpersist key:key FIELDS=fields(numfields:integer field...)
hpexpire key:key milliseconds:integer [condition(NX|XX|GT|LT)] FIELDS=fields(numfields:integer
    field...)
hpexpireat key:key unix-time-milliseconds:unix-time [condition(NX|XX|GT|LT)]
    FIELDS=fields(numfields:integer field...)
hpexpiretime key:key FIELDS=fields(numfields:integer field...)
hpttl key:key FIELDS=fields(numfields:integer field...)
hrandfield key:key [options(count:integer [WITHVALUES])]
hscan key:key cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer] [NOVALUES]
hset key:key data(field value)...
hsetex key:key [condition(FNX|FXX)] [expiration(EX=seconds:integer|PX=milliseconds:integer|
    EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|KEEPTTL)]
    FIELDS=fields(numfields:integer data(field value)...)
hsetnx key:key field value
hstrlen key:key field
httl key:key FIELDS=fields(numfields:integer field...)
hvals key:key
incr key:key
incrby key:key increment:integer
incrbyfloat key:key increment:double
info [section...]
keys pattern:pattern
lcs key1:key key2:key [LEN] [IDX] [MINMATCHLEN=min-match-len:integer] [WITHMATCHLEN]
lindex key:key index:integer
linsert key:key where(BEFORE|AFTER) pivot element
llen key:key
lmove source:key destination:key1 wherefrom(LEFT|RIGHT) whereto(LEFT|RIGHT)
lmpop numkeys:integer key:key... where(LEFT|RIGHT) [COUNT=count:integer]
lolwut [VERSION=version:integer]
lpop key:key [count:integer@6.2.0]
lpos key:key element [RANK=rank:integer] [COUNT=num-matches:integer] [MAXLEN=len:integer]
lpush key:key element...
lpushx key:key element...
lrange key:key start:integer stop:integer
lrem key:key count:integer element
lset key:key index:integer element
ltrim key:key start:integer stop:integer
memory|usage key:key [SAMPLES=count:integer]
mget key:key...
migrate host port:integer key-selector(key:key|""=empty-string:token) destination-db:integer
    timeout:integer [COPY@3.0.0] [REPLACE@3.0.0] [authentication(AUTH=auth"password"@4.0.7|
    AUTH2=auth2(username password)@6.0.0)] [KEYS=keys:key1"key"@3.0.6...]
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
pfadd key:key [element...]
pfcount key:key...
pfdebug subcommand key:key
pfmerge destkey:key [sourcekey:key1...]
ping [message]
psetex key:key milliseconds:integer value
psubscribe pattern:pattern...
pttl key:key
publish channel message
pubsub|channels [pattern:pattern]
pubsub|numsub [channel...]
pubsub|shardchannels [pattern:pattern]
pubsub|shardnumsub [shardchannel...]
punsubscribe [pattern:pattern...]
rename key:key newkey:key1
renamenx key:key newkey:key1
restore key:key ttl:integer serialized-value [REPLACE@3.0.0] [ABSTTL@5.0.0]
    [IDLETIME=seconds:integer@5.0.0] [FREQ=frequency:integer@5.0.0]
rpop key:key [count:integer@6.2.0]
rpoplpush source:key destination:key1
rpush key:key element...
rpushx key:key element...
sadd key:key member...
scan cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer] [TYPE=type@6.0.0]
scard key:key
script|debug mode(YES|SYNC|NO)
script|exists sha1...
script|flush [flush-type(ASYNC|SYNC)@6.2.0]
script|load script
sdiff key:key...
sdiffstore destination:key key:key1...
select index:integer
set key:key value [condition(NX|XX)@2.6.12] [GET@6.2.0] [expiration(EX=seconds:integer@2.6.12|
    PX=milliseconds:integer@2.6.12|EXAT=unix-time-seconds:unix-time@6.2.0|
    PXAT=unix-time-milliseconds:unix-time@6.2.0|KEEPTTL@6.0.0)]
setbit key:key offset:integer value:integer
setex key:key seconds:integer value
setnx key:key value
setrange key:key offset:integer value
shutdown [save-selector(NOSAVE|SAVE)] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]
sinter key:key...
sintercard numkeys:integer key:key... [LIMIT=limit:integer]
sinterstore destination:key key:key1...
sismember key:key member
smembers key:key
smismember key:key member...
smove source:key destination:key1 member
sort key:key [BY=by-pattern:pattern1"pattern"] [LIMIT=limit(offset:integer count:integer)]
    [GET=get-pattern:pattern1"pattern"...!] [order(ASC|DESC)] [ALPHA=sorting:token]
    [STORE=destination:key2]
sort_ro key:key [BY=by-pattern:pattern1"pattern"] [LIMIT=limit(offset:integer count:integer)]
    [GET=get-pattern:pattern1"pattern"...!] [order(ASC|DESC)] [ALPHA=sorting:token]
spop key:key [count:integer@3.2.0]
spublish shardchannel message
srandmember key:key [count:integer@2.6.0]
srem key:key member...
sscan key:key cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer]
ssubscribe shardchannel...
strlen key:key
subscribe channel...
substr key:key start:integer end:integer
sunion key:key...
sunionstore destination:key key:key1...
sunsubscribe [shardchannel...]
swapdb index1:integer index2:integer
touch key:key...
ttl key:key
type key:key
unlink key:key...
unsubscribe [channel...]
wait numreplicas:integer timeout:integer
waitaof numlocal:integer numreplicas:integer timeout:integer
watch key:key...
xack key:key group id...
xackdel key:key group [condition(KEEPREF|DELREF|ACKED)] IDS=ids(numids:integer id...)
xadd key:key [NOMKSTREAM@6.2.0] [condition(KEEPREF|DELREF|ACKED)] [trim(strategy(MAXLEN|MINID@6.2.0)
    [operator("="=equal:token|"~"=approximately:token)] threshold [LIMIT=count:integer@6.2.0])]
    id-selector("*"=auto-id:token|id) data(field value)...
xautoclaim key:key group consumer min-idle-time start [COUNT=count:integer] [JUSTID]
xclaim key:key group consumer min-idle-time id... [IDLE=ms:integer]
    [TIME=unix-time-milliseconds:unix-time] [RETRYCOUNT=count:integer] [FORCE] [JUSTID]
    [LASTID=lastid]
xdel key:key id...
xdelex key:key [condition(KEEPREF|DELREF|ACKED)] IDS=ids(numids:integer id...)
xgroup|create key:key group id-selector(id|"$"=new-id:token) [MKSTREAM]
    [ENTRIESREAD=entriesread:integer"entries-read"]
xgroup|createconsumer key:key group consumer
xgroup|delconsumer key:key group consumer
xgroup|destroy key:key group
xgroup|setid key:key group id-selector(id|"$"=new-id:token)
    [ENTRIESREAD=entriesread:integer"entries-read"]
xinfo|consumers key:key group
xinfo|groups key:key
xinfo|stream key:key [full-block(FULL [COUNT=count:integer])]
xlen key:key
xpending key:key group [filters([IDLE=min-idle-time:integer@6.2.0] start end count:integer
    [consumer])]
xrange key:key start end [COUNT=count:integer]
xread [COUNT=count:integer] [BLOCK=milliseconds:integer] STREAMS=streams(key:key... id...)
xreadgroup GROUP=group-block(group consumer) [COUNT=count:integer] [BLOCK=milliseconds:integer]
    [NOACK] STREAMS=streams(key:key... id...)
xrevrange key:key end start [COUNT=count:integer]
xsetid key:key last-id [ENTRIESADDED=entries-added:integer@7.0.0]
    [MAXDELETEDID=max-deleted-id@7.0.0]
xtrim key:key trim(strategy(MAXLEN|MINID@6.2.0) [operator("="=equal:token|"~"=approximately:token)]
    threshold [LIMIT=count:integer@6.2.0] [condition(KEEPREF|DELREF|ACKED)])
zadd key:key [condition(NX|XX)@3.0.2] [comparison(GT|LT)@6.2.0] [CH=change:token@3.0.2]
    [INCR=increment:token@3.0.2] data(score:double member)...
zcard key:key
zcount key:key min:double max:double
zdiff numkeys:integer key:key... [WITHSCORES]
zdiffstore destination:key numkeys:integer key:key1...
zincrby key:key increment:integer member
zinter numkeys:integer key:key... [WEIGHTS=weight:integer...] [AGGREGATE=aggregate(SUM|MIN|MAX)]
    [WITHSCORES]
zintercard numkeys:integer key:key... [LIMIT=limit:integer]
zinterstore destination:key numkeys:integer key:key1... [WEIGHTS=weight:integer...]
    [AGGREGATE=aggregate(SUM|MIN|MAX)]
zlexcount key:key min max
zmpop numkeys:integer key:key... where(MIN|MAX) [COUNT=count:integer]
zmscore key:key member...
zpopmax key:key [count:integer]
zpopmin key:key [count:integer]
zrandmember key:key [options(count:integer [WITHSCORES])]
zrange key:key start stop [sortby(BYSCORE|BYLEX)@6.2.0] [REV@6.2.0] [LIMIT=limit(offset:integer
    count:integer)@6.2.0] [WITHSCORES]
zrangebylex key:key min max [LIMIT=limit(offset:integer count:integer)]
zrangebyscore key:key min:double max:double [WITHSCORES@2.0.0] [LIMIT=limit(offset:integer
    count:integer)]
zrangestore dst:key src:key1 min max [sortby(BYSCORE|BYLEX)] [REV] [LIMIT=limit(offset:integer
    count:integer)]
zrank key:key member [WITHSCORE]
zrem key:key member...
zremrangebylex key:key min max
zremrangebyrank key:key start:integer stop:integer
zremrangebyscore key:key min:double max:double
zrevrange key:key start:integer stop:integer [WITHSCORES]
zrevrangebylex key:key max min [LIMIT=limit(offset:integer count:integer)]
zrevrangebyscore key:key max:double min:double [WITHSCORES] [LIMIT=limit(offset:integer
    count:integer)]
zrevrank key:key member [WITHSCORE]
zscan key:key cursor:integer [MATCH=pattern:pattern] [COUNT=count:integer]
zscore key:key member
zunion numkeys:integer key:key... [WEIGHTS=weight:integer...] [AGGREGATE=aggregate(SUM|MIN|MAX)]
    [WITHSCORES]
zunionstore destination:key numkeys:integer key:key1... [WEIGHTS=weight:integer...]
    [AGGREGATE=aggregate(SUM|MIN|MAX)]
"""
