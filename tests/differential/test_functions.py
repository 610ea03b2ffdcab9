"""FUNCTION and FCALL beside redis-server."""

import pytest
from support.differential import Case, Compare, Step, Table, cases, on, unordered
from support.scripting import library

LIB = """redis.register_function('f', function(keys, args) return {keys, args} end)
redis.register_function{function_name='g', flags={'no-writes', 'allow-oom'}, description='what',
  callback=function(keys, args) return redis.call('get', keys[1]) end}
redis.register_function('set', function(keys, args) return redis.call('set', keys[1], args[1]) end)
redis.register_function{function_name='ro', flags={'no-writes'},
  callback=function(keys, args) return redis.call('set', keys[1], args[1]) end}
redis.register_function('nosuch', function(keys, args)
  return redis.call('nosuch') end)
redis.register_function('keys', function() return KEYS end)
redis.register_function('glob', function() x = 1 end)
redis.register_function('reg', function() redis.register_function('q', function() end) end)
redis.register_function('boom', function() error('boom') end)
redis.register_function('change', function() redis.foo = 1 end)
redis.register_function('err', function() return {err='x y'} end)
redis.register_function('resp', function() redis.setresp(3) return {true, false} end)
redis.register_function('count', function(...) return select('#', ...) end)
redis.register_function('pc', function() return redis.pcall('nosuch') end)
redis.register_function('rep', function() return redis.replicate_commands() end)
redis.register_function('load', function() return loadstring('return 7')() end)
local n = 0
redis.register_function('next', function() n = n + 1 return n end)
redis.register_function('env', function()
  local t, u = {}, {}
  for key, value in pairs(_G) do t[#t + 1] = key .. ':' .. type(value) end
  for key, value in pairs(redis) do u[#u + 1] = key .. ':' .. type(value) end
  table.sort(t) table.sort(u)
  return {table.concat(t, ' '), table.concat(u, ' ')} end)"""


def registering(arguments: str) -> tuple[bytes, ...]:
    """Return a FUNCTION LOAD that calls redis.register_function with these arguments."""
    return library(f"return redis.register_function({arguments})")


def of_order(step: Step | str | tuple[bytes, ...]) -> Step:
    """Libraries and functions are listed in the order of a hash table there."""
    return unordered(step)


LOAD: Table = {
    "the first line": [
        (b"FUNCTION", b"LOAD", text)
        for text in (
            b"x",
            b"#!lua\nreturn 1",
            b"#!lua name=\nreturn 1",
            b"#!lua name=a-b\nreturn 1",
            b"#!lua name=a name=b\nreturn 1",
            b"#!lua foo=a name=b\nreturn 1",
            b'#!lua name="q r"\nreturn 1',
            b'#!lua name="q\nreturn 1',
            b"#!js name=a\nreturn 1",
            b"#!LUA NAME=a\nreturn 1",
            b"#!lua name=a",
            b"#!lua name=a\n",
            b"#!lua name=a\nreturn 1",
            b"#!lua name=a\nreturn 1 +",
            b"#! name=a\nreturn 1",
            b"#!\nreturn 1",
            b"",
            b'#!lua "name=a"\nredis.register_function(1, function() end)',
        )
    ],
    "what a library sees as it is loaded": [
        library(f"local x = {name}\nredis.register_function('f', function() end)")
        for name in (
            "_G",
            "_VERSION",
            "pairs",
            "error",
            "string",
            "KEYS",
            "foo",
            "redis",
            "redis.call",
            "redis.pcall",
            "redis.sha1hex",
            "redis.log",
            "redis.LOG_NOTICE",
            "redis.REPL_ALL",
            "redis.REDIS_VERSION",
            "redis.foo",
            "tostring",
        )
    ],
    "errors as it is loaded": [
        library(text)
        for text in (
            "error('x')",
            "redis.call('get', 'x')",
            "foo = 1",
            "redis.call = 1",
            "redis.foo()",
            "redis.log(1)",
            "local x = nil .. 1",
            "return 1",
            "",
            "redis.register_function('f', function() end) local x = nil .. 1",
        )
    ]
    + ["FUNCTION LIST"],
    "redis.register_function": [
        registering(arguments)
        for arguments in (
            "",
            "1",
            "'f'",
            "'f', 1",
            "1, function() end",
            "'f-f', function() end",
            "{}, 1",
            "{}, function() end",
            "'', function() end",
            "'f', redis.log",
            "nil, function() end",
            "{}",
            "{function_name='f'}",
            "{callback=function() end}",
            "{function_name=1, callback=function() end}",
            "{function_name={}, callback=function() end}",
            "{function_name='f', callback=1}",
            "{function_name='f', callback=function() end, x=1}",
            "{function_name='f', callback=function() end, [1]=1}",
            "{function_name='f', callback=function() end, [true]=1}",
            "{function_name='f', callback=function() end, flags=1}",
            "{function_name='f', callback=function() end, flags={'x'}}",
            "{function_name='f', callback=function() end, flags={1}}",
            "{function_name='f', callback=function() end, flags={a='no-writes'}}",
            "{function_name='f', callback=function() end, flags={'no-writes', 'no-writes'}}",
            "{function_name='f', callback=function() end, flags={}}",
            "{function_name='f', callback=function() end, description=1}",
            "{function_name='f', callback=function() end, description={}}",
            "{FUNCTION_NAME='f', CallBack=function() end}",
        )
    ],
    "names": [
        library(
            "redis.register_function('f', function() return 1 end)"
            " redis.register_function('f', function() end)"
        ),
        library("redis.register_function('f', function() return 1 end)"),
        "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('g', function() end)\"",
        "FUNCTION LOAD \"#!lua name=b\\nredis.register_function('f', function() end)\"",
        "FUNCTION LOAD REPLACE \"#!lua name=b\\nredis.register_function('f', function() end)\"",
        "FUNCTION LOAD \"#!lua name=b\\nredis.register_function('g', function() return 2 end)\"",
        library("redis.register_function('g', function() end)"),
        "FCALL f 0",
        "FCALL g 0",
        of_order("FUNCTION LIST"),
    ],
    "what fails changes nothing": [
        library("redis.register_function('f', function() return 1 end)"),
        library("redis.register_function('f', function() return 2 end) foo()"),
        library("return 1 +"),
        "FCALL f 0",
        "FUNCTION LIST WITHCODE",
    ],
    "options": [
        "FUNCTION LOAD REPLACE x y",
        "FUNCTION LOAD x y",
        "FUNCTION LOAD REPLACE",
        "FUNCTION LOAD",
        "FUNCTION LOAD REPLACE REPLACE x",
        "FUNCTION nosuch",
        "FUNCTION",
        "FUNCTION HELP",
        "FUNCTION KILL",
        "FUNCTION KILL x",
        "FUNCTION STATS",
        "FUNCTION STATS x",
    ],
}

CALL: Table = {
    "functions": [
        library(LIB),
        *(
            f"FCALL {call}"
            for call in (
                "f 0",
                "f 1 k b",
                "F 1 k b",
                "f 2 {k}1 {k}2 a b",
                "nosuch2 0",
                "nosuch2 x",
                "f x",
                "f -1",
                "f 5",
                "f",
                "g 1 k",
                "set 1 k v",
                "g 1 k",
                "ro 1 k w",
                "nosuch 0",
                "keys 0",
                "glob 0",
                "reg 0",
                "boom 0",
                "change 0",
                "err 0",
                "resp 0",
                "count 1 k a",
                "pc 0",
                "rep 0",
                "load 0",
                "env 0",
            )
        ),
        "FCALL_RO g 1 k",
        "FCALL_RO set 1 k w",
        "FCALL_RO f 0",
        "FCALL_RO ro 1 k w",
        "GET k",
        "FCALL_RO nosuch2 0",
        "FCALL_RO g x",
    ],
    "what a function keeps": [library(LIB), *["FCALL next 1 k"] * 3, on("b", "FCALL next 1 k")],
    "calls from everywhere": [
        library(LIB),
        "FCALL f 1 a x",
        "FCALL f 1 b x",
        on("b", "FCALL f 1 a x"),
        on("c", "FCALL f 0"),
    ],
}

MANAGE: Table = {
    "FUNCTION LIST": [
        "FUNCTION LIST",
        library(LIB),
        "FUNCTION LOAD \"#!lua name=other\\nredis.register_function('o', function() end)\"",
        of_order("FUNCTION LIST"),
        of_order("FUNCTION LIST WITHCODE"),
        of_order("FUNCTION LIST LIBRARYNAME lib withcode"),
        of_order("FUNCTION LIST LIBRARYNAME *"),
        "FUNCTION LIST LIBRARYNAME OTH*",
        "FUNCTION LIST LIBRARYNAME x*",
        "FUNCTION LIST LIBRARYNAME",
        "FUNCTION LIST x",
        "FUNCTION LIST WITHCODE WITHCODE",
        "FUNCTION LIST LIBRARYNAME a LIBRARYNAME b",
        "FUNCTION STATS",
    ],
    "FUNCTION DELETE and FLUSH": [
        library(LIB),
        "FUNCTION DELETE nosuch",
        "FUNCTION DELETE LIB",
        "FUNCTION DELETE lib",
        "FUNCTION DELETE lib",
        "FCALL f 0",
        "FUNCTION LIST",
        library(LIB),
        "FUNCTION FLUSH x",
        "FUNCTION FLUSH SYNC x",
        "FUNCTION FLUSH async",
        "FCALL f 0",
        "FUNCTION STATS",
    ],
    "FUNCTION DUMP": [
        "FUNCTION DUMP",
        library(LIB),
        "FUNCTION DUMP",
        library("redis.register_function('f', function() end)"),
        "FUNCTION DUMP",
    ],
    "FUNCTION RESTORE of what is none": [
        "FUNCTION RESTORE x",
        "FUNCTION RESTORE x y",
        "FUNCTION RESTORE x FLUSH z",
        "FUNCTION RESTORE",
        # DUMP of the string v
        r'FUNCTION RESTORE "\x00\x01v\x0c\x00\xc9\xa4\x1f\xe8\x8a\xa5\xc9\xa3"',
    ],
}


@pytest.mark.parametrize("script", cases(LOAD, CALL, MANAGE))
def test_functions(script: Case, compare: Compare) -> None:
    compare(Case("FUNCTION FLUSH", *script.steps))
