"""EVAL, SCRIPT and redis.* beside redis-server."""

import pytest
from support.differential import (
    Case,
    Compare,
    Table,
    blocked,
    cases,
    on,
    reply,
    sends,
    shape,
    unordered,
)
from support.scripting import lua, lua_ro

GLOBALS = """local out = {}
for _, name in ipairs({'_G', 'redis', 'string', 'table', 'math', 'os', 'coroutine', 'bit', 'struct',
    'cmsgpack', 'cjson'}) do
  local t = {}
  for key, value in pairs(_G[name]) do t[#t + 1] = key .. ':' .. type(value) end
  table.sort(t)
  out[#out + 1] = table.concat(t, ' ')
end
return out"""

LISTED = """local t = {}
for key, value in pairs(%s) do t[#t + 1] = key .. '=' .. tostring(value) end
table.sort(t)
return t"""

SANDBOX: Table = {
    "what there is": [lua(GLOBALS)],
    "reading what is not there": [
        *(lua(f"return {name}") for name in ("foo", "_G.foo", "redis.foo", "string.foo", "server")),
        *(
            lua(f"return {name}")
            for name in ("io", "require", "package", "print", "debug", "dofile")
        ),
        lua("local x = foo.bar"),
        lua("foo()"),
    ],
    "nothing can be changed": [
        lua(text)
        for text in (
            "foo = 1",
            "KEYS = 1",
            "pcall = 1",
            "_G.foo = 1",
            "_G.redis = 1",
            "redis.call = 1",
            "redis.foo = 1",
            "string.foo = 1",
            "cjson.encode = nil",
            "rawset(_G, 'x', 1)",
            "rawset(redis, 'x', 1)",
            "setmetatable(_G, {})",
            "setmetatable(redis, nil)",
            "table.insert(redis, 1)",
            "getmetatable('').__index = 1",
            "getmetatable(_G).__index = 1",
            "function foo() end",
            "local t = setmetatable({}, {__newindex = redis}) t.x = 1",
        )
    ],
    "metatables": [
        *(
            lua(f"return {{tostring(getmetatable({what}) == nil), type(getmetatable({what}))}}")
            for what in ("_G", "redis", "string", "''", "{}", "1", "nil")
        ),
        lua("local x = getmetatable() return 1"),
        lua("local t = setmetatable({}, {__index = function(t, k) return k end}) return t.abc"),
        lua("return ('abc'):upper():rep(2)"),
        lua("local x = setmetatable(1, {}) return 1"),
        lua("local x = setmetatable({}, 1) return 1"),
        lua("local x = setmetatable({}) return 1"),
    ],
    "going through what is read-only": [
        lua("return rawget(redis, 'LOG_NOTICE')"),
        lua("return {next({1}), type(next(redis)), tostring(next({}))}"),
        lua("return {#redis, #_G}"),
        lua("local n = 0 for _ in pairs(_G) do n = n + 1 end return n"),
        *(
            lua(f"local x = {call} return 1")
            for call in ("pairs()", "pairs(1)", "next()", "next(1)", "rawget()", "rawget(1, 2)")
        ),
        lua("local x = rawset() return 1"),
    ],
    "loadstring and load": [
        lua("return loadstring('return 1 + 1')()"),
        lua("return loadstring('return KEYS[1]')()"),
        lua("return loadstring('return foo')()"),
        lua("return loadstring('foo = 1')()"),
        lua("local f, e = loadstring('return 1 +') return e"),
        lua("local f, e = loadstring('return 1 +', '@name') return e"),
        lua(r"local f, e = loadstring('\27Lua') return e"),
        lua(r"local f, e = loadstring(string.dump(function() end)) return type(f)"),
        lua("local x = loadstring() return 1"),
        lua("local x = loadstring({}) return 1"),
        lua("local x = load('return 1') return 1"),
        lua("local i = 0 return load(function() i = i + 1 return ({'return ', '5'})[i] end)()"),
        lua("return load(function() return nil end)()"),
    ],
    "errors of Lua": [
        lua(text)
        for text in (
            "error('boom')",
            "error('boom', 0)",
            "error('boom', 2)",
            "error({err = 'My Err'})",
            "error({err = '-My Err'})",
            "error({err = 'MyErr'})",
            "error({err = 1})",
            "error({x = 1})",
            "error(nil)",
            "error(true)",
            "error(1)",
            "error()",
            "error(cjson.null == nil)",
            "local t = nil\nreturn t.x",
            "return {} + 1",
            "return nil .. 'x'",
            "return 1 < 'x'",
            "return #1",
            "return ('x'):foo()",
            "return string.rep()",
            "return tonumber()",
            "assert(false)",
            "assert(nil, 'why')",
            "local f = function()\n error('x')\nend\nf()",
            "table.foreach({1}, function() error('x') end)",
            "table.foreach({redis}, redis.call)",
            "string.gsub('x', 'x', function() return redis.call('nosuch') end)",
            "table.sort({3, 2, 1}, function(a, b) error({err = 'in sort'}) end)",
            "local f = coroutine.wrap(function() redis.call('nosuch') end) f()",
            "local f = coroutine.wrap(function() error('x') end) f()",
            "local function f() return f() + 1 end return f()",
        )
    ],
    "pcall, xpcall and coroutines": [
        lua("local ok, e = pcall(redis.call, 'nosuch') return {tostring(ok), type(e), e}"),
        lua("local ok, e = pcall(redis.call, 'lpush', 'k') return {tostring(ok), type(e), e}"),
        lua("local ok, e = pcall(error, {err = 'x', a = 1}) return {tostring(ok), type(e), e}"),
        lua("local ok, e = pcall(error, {err = 5}) return {tostring(ok), type(e), e}"),
        lua("local ok, e = pcall(error, {a = 5}) return {tostring(ok), type(e), e.a}"),
        lua("local ok, e = pcall(error) return {tostring(ok), type(e)}"),
        lua("return {pcall(function(...) return ... end, 1, 2, 3)}"),
        lua("return {xpcall(function() return 1, 2 end, function() end)}"),
        lua(
            "local ok, e = xpcall(function() redis.call('x') end, function(e) return type(e) end)"
            " return {tostring(ok), e}"
        ),
        lua(
            "local ok, e = xpcall(function() error('x') end, function(e) return e .. '!' end)"
            " return {tostring(ok), e}"
        ),
        lua(
            "local co = coroutine.create(function() redis.call('nosuch') end)"
            " local ok, e = coroutine.resume(co) return {tostring(ok), type(e), e.err}"
        ),
        lua(
            "local co = coroutine.wrap(function(a) return coroutine.yield(a + 1) * 2 end)"
            " return {co(1), co(5)}"
        ),
        lua(
            "local co = coroutine.create(function() return redis.call('set', KEYS[1], 'v') end)"
            " return {coroutine.resume(co)}"
        ),
        lua(
            "local co = coroutine.create(function() return cjson.encode({1}) end)"
            " return {coroutine.status(co), coroutine.resume(co)}"
        ),
        lua(
            "local co = coroutine.create(function() end) coroutine.resume(co)"
            " local ok, e = coroutine.resume(co) return {tostring(ok), e}"
        ),
    ],
    "arguments of what is ours": [
        lua(text)
        for text in (
            "table.insert(nil, 1)",
            "table.insert()",
            "local t = {} table.insert(t)",
            "local t = {} table.insert(t, 1, 2, 3)",
            "table.insert({}, 'x', 1)",
            "local t = {} table.insert(t, 1, 'a') table.insert(t, '1', 'b') return t",
            "local co = coroutine.create(1) return 1",
            "local co = coroutine.create(redis.call) return 1",
            "local co = coroutine.wrap(1) return 1",
            "local ok = coroutine.resume(1) return 1",
            "local ok = xpcall(function() end) return 1",
            "local ok = xpcall(1, 2) return tostring(ok)",
        )
    ],
    "collectgarbage": [
        lua("return type(collectgarbage('count'))"),
        lua("return collectgarbage()"),
        lua("return collectgarbage('stop')"),
    ],
}

CALLS: Table = {
    "arguments": [
        *(
            lua(f"redis.call('set', KEYS[1], {number}) return redis.call('get', KEYS[1])")
            for number in (
                "1",
                "-1",
                "1.5",
                "0.1",
                "1e17",
                "1e20",
                "1.5e300",
                "1e-7",
                "1/3",
                "1/0",
                "-1/0",
                "0/0",
                "2^53",
                "2^62",
                "2^63",
                "-2^63",
                "123456789012",
                "-0",
            )
        ),
        *(lua(f"return redis.call('get', {what})") for what in ("{}", "true", "nil", "redis.call")),
        lua("return redis.call()"),
        lua("return redis.pcall()"),
        lua("return redis.call({})"),
        lua(r"return redis.call('set', KEYS[1], 'a\0b\r\n\255')"),
        "GET k",
    ],
    "commands that can't be called": [
        *(
            lua(f"return redis.{how}({call})")
            for how in ("call", "pcall")
            for call in (
                "'nosuch'",
                "'nosuch', 'x'",
                "'get'",
                "'get', 'k', 'x'",
                "'GeT', KEYS[1]",
                "'eval', 'return 1', 0",
                "'evalsha', 'x', 0",
                "'fcall', 'x', 0",
                "'script', 'load', 'x'",
                "'script', 'nosuch'",
                "'function', 'list'",
                "'config', 'get', 'x'",
                "'client', 'id'",
                "'client', 'nosuch'",
                "'object', 'nosuch', 'x'",
                "'object', 'encoding'",
                "'hello', '3'",
                "'auth', 'x'",
                "'quit'",
                "'reset'",
                "'debug', 'sleep', '0'",
                "'shutdown'",
            )
        )
    ],
    "of the connection": [
        lua("return redis.call('ping')"),
        lua("return redis.call('ping', 'x')"),
        lua("return redis.call('echo', 'x')"),
        shape(lua("return redis.call('time')")),
        lua("return redis.call('lastsave') > 1"),
        lua("return type(redis.call('command', 'count'))"),
        lua("return redis.call('command', 'getkeys', 'get', 'k')"),
    ],
    "SELECT lasts for the script": [
        lua(
            "redis.call('set', KEYS[1], 'a') redis.call('select', '3')"
            " redis.call('set', KEYS[1], 'b') return redis.call('get', KEYS[1])"
        ),
        "GET k",
        "SELECT 3",
        "GET k",
        "SELECT 0",
        lua("return redis.call('select', '99')"),
        lua("return redis.call('select', 'x')"),
        lua("redis.call('select', 3) return redis.call('del', KEYS[1])"),
    ],
    "errors of commands": [
        "SET k v",
        lua("return redis.call('lpush', 'k', 'x')"),
        lua("return redis.pcall('lpush', 'k', 'x')"),
        lua(LISTED % "redis.pcall('lpush', 'k', 'x')"),
        lua(LISTED % "redis.pcall('nosuch')"),
        lua("return redis.call('incr', 'k')"),
        lua("redis.call('set', 'k', 'w') return redis.call('incr', 'k')"),
        "GET k",
        lua("return redis.call('set', 'k', 'w', 'foo')"),
    ],
    "KEYS with a hash tag": [
        "MSET {k}a 1 {k}b 2 other 3 ka 4",
        unordered(lua("return redis.call('keys', '{k}*')")),
        lua("return redis.call('keys', '{k}[a]')"),
        lua("redis.call('set', '{k}c', 1) return #redis.call('keys', '{k}?')"),
        lua("return redis.call('keys', '{k}c')"),
        lua("return redis.call('keys', 'k')"),
        lua_ro("return #redis.call('keys', '{k}*')"),
        lua("redis.call('select', 1) return redis.call('keys', '{k}*')"),
    ],
    "blocking commands do not": [
        lua("return redis.call('blpop', KEYS[1], 0)"),
        lua("return redis.call('bzpopmin', KEYS[1], 0)"),
        lua("return redis.call('xread', 'block', 0, 'streams', KEYS[1], '$')"),
        "RPUSH k a",
        lua("return redis.call('blpop', KEYS[1], 0)"),
    ],
    "who waits is served after the script": [
        on("b", sends("BLPOP k 0")),
        blocked(1),
        lua(
            "redis.call('rpush', KEYS[1], 'a') redis.call('rpush', KEYS[1], 'b')"
            " redis.call('lpop', KEYS[1]) return redis.call('lrange', KEYS[1], 0, -1)"
        ),
        on("b", reply()),
    ],
    "keys and arguments": [
        (b"EVAL", b"return {#KEYS, #ARGV, KEYS[1], ARGV[1]}", b"1", b"a", b"b", b"c"),
        (b"EVAL", b"return {#KEYS, #ARGV, KEYS[1], ARGV[1]}", b"0", b"b", b"c"),
        (b"EVAL", b"return {#KEYS, #ARGV, KEYS[1], ARGV[1]}", b"0"),
        (b"EVAL", b"return {#KEYS, #ARGV}", b"2", b"{a}1", b"{a}2"),
        (b"EVAL", b"KEYS[1] = 'x' ARGV = nil return KEYS", b"1", b"a"),
        (b"EVAL", b"KEYS[1] = 'x' return KEYS", b"1", b"a"),
        (b"EVAL", b"return ARGV", b"0", b"\xff\0", b""),
        (b"EVAL", b"return #ARGV", b"0", *[b"x"] * 5000),
        "EVAL 'return 1'",
        "EVAL 'return 1' x",
        "EVAL 'return 1' -1",
        "EVAL 'return 1' 1",
        "EVAL 'return 1' 3 a b",
        "EVAL 'return 1 +' x",
    ],
    "WITH memory of nothing": [lua("local x = 1"), lua("return x")],
}

REPLIES: Table = {
    "of all kinds": [
        lua(f"return {value}")
        for value in (
            "1",
            "-1",
            "1.9",
            "-1.9",
            "1e30",
            "0/0",
            "1/0",
            "2^53",
            "2^62",
            "true",
            "false",
            "nil",
            "'x'",
            r"'\0\r\n'",
            "''",
            "{}",
            "{1, 2, nil, 3}",
            "{1, 'a', {2, {3}}}",
            "{a = 1}",
            "{true, false}",
            "function() end",
            "cjson.null",
            "{err = 'abc'}",
            "{err = '-abc'}",
            r"{err = 'a\r\nb'}",
            r"{ok = 'a\nb'}",
            "{ok = 1}",
            "{err = 1}",
            "{ok = 'a', err = 'b'}",
            "{1, {err = 'x'}, {ok = 'y'}}",
            "{double = 1.5}",
            "{double = 3}",
            "{double = 1/0}",
            "{double = 0/0}",
            "{double = 1e100}",
            "{double = 'x'}",
            "{big_number = '123'}",
            r"{big_number = '1\r2'}",
            "{big_number = 1}",
            "{verbatim_string = {string = 'abc', format = 'txt'}}",
            "{verbatim_string = {string = 'abc', format = 'mkdx'}}",
            "{verbatim_string = {string = 'abc'}}",
            "{map = {a = 1}}",
            "{map = {1}}",
            "{map = 1}",
            "{map = {a = {map = {b = false}}}}",
            "{set = {a = true}}",
            "{set = {a = false}}",
            "{set = 1}",
            "setmetatable({}, {__index = function() return 'q' end})",
            "redis",
            "1, 2",
            "redis.call",
            "{1.5, 1e14, 1e15, -1e14}",
        )
    ],
    "redis.setresp": [
        lua(f"redis.setresp({resp}) {text}")
        for resp in (2, 3)
        for text in (
            "return {true, false}",
            "return true",
            "return false",
            "return {nil, 1}",
            "redis.call('hset', KEYS[1], 'a', '1') return redis.call('hgetall', KEYS[1])",
            "return type(redis.call('hgetall', KEYS[1]).map)",
            "redis.call('del', KEYS[1]) redis.call('sadd', KEYS[1], 'a')"
            " return redis.call('smembers', KEYS[1])",
            "return redis.call('smembers', KEYS[1]).set and 1",
            "redis.call('del', KEYS[1]) redis.call('zadd', KEYS[1], '1.5', 'a')"
            " return redis.call('zscore', KEYS[1], 'a')",
            "return type(redis.call('zscore', KEYS[1], 'a'))",
            "return redis.call('zrange', KEYS[1], 0, -1, 'withscores')",
            "redis.call('del', KEYS[1]) return {type(redis.call('get', KEYS[1]))}",
            "return redis.call('get', KEYS[1])",
            "return redis.call('lpop', KEYS[1], 2)",
            "return redis.call('hmget', KEYS[1], 'a', 'b')",
            "redis.call('set', KEYS[1], 5) return redis.call('incr', KEYS[1])",
            "return redis.call('object', 'help')",
        )
    ],
    "deep ones": [
        lua("local t = {} for i = 1, 50 do t = {t} end return t"),
    ],
}

API: Table = {
    "redis.error_reply and status_reply": [
        lua(f"return redis.{name}({args})")
        for name in ("error_reply", "status_reply")
        for args in ("'abc'", "'-abc def'", r"'My err\r\n'", "''", "'-'", "", "1", "{}", "'a', 'b'")
    ],
    "redis.sha1hex": [
        lua(f"return redis.sha1hex({args})")
        for args in ("", "'x'", "''", "1", "1.5", "{}", "true", "'a', 'b'")
    ],
    "redis.log": [
        lua(f"return redis.log({args})")
        for args in ("", "1", "'x', 'y'", "10, 'y'", "-1, 'y'", "redis.LOG_DEBUG, 'y', 'z'")
    ],
    "redis.setresp": [
        lua(f"return redis.setresp({args})")
        for args in ("", "4", "1", "'3'", "'x'", "{}", "3", "2, 3")
    ],
    "redis.set_repl": [
        lua(f"return redis.set_repl({args})")
        for args in ("", "9", "-1", "'x'", "{}", "redis.REPL_NONE", "redis.REPL_ALL", "1, 2")
    ],
    "redis.acl_check_cmd": [
        lua(f"return redis.acl_check_cmd({args})")
        for args in ("", "'get', 'k'", "'nosuch', 'k'", "{}", "'config', 'nosuch'")
    ],
    "what is for the debugger": [
        lua("return redis.replicate_commands()"),
        lua("return redis.breakpoint()"),
        lua("return redis.debug('x')"),
    ],
    "constants": [
        lua(
            "return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM, redis.LOG_DEBUG,"
            " redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING, redis.REPL_ALL,"
            " redis.REPL_REPLICA, redis.REPL_SLAVE, redis.REPL_AOF, redis.REPL_NONE, _VERSION}"
        ),
    ],
    "math.random": [
        lua("math.randomseed(7) return {tostring(math.random()), math.random(1000000)}"),
        *(
            lua(
                f"math.randomseed(42) local r = {{pcall(math.random{args})}}"
                " for i = 1, #r do r[i] = tostring(r[i]) end return r"
            )
            for args in (
                "",
                ", 5",
                ", 0",
                ", 1, 5",
                ", 5, 1",
                ", 2^31",
                ", 1, 2, 3",
                ", 'x'",
                ", '7'",
                ", 1.5",
                ", 0, 2147483647",
                ", -2147483648, 2147483647",
            )
        ),
        lua("return math.random(0)"),
        lua("return math.random(3, 1)"),
        lua("return math.random(1, 2, 3)"),
        lua("math.randomseed()"),
    ],
}

NO_SHA = "0" * 40
ONE_SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # of "return 1"

CACHE: Table = {
    "EVALSHA": [
        "SCRIPT FLUSH",
        f"EVALSHA {ONE_SHA} 0",
        "EVAL 'return 1' 0",
        f"EVALSHA {ONE_SHA} 0",
        f"EVALSHA {ONE_SHA.upper()} 0",
        f"EVALSHA_RO {ONE_SHA} 0",
        on("b", f"EVALSHA {ONE_SHA} 0"),
        on("c", f"EVALSHA {ONE_SHA} 1 k"),
        on("d", f"EVALSHA {ONE_SHA} 1 j"),
        "SCRIPT FLUSH",
        f"EVALSHA {ONE_SHA} 0",
        f"EVALSHA {NO_SHA} 0",
        f"EVALSHA {NO_SHA} 1 k",
        f"EVALSHA {NO_SHA} x",
        f"EVALSHA {NO_SHA} -1",
        f"EVALSHA {NO_SHA} 1",
        f"EVALSHA_RO {NO_SHA} 0",
        "EVALSHA abc 0",
        "EVALSHA abc x",
        f"EVALSHA {NO_SHA}",
    ],
    # Known to one worker, or to none, when it is queued; queued by clients of several.
    "EVALSHA in MULTI": [
        "SCRIPT FLUSH",
        "EVAL 'return 1' 0",
        *(
            on(client, line)
            for client in "bcd"
            for line in (
                "MULTI",
                *(f"EVALSHA {ONE_SHA} 1 {key}" for key in "abcdefgh"),
                f"EVALSHA {NO_SHA} 1 a",
                f"EVALSHA_RO {ONE_SHA.upper()} 0",
                f"EVALSHA {NO_SHA} 1 a",
                "EVALSHA abc 0",
                "EXEC",
            )
        ),
        "SCRIPT FLUSH",  # brought by the transaction itself
        on("b", "MULTI"),
        *(on("b", f"EVALSHA {ONE_SHA} 1 {key}") for key in "abcdefgh"),
        on("b", "EVAL 'return 1' 1 a"),
        *(on("b", f"EVALSHA {ONE_SHA.upper()} 1 {key}") for key in "abcdefgh"),
        *(on("b", f"EVALSHA_RO {ONE_SHA} 1 {key}") for key in "abcdefgh"),
        on("b", "EXEC"),
        "SCRIPT FLUSH",
        on("b", "MULTI"),  # nothing is left of the one before
        *(on("b", f"EVALSHA {ONE_SHA} 1 {key}") for key in "abcdefgh"),
        on("b", "EXEC"),
        on("e", "MULTI"),
        on("e", f"EVALSHA {ONE_SHA}"),
        on("e", f"EVALSHA {ONE_SHA} 0"),
        on("e", "EXEC"),
    ],
    "SCRIPT LOAD": [
        "SCRIPT FLUSH SYNC",
        "SCRIPT LOAD 'return 1'",
        on("b", f"EVALSHA {ONE_SHA} 0"),
        on("c", f"EVALSHA {ONE_SHA} 1 k"),
        "SCRIPT LOAD 'return 1'",
        "SCRIPT LOAD 'return 1 +'",
        "SCRIPT LOAD ''",
        "SCRIPT LOAD",
        "SCRIPT LOAD a b",
        r'SCRIPT LOAD "#!lua bad=1\nreturn 1"',
    ],
    "SCRIPT EXISTS": [
        "SCRIPT FLUSH async",
        "EVAL 'return 1' 1 k",
        f"SCRIPT EXISTS a {ONE_SHA} {ONE_SHA.upper()} {NO_SHA}",
        on("b", f"SCRIPT EXISTS {ONE_SHA}"),
        "SCRIPT EXISTS",
    ],
    "a script that does not compile is not kept": [
        lua("return 'x' .."),
        lua("x ="),
        lua("return 1)"),
        lua("\x1bLuaxx"),
        lua(""),
        lua("-- nothing"),
        lua("return 1 -- \xff"),
    ],
    "the other subcommands": [
        "SCRIPT FLUSH x",
        "SCRIPT FLUSH SYNC x",
        "SCRIPT KILL",
        "SCRIPT KILL x",
        "SCRIPT DEBUG NO",
        "SCRIPT DEBUG x",
        "SCRIPT DEBUG",
        "SCRIPT HELP",
        "SCRIPT nosuch",
        "SCRIPT",
    ],
}

READ_ONLY: Table = {
    "EVAL_RO": [
        lua_ro("return redis.call('get', KEYS[1])"),
        lua_ro("return redis.call('set', KEYS[1], 'v')"),
        lua_ro("return redis.pcall('set', KEYS[1], 'v')"),
        lua_ro("return redis.call('set', KEYS[1])"),
        lua_ro("return redis.call('pfcount', KEYS[1])"),
        lua_ro("return redis.call('flushall')"),
        lua_ro("return redis.call('config', 'set')"),
        lua_ro("#!lua\nreturn 1"),
        lua_ro("#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])"),
        "EXISTS k",
    ],
    "the first line": [
        lua(text)
        for text in (
            "#!lua\nreturn 1",
            "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'v')",
            "#!lua flags=nosuch\nreturn 1",
            "#!lua nosuch=1\nreturn 1",
            "#!lua name=x\nreturn 1",
            "#!lua flags\nreturn 1",
            "#!js\nreturn 1",
            "#!LUA\nreturn 1",
            "#!lua",
            "#!",
            "#!\nreturn 1",
            "#! lua\nreturn 1",
            "#!lua flags=no-writes,allow-stale,allow-oom,no-cluster\nreturn 1",
            "#!lua flags=allow-cross-slot-keys\nreturn 1",
            "#!lua flags=\nreturn 1",
            "#!lua flags=no-writes, allow-oom\nreturn 1",
            "#!lua flags=no-writes flags=allow-oom\nreturn 1",
            "#!lua  flags=no-writes  \n\nerror('x')",
            "#!lua\nreturn 1 +",
            " #!lua\nreturn 1",
        )
    ],
}

SETTINGS: Table = {
    "busy-reply-threshold": Case(
        "CONFIG GET busy-reply-threshold",
        "CONFIG GET lua-time-limit",
        "CONFIG SET lua-time-limit 100",
        "CONFIG GET busy-reply-threshold",
        "CONFIG SET busy-reply-threshold -1",
        "CONFIG SET busy-reply-threshold x",
        cleanup=["CONFIG SET busy-reply-threshold 5000"],
    ),
}


@pytest.mark.parametrize("script", cases(SANDBOX, CALLS, REPLIES, API, CACHE, READ_ONLY, SETTINGS))
def test_scripting(script: Case, compare: Compare) -> None:
    compare(script)
