"""What a script can't reach, change or use up."""

import gc

import pytest
from lupa import lua51
from shoal.worker.scripting import engine
from shoal.worker.scripting.api import ScriptRun
from support.scripting import Scripts


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


# Each returns something else than nil, or raises, only where it gets out. "ok" is what an honest
# attempt that fails returns.
ATTEMPTS = {
    "the debug library": "return rawget(_G, 'debug')",
    "globals by another name": "return rawget(getmetatable(_G) or {}, '__newindex')",
    "Python's table": "return rawget(_G, 'python')",
    "io": "return rawget(_G, 'io')",
    "package": "return rawget(_G, 'package') or rawget(_G, 'require')",
    "files": "return rawget(_G, 'dofile') or rawget(_G, 'loadfile')",
    "environments": "return rawget(_G, 'setfenv') or rawget(_G, 'getfenv')",
    "userdata": "return rawget(_G, 'newproxy')",
    "printing": "return rawget(_G, 'print')",
    "the system": "return rawget(os, 'execute') or rawget(os, 'exit') or rawget(os, 'getenv')",
    "bytecode": "return loadstring(string.dump(function() return 1 end))",
    "bytecode in pieces": r"""
        local pieces = {'\27', 'Lua'}
        return load(function() return table.remove(pieces, 1) end)""",
    "real globals of loaded text": "return loadstring('return rawget(_G, \"debug\")')()",
    "attributes of a callable": "local ok, v = pcall(function() return redis.call.__globals__ end)"
    " return ok and v or nil",
    "items of a callable": "local ok, v = pcall(function() return redis.call['__class__'] end)"
    " return ok and v or nil",
    "setting an attribute": "local ok, v = pcall(function() redis.call.x = 1 return 1 end)"
    " return ok and v or nil",
    "a callable's metatable": "return getmetatable(redis.call)",
    "the metatable of null": "return getmetatable(cjson.null)",
    "calling null": "local ok, v = pcall(cjson.null) return ok and v or nil",
    "going through null": "local ok, v = pcall(function() return cjson.null.x end)"
    " return ok and v or nil",
    "the error of a call": "local _, e = pcall(redis.call, 'nosuch')"
    " return type(e) ~= 'string' and type(e) or nil",
    "the error of a call in a coroutine": """
        local co = coroutine.create(function() redis.call('nosuch') end)
        local _, e = coroutine.resume(co)
        return type(e) ~= 'table' and type(e) or nil""",
    "the error in xpcall": """
        local kind
        xpcall(function() redis.call('nosuch') end, function(e) kind = type(e) end)
        return kind ~= 'table' and kind or nil""",
    "the error through a wrapped coroutine": """
        local f = coroutine.wrap(function() redis.call('nosuch') end)
        local _, e = pcall(f)
        return type(e) == 'userdata' and 1 or nil""",
    "the error of an error": """
        local _, e = pcall(function()
          local _, inner = pcall(redis.call, 'nosuch') error(inner) end)
        return type(e) == 'userdata' and 1 or nil""",
    "userdata in pairs of a reply": """
        for _, value in pairs(redis.pcall('nosuch')) do
          if type(value) == 'userdata' then return 1 end
        end""",
    "a callable given back": "local ok, v = pcall(redis.call, redis.call) return ok and 1 or nil",
    "a callable packed": "return cmsgpack.unpack(cmsgpack.pack(redis.call))",
    "a callable encoded": "local ok, v = pcall(cjson.encode, {redis.call}) return ok and v or nil",
    "a table with a Python callable's name": "return tostring(redis.call):find('python')",
    "the registry": "for k, v in pairs(_G) do if type(v) == 'userdata' then return k end end",
    "the string metatable": "return getmetatable('').__newindex",
    "gc metamethods": """
        local called = setmetatable({}, {__gc = function() error('x') end})
        called = nil collectgarbage()""",
    "a metatable of numbers": "return getmetatable(1)",
    "a metatable of functions": "return getmetatable(next) or getmetatable(pcall)",
    "a metatable of nil": "return getmetatable(nil)",
}

CHANGES = {
    "a global": "x = 1",
    "a global by _G": "_G.x = 1",
    "a global by rawset": "rawset(_G, 'x', 1)",
    "a global by setmetatable": "setmetatable(_G, {__index = {x = 1}})",
    "a global by its metatable": "getmetatable(_G).__index = function() return 1 end",
    "a global by loadstring": "loadstring('x = 1')()",
    "a global in a coroutine": "coroutine.wrap(function() x = 1 end)()",
    "a library": "string.x = 1",
    "a function of a library": "string.rep = function() return 'x' end",
    "the API": "redis.call = function() return 'x' end",
    "a library by rawset": "rawset(string, 'x', 1)",
    "a library by table.insert": "table.insert(string, 1)",
    "a library by table.sort": "table.sort(redis, function() return true end) error('nothing')",
    "strings": "getmetatable('').__index = {}",
    "strings by the table": "rawset(getmetatable('').__index, 'x', 1)",
    "null": "setmetatable(cjson.null, {})",
}

PROBE = """
local keys = {}
for _, t in ipairs({_G, string, table, math, os, redis, cjson, cmsgpack, struct, bit, coroutine}) do
  local n = 0
  for key in pairs(t) do n = n + 1 end
  keys[#keys + 1] = n .. ':' .. #t
end
return table.concat(keys, ' ') .. ('x'):rep(3) .. tostring(rawget(_G, 'x'))"""


@pytest.mark.parametrize("text", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_nothing_is_reached(text: str, scripts: Scripts) -> None:
    assert scripts.run(text) == b"$-1\r\n"


@pytest.mark.parametrize("text", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_changed(text: str, scripts: Scripts) -> None:
    before = scripts.run(PROBE)
    assert before.startswith(b"$"), before
    assert scripts.run(text).startswith(b"-ERR ")
    assert scripts.run(f"pcall(function() {text} end)") == b"$-1\r\n"
    assert scripts.run(PROBE) == before


def test_python_objects_show_no_attributes(scripts: Scripts) -> None:
    """Not even to who gets hold of one: lupa's own way to them is shut."""
    peek = scripts.scripting._lua.runtime._lua.execute(b"return function(o, k) return o[k] end")
    for name in (b"__class__", b"__call__", b"__globals__", 1):
        with pytest.raises(AttributeError):
            peek(test_nothing_is_changed, name)


def test_the_real_globals_are_gone(scripts: Scripts) -> None:
    assert list(scripts.scripting._lua.runtime._lua.globals()) == []


# -- the time -------------------------------------------------------------------------------------

ENDLESS = {
    "a loop": "while true do end",
    "within pcall": "while true do pcall(function() while true do end end) end",
    "a handler that goes on": """
        xpcall(function() while true do end end, function() while true do end end)
        while true do end""",
    "a coroutine": "coroutine.wrap(function() while true do end end)()",
    "a coroutine in pcall": """
        while true do
          pcall(coroutine.wrap(function() while true do end end))
        end""",
    "resumed": """
        while true do
          coroutine.resume(coroutine.create(function() while true do end end))
        end""",
    "one in another": """
        coroutine.wrap(function()
          coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()
        end)()""",
    "calls": "while true do redis.pcall('ping2') end",
    "a comparison": "table.sort({1, 2, 3}, function() while true do end end)",
    "cjson": """
        local t = {}
        for i = 1, 1000 do t[i] = i end
        while true do pcall(cjson.encode, t) end""",
    "loaded": "loadstring('while true do end')()",
    "a metamethod": "local t = setmetatable({}, {__index = function() while true do end end})"
    " return t.x",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_ends_a_script_ends_it(text: str, scripts: Scripts) -> None:
    asked = []

    def busy(run: ScriptRun) -> bytes | None:
        asked.append(run.name)
        return b"Script killed" if len(asked) > 3 else None

    scripts.scripting.around.busy = busy
    reply = scripts.run(text)
    assert reply.startswith(b"-ERR Script killed script: ")
    assert b", on " in reply
    assert len(asked) == 4
    assert scripts.run("return 1") == b":1\r\n"


DEEP = {
    "calls": ("local function f() return 1 + f() end f()", b"stack overflow"),
    "tables that are encoded": (
        "local t = {} t[1] = t local c = cjson.new() c.encode_max_depth(1e9) c.encode(t)",
        b"stack overflow",
    ),
    "arrays that are decoded": (
        "local c = cjson.new() c.decode_max_depth(1e9) c.decode(string.rep('[', 1e6))",
        b"stack overflow",
    ),
    "packed arrays": (r"cmsgpack.unpack(string.rep('\145', 1e6))", b"Bad data format"),
    "pcall in pcall": ("local function f() return pcall(f) end f() error('x')", b""),
    "tostring": ("setmetatable({}, {__tostring = tostring}) string.rep('x', 1) error('x')", b"x"),
    "a pattern": ("string.find(string.rep('(', 1e5), string.rep('(', 1e5))", b"capture"),
}


@pytest.mark.parametrize(("text", "said"), DEEP.values(), ids=DEEP.keys())
def test_too_deep_is_an_error(text: str, said: bytes, scripts: Scripts) -> None:
    reply = scripts.run(text)
    assert reply.startswith(b"-ERR ")
    assert said in reply
    assert scripts.run("return 1") == b":1\r\n"


# -- the memory -----------------------------------------------------------------------------------

MB = 1 << 20

GREEDY = {
    "a string": "return #string.rep('x', 200 * 1024 * 1024)",
    "many strings": "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 100000) .. i end",
    "a table": "local t = {} for i = 1, 1e9 do t[i] = i end",
    "within pcall": "while true do pcall(string.rep, 'x', 200 * 1024 * 1024) end",
    "in a coroutine": """
        while true do
          coroutine.resume(coroutine.create(function() return ('x'):rep(200 * 1024 * 1024) end))
        end""",
    "replies": """
        redis.call('set', 'k', string.rep('x', 1024 * 1024))
        local t = {}
        for i = 1, 1000 do t[i] = redis.call('get', 'k') .. i end""",
    "a reply": """
        redis.call('set', 'k', string.rep('x', 10 * 1024 * 1024))
        local t = {'mget'}
        for i = 2, 20 do t[i] = 'k' end
        return #redis.call(unpack(t))""",
    "a result": """
        local s = string.rep('x', 8 * 1024 * 1024)
        local t = {}
        for i = 1, 100 do t[i] = s end
        return t""",
    "cjson": """
        local s = string.rep('x', 512 * 1024)
        local t = {}
        for i = 1, 100 do t[i] = s end
        while true do pcall(cjson.encode, t) end""",
    "cjson, decoded": """
        local s = '[' .. string.rep('[],', 5 * 1024 * 1024) .. '1]'
        while true do pcall(cjson.decode, s) end""",
    "cmsgpack": """
        local s = string.rep('x', 8 * 1024 * 1024)
        local t = {}
        for i = 1, 100 do t[i] = s end
        return #cmsgpack.pack(t)""",
    "near the end, then calls": """
        local t = {}
        while true do
          t[#t + 1] = string.rep('x', 10000) .. #t
          redis.call('ping')
          pcall(redis.call, 'nosuch')
        end""",
}


@pytest.mark.parametrize("text", GREEDY.values(), ids=GREEDY.keys())
def test_memory_ends_and_the_next_script_runs(
    text: str, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MAX_SCRIPT_MEMORY_BYTES", 32 * MB)
    reply = scripts.run(text)
    assert reply.startswith(b"-ERR the script was ended: it needs more memory"), reply[:200]
    assert scripts.run("return KEYS[1]", keys=(b"k",)) == b"$1\r\nk\r\n"


def test_a_runtime_that_is_thrown_away_frees_its_memory(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It and Python hold each other, and no collector runs."""
    freed: list[int] = []

    class Watched(lua51.LuaRuntime):  # type: ignore[misc]
        def __del__(self) -> None:
            freed.append(1)

    monkeypatch.setattr(engine, "MAX_SCRIPT_MEMORY_BYTES", 32 * MB)
    monkeypatch.setattr(lua51, "LuaRuntime", Watched)
    gc.disable()
    try:
        for count in range(3):
            scripts.run("return #string.rep('x', 200 * 1024 * 1024)")
            assert len(freed) == count + 1
    finally:
        gc.enable()
