"""The Lua side of the sandbox: what a script sees as its globals, and how it is run.

The text runs once in every new runtime, before anything of a client. It takes what it needs out of
Lua's own tables into locals and gives scripts an environment of their own; the runtime's real
globals are reached by nobody afterwards.

- *Read-only tables* are empty proxies of the real ones: stock Lua calls `__newindex` for missing
  keys only. The functions that would read or write a proxy past its metatable know them: `pairs`
  and the like look into the real table, `rawset`, `table.insert` and the like refuse.
- *Functions that raise* (redis.call, cjson, ...) are C closures over Python callables. As Lua
  functions they would replace the frame of `return redis.call(...)`, a tail call, and with it the
  line that an error names. They raise by a Python exception, which a script would see as userdata:
  so `pcall`, `xpcall` and `coroutine.resume` exchange it for the value that it stands for.
- *What ends a script* (SCRIPT KILL, no memory) passes through all of those again.

A run returns one value to Python: a string, a number, a boolean or nil; or several, of which the
first says what they are: ENCODED (RESP2 bytes, and RESP3 bytes if they differ), FAILED (text,
source and line of the error, and whether it was counted when it was met) or ENDED (why, source and
line).
"""

from __future__ import annotations

from typing import Final

CHUNK_NAME: Final = b"=shoal"
ENCODED, FAILED, ENDED = 1, 2, 3

PRELUDE: Final = rb"""
local host, hook_count, memory_error = ...
local as_function = python.as_function
local raw = {}
for name, value in pairs(_G) do raw[name] = value end
local error, type, tostring, select, rawget, rawset = error, type, tostring, select, rawget, rawset
local raw_pcall, raw_xpcall, raw_pairs, raw_next = pcall, xpcall, pairs, next
local raw_setmetatable, raw_loadstring, setfenv = setmetatable, loadstring, setfenv
local getinfo, sethook, concat, insert = debug.getinfo, debug.sethook, table.concat, table.insert
local co_create, co_resume = coroutine.create, coroutine.resume
local sub, byte, gsub, find, match = string.sub, string.byte, string.gsub, string.find, string.match
local collectgarbage, unpack, ipairs, tonumber = collectgarbage, unpack, ipairs, tonumber
local READONLY = "Attempt to modify a readonly table"
local ENCODED, FAILED, ENDED = 1, 2, 3

local null = newproxy(false)
local function c_function(name) return as_function(host(name)) end

-- Errors ------------------------------------------------------------------------------------------

local ended = false  -- why the script must end: nothing of it runs any more
local ended_source, ended_line
local leaving = true  -- no script runs, or none any more: the hook, which counts on, does nothing
local explain = c_function("explain")

local function value_of(e)
  -- Nothing else in the sandbox is userdata.
  if type(e) == "userdata" and e ~= null then
    local text, counted = explain(e)
    if counted == nil then
      e = text
    elseif counted == 2 then
      ended = text  -- the hook goes on until nothing of the script is left that could catch it
      return text
    else
      return {err = text, ignore_error_stats_update = counted == 1 or nil}
    end
  end
  if e == memory_error then ended = e end
  return e
end

local function settle(ok, ...)
  if ok then return ok, ... end
  local e = value_of((...))
  if ended then error(ended, 0) end
  return false, e
end

local function settle_pcall(ok, ...)
  if ok then return ok, ... end
  local e = value_of((...))
  if ended then error(ended, 0) end
  if type(e) == "table" then
    local text = e.err
    if type(text) == "string" or type(text) == "number" then e = text end
  end
  return false, e
end

local function safe_pcall(...) return settle_pcall(raw_pcall(...)) end

local function settle_xpcall(ok, ...)
  if not ok then
    value_of((...))
    if ended then error(ended, 0) end
  end
  return ok, ...
end

local function safe_xpcall(...)
  local f, handler = ...
  if select("#", ...) < 2 then error("bad argument #2 to 'xpcall' (value expected)", 2) end
  return settle_xpcall(raw_xpcall(f, function(e)
    e = value_of(e)
    if ended then return e end
    return handler(e)
  end))
end

local function on_error(e)
  leaving = true  -- this is the run's own handler: nothing of the script goes on
  e = value_of(e)
  if ended then return e end
  local level = 2
  local at = getinfo(level, "Sl")
  if at and at.what == "C" then
    level = 3
    at = getinfo(level, "Sl")
  end
  while at and (at.source == "=shoal" or at.what == "tail") do
    level = level + 1
    at = getinfo(level, "Sl")
  end
  if type(e) ~= "table" then e = {err = "ERR " .. tostring(e)} end
  if at then
    e.source = at.source
    e.line = at.currentline
  end
  return e
end

local function where()
  -- 1: this function, 2: the C function that asks, 3: who called it.
  local name = getinfo(2, "n").name or "?"
  local at = getinfo(3, "Sl")
  if at and at.currentline > 0 then
    return at.short_src .. ":" .. at.currentline .. ": ", name
  end
  return "", name
end

-- Read-only tables --------------------------------------------------------------------------------

local real_of = {}

local function refuse() error(READONLY, 2) end

local function protect(proxy, meta, real)
  real_of[proxy] = real
  meta.__newindex = refuse
  meta.__metatable = false
  return raw_setmetatable(proxy, meta)
end
local function readonly(real) return protect({}, {__index = real}, real) end

-- Globals -----------------------------------------------------------------------------------------

local function bad_argument(position, name, expected, got)
  error("bad argument #" .. position .. " to '" .. name .. "' (" .. expected
    .. " expected, got " .. got .. ")", 3)
end

local function argument_type(...)
  if select("#", ...) == 0 then return "no value" end
  return type((...))
end

local G = {}  -- what scripts see, through `env`
local env_meta = {__index = G}
local env = {}
local missing = {__index = function(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end}
raw_setmetatable(G, missing)
local shown = {[env] = readonly({__index = missing.__index})}
protect(env, env_meta, G)

for _, name in ipairs({
  "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
  "unpack", "_VERSION"}) do
  G[name] = raw[name]
end
G._G = env
G.pcall = safe_pcall
G.xpcall = safe_xpcall

local function load_text(text, name)
  if byte(text) == 27 then text = " " .. text end  -- no bytecode
  local f, problem = raw_loadstring(text, name)
  if f then return setfenv(f, env) end
  return nil, problem
end
function G.loadstring(...)
  local text, name = ...
  local kind = type(text)
  if kind ~= "string" and kind ~= "number" then
    bad_argument(1, "loadstring", "string", argument_type(...))
  end
  text = tostring(text)
  return load_text(text, name == nil and text or name)
end
function G.load(...)
  local reader, name = ...
  if type(reader) ~= "function" then
    bad_argument(1, "load", "function", argument_type(...))
  end
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == "" then break end
    if type(piece) ~= "string" and type(piece) ~= "number" then
      return nil, "reader function must return a string"
    end
    pieces[#pieces + 1] = piece
  end
  return load_text(concat(pieces), name == nil and "=(load)" or name)
end
function G.next(...)
  local t, key = ...
  if type(t) ~= "table" then bad_argument(1, "next", "table", argument_type(...)) end
  return raw_next(real_of[t] or t, key)
end
function G.pairs(...)
  local t = ...
  if type(t) ~= "table" then bad_argument(1, "pairs", "table", argument_type(...)) end
  return raw_next, real_of[t] or t, nil
end
local raw_getmetatable = raw.getmetatable
function G.getmetatable(...)
  local value = ...
  if type(value) == "string" then value = "" end
  if real_of[value] or value == "" then return shown[value] end
  if select("#", ...) == 0 then
    error("bad argument #1 to 'getmetatable' (value expected)", 2)
  end
  return raw_getmetatable(value)
end
function G.rawget(...)
  local t, key = ...
  if type(t) ~= "table" then bad_argument(1, "rawget", "table", argument_type(...)) end
  return rawget(real_of[t] or t, key)
end
function G.rawset(...)
  local t, key, value = ...
  if type(t) ~= "table" then bad_argument(1, "rawset", "table", argument_type(...)) end
  if real_of[t] then error(READONLY, 0) end
  return rawset(t, key, value)
end
function G.setmetatable(...)
  local t, meta = ...
  if type(t) ~= "table" then bad_argument(1, "setmetatable", "table", argument_type(...)) end
  if real_of[t] then error(READONLY, 0) end
  if meta ~= nil and type(meta) ~= "table" or select("#", ...) < 2 then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  return raw_setmetatable(t, real_of[meta] or meta)
end
function G.collectgarbage(option, argument)
  -- No script may switch collection off for those after it.
  if option == "stop" or option == "restart" then return 0 end
  if option == "setpause" or option == "setstepmul" then return 200 end
  return collectgarbage(option or "collect", argument or 0)
end

local function library(name, from)
  local real = {}
  for key, value in raw_pairs(from) do real[key] = value end
  G[name] = readonly(real)
  return real
end

local slow = c_function("slow")
local outside = {}  -- what runs a script, and is no part of it
local function on_count()
  if leaving or outside[getinfo(2, "f").func] then return end
  if not ended then
    ended = slow() or false
    local at = ended and getinfo(2, "Sl")
    if at then ended_source, ended_line = at.source, at.currentline end
  end
  if ended then error(ended, 0) end
end
sethook(on_count, "", hook_count)

local threads = library("coroutine", coroutine)
local function create(f, name)
  if type(f) ~= "function" or getinfo(f, "S").what == "C" then
    error("bad argument #1 to '" .. name .. "' (Lua function expected)", 3)
  end
  local thread = co_create(f)
  sethook(thread, on_count, "", hook_count)  -- a hook is of one coroutine alone
  return thread
end
function threads.create(f)
  local thread = create(f, "create")
  return thread
end
function threads.resume(...)
  if type((...)) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  return settle(co_resume(...))
end
local function unwrap(ok, ...)
  if ok then return ... end
  local e = value_of((...))
  if ended then error(ended, 0) end
  error(e, 3)
end
function threads.wrap(f)
  local thread = create(f, "wrap")
  return function(...) return unwrap(co_resume(thread, ...)) end
end

library("string", string)
local numbers = library("math", math)
numbers.random = c_function("random")
numbers.randomseed = c_function("randomseed")
library("os", {clock = os.clock})
local arrays = library("table", table)
function arrays.insert(t, ...)
  if type(t) ~= "table" then
    error("bad argument #1 to 'insert' (table expected, got "
      .. (t == nil and select("#", ...) == 0 and "no value" or type(t)) .. ")", 2)
  end
  if real_of[t] then error(READONLY, 0) end
  local count = select("#", ...)
  if count == 2 then
    local at = ...
    if type(at) ~= "number" and not tonumber(at) then
      error("bad argument #2 to 'insert' (number expected, got " .. type(at) .. ")", 2)
    end
  elseif count ~= 1 then
    error("wrong number of arguments to 'insert'", 2)
  end
  return insert(t, ...)
end
local strings_meta = getmetatable("")
strings_meta.__index = G.string
strings_meta.__metatable = false
shown[""] = readonly({__index = G.string})

for _, name in ipairs({"bit", "struct", "cmsgpack"}) do
  local functions = {}
  for each in string.gmatch(host(name), "[^ ]+") do
    functions[each] = c_function(name .. "." .. each)
  end
  library(name, functions)
  if name == "cmsgpack" then
    local real = real_of[G[name]]
    real._NAME, real._VERSION = "cmsgpack", "lua-cmsgpack 0.4.0"
    real._COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo"
    real._DESCRIPTION = "MessagePack C implementation for Lua"
  end
end

-- cjson -------------------------------------------------------------------------------------------

local cjson_encode, cjson_decode

local function settle_core(ok, ...)
  if ok then return ... end
  local e = ...
  -- Too deep, no memory, or killed: the C function that was called says so.
  return false, tostring(e), ended ~= false or e == memory_error
end
local function guarded(core)
  return function(...) return settle_core(raw_pcall(core, ...)) end
end

do
  local format, floor, char, lower = string.format, math.floor, string.char, string.lower
  local huge = math.huge
  local nan = -(huge - huge)  -- without a sign, as strtod's
  local escapes = {
    ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\t"] = "\\t",
    ["\n"] = "\\n", ["\f"] = "\\f", ["\r"] = "\\r", ["\127"] = "\\u007f",
  }
  for code = 0, 31 do
    local c = char(code)
    escapes[c] = escapes[c] or format("\\u%04x", code)
  end
  local SPECIAL = '[%c"\\/]'

  local out, size, max_depth, convert, ratio, safe, pattern, invalid
  -- Errors are values here: the C function that was called raises them, with its caller's line.
  local problem

  local function put_number(number)
    if number ~= number or number == huge or number == -huge then
      if invalid == 0 then
        problem = "Cannot serialise number: must not be NaN or Inf"
        return false
      elseif invalid == 2 then
        size = size + 1
        out[size] = "null"
        return true
      elseif number ~= number then
        size = size + 1
        out[size] = "nan"
        return true
      end
    end
    size = size + 1
    out[size] = format(pattern, number)
    return true
  end

  local function put_string(text)
    size = size + 1
    if find(text, SPECIAL) then text = gsub(text, SPECIAL, escapes) end
    out[size] = '"' .. text .. '"'
  end

  local function array_length(t)
    local top, items = 0, 0
    for key in raw_next, t do
      if type(key) ~= "number" or key < 1 or floor(key) ~= key then return -1 end
      if key > top then top = key end
      items = items + 1
    end
    if ratio > 0 and top > items * ratio and top > safe then
      if not convert then
        problem = "Cannot serialise table: excessively sparse array"
        return nil
      end
      return -1
    end
    return top
  end

  local function put(value, depth)
    local kind = type(value)
    if kind == "string" then
      put_string(value)
    elseif kind == "number" then
      return put_number(value)
    elseif kind == "table" then
      depth = depth + 1
      if depth > max_depth then
        problem = "Cannot serialise, excessive nesting (" .. depth .. ")"
        return false
      end
      value = real_of[value] or value
      local length = array_length(value)
      if not length then return false end
      if length > 0 then
        size = size + 1
        out[size] = "["
        for i = 1, length do
          if i > 1 then
            size = size + 1
            out[size] = ","
          end
          if not put(rawget(value, i), depth) then return false end
        end
        size = size + 1
        out[size] = "]"
      else
        size = size + 1
        out[size] = "{"
        local first = true
        for key, item in raw_next, value do
          if not first then
            size = size + 1
            out[size] = ","
          end
          first = false
          if type(key) == "string" then
            put_string(key)
          elseif type(key) == "number" then
            size = size + 1
            out[size] = '"'
            if not put_number(key) then return false end
            size = size + 1
            out[size] = '"'
          else
            problem = "Cannot serialise " .. type(key)
              .. ": table key must be a number or string"
            return false
          end
          size = size + 1
          out[size] = ":"
          if not put(item, depth) then return false end
        end
        size = size + 1
        out[size] = "}"
      end
    elseif kind == "nil" or value == null then
      size = size + 1
      out[size] = "null"
    elseif kind == "boolean" then
      size = size + 1
      out[size] = value and "true" or "false"
    else
      problem = "Cannot serialise " .. kind .. ": type not supported"
      return false
    end
    return true
  end

  function cjson_encode(value, ...)
    max_depth, convert, ratio, safe, pattern, invalid = ...
    out, size, problem = {}, 0, nil
    local ok = put(value, 0)
    local pieces = out
    out = nil
    if ok then return concat(pieces, "", 1, size) end
    return nil, problem
  end

  local text, deepest, accept_invalid
  local unescaped = {
    b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/",
  }
  local plain = {
    ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
    [":"] = "T_COLON", [","] = "T_COMMA", [""] = "T_END", ["\0"] = "T_END",
  }

  local function utf8(code)
    if code < 0x80 then return char(code) end
    if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
      return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64,
      0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end

  local function escape_at(at)
    -- Text of \uXXXX at `at`, and how long it is; nil if it is none.
    local digits = match(text, "^\\u(%x%x%x%x)", at)
    if not digits then return nil end
    local code = tonumber(digits, 16)
    if code < 0xD800 or code > 0xDFFF then return utf8(code), 6 end
    if code >= 0xDC00 then return nil end
    digits = match(text, "^\\u(%x%x%x%x)", at + 6)
    if not digits then return nil end
    local other = tonumber(digits, 16)
    if other < 0xDC00 or other > 0xDFFF then return nil end
    return utf8(0x10000 + (code - 0xD800) * 1024 + other - 0xDC00), 12
  end

  local function fail(expected, found, at)
    problem = "Expected " .. expected .. " but found " .. found .. " at character " .. at
    return nil
  end

  -- A token: kind, value, where it begins, where the next one may.
  local function string_token(start)
    local at = start + 1
    local stop = find(text, '["\\]', at)
    if stop and byte(text, stop) == 34 then
      return "T_STRING", sub(text, at, stop - 1), start, stop + 1
    end
    local pieces, n = {}, 0
    while stop do
      n = n + 1
      pieces[n] = sub(text, at, stop - 1)
      if byte(text, stop) == 34 then
        return "T_STRING", concat(pieces), start, stop + 1
      end
      local next = sub(text, stop + 1, stop + 1)
      local piece, length = unescaped[next], 2
      if next == "u" then
        piece, length = escape_at(stop)
        if not piece then return "T_ERROR", "invalid unicode escape code", stop end
      elseif not piece then
        return "T_ERROR", "invalid escape code", stop
      end
      n = n + 1
      pieces[n] = piece
      at = stop + length
      stop = find(text, '["\\]', at)
    end
    return "T_ERROR", "unexpected end of string", #text + 1
  end

  local function is_invalid_number(at)
    local first = sub(text, at, at)
    if first == "-" then
      at = at + 1
      first = sub(text, at, at)
    end
    if first == "0" then return find(text, "^[xX%d]", at + 1) ~= nil end
    if find(first, "^%d") then return false end
    local word = lower(sub(text, at, at + 2))
    return word == "inf" or word == "nan"
  end

  local function number_at(from, stop)
    if byte(text, from) == 43 then from = from + 1 end
    return tonumber(sub(text, from, stop))
  end

  local function number_token(start)
    local from, stop = find(text, "^[+-]?%d+", start)
    if from and not find(text, "^[.eExX]", stop + 1) then
      return "T_NUMBER", number_at(from, stop), start, stop + 1
    end
    local sign, at = 1, start
    if byte(text, at) == 45 then
      sign, at = -1, at + 1
    elseif byte(text, at) == 43 then
      at = at + 1
    end
    local word = lower(sub(text, at, at + 7))
    if word == "infinity" then return "T_NUMBER", sign * huge, start, at + 8 end
    if sub(word, 1, 3) == "inf" then return "T_NUMBER", sign * huge, start, at + 3 end
    if sub(word, 1, 3) == "nan" then
      return "T_NUMBER", sign < 0 and -nan or nan, start, at + 3
    end
    from, stop = find(text, "^0[xX]%x+", at)
    if from then
      local _, point = find(text, "^%.%x*", stop + 1)
      stop = point or stop
      local _, power = find(text, "^[pP][+-]?%d+", stop + 1)
      stop = power or stop
      return "T_NUMBER", sign * tonumber(sub(text, from, stop)), start, stop + 1
    end
    from, stop = find(text, "^%d+%.?%d*", at)
    if not from then from, stop = find(text, "^%.%d+", at) end
    if not from then return "T_ERROR", "invalid number", start end
    local _, power = find(text, "^[eE][+-]?%d+", stop + 1)
    stop = power or stop
    return "T_NUMBER", sign * tonumber(sub(text, from, stop)), start, stop + 1
  end

  local function token(at)
    at = find(text, "[^ \t\r\n]", at) or #text + 1
    local first = sub(text, at, at)
    local kind = plain[first]
    if kind then return kind, nil, at, at + 1 end
    if first == '"' then return string_token(at) end
    if find(first, "[%d-]") or accept_invalid and first == "+" then
      if not accept_invalid and is_invalid_number(at) then
        return "T_ERROR", "invalid number", at
      end
      return number_token(at)
    end
    if sub(text, at, at + 3) == "true" then return "T_BOOLEAN", true, at, at + 4 end
    if sub(text, at, at + 4) == "false" then return "T_BOOLEAN", false, at, at + 5 end
    if sub(text, at, at + 3) == "null" then return "T_NULL", null, at, at + 4 end
    if accept_invalid and is_invalid_number(at) then return number_token(at) end
    return "T_ERROR", "invalid token", at
  end

  local function unexpected(expected, kind, value, at)
    return fail(expected, kind == "T_ERROR" and value or kind, at)
  end

  local value_of_token

  local function decoded_object(at, depth)
    if depth > deepest then
      problem = "Found too many nested data structures (" .. depth .. ") at character " .. at - 1
      return nil
    end
    local t = {}
    local kind, value, from, after = token(at)
    if kind == "T_OBJ_END" then return t, after end
    while true do
      if kind ~= "T_STRING" then return unexpected("object key string", kind, value, from) end
      local key = value
      kind, value, from, after = token(after)
      if kind ~= "T_COLON" then return unexpected("colon", kind, value, from) end
      local item
      item, after = value_of_token(depth, token(after))
      if not after then return nil end
      t[key] = item
      kind, value, from, after = token(after)
      if kind == "T_OBJ_END" then return t, after end
      if kind ~= "T_COMMA" then return unexpected("comma or object end", kind, value, from) end
      kind, value, from, after = token(after)
    end
  end

  local function decoded_array(at, depth)
    if depth > deepest then
      problem = "Found too many nested data structures (" .. depth .. ") at character " .. at - 1
      return nil
    end
    local t, n = {}, 0
    local kind, value, from, after = token(at)
    if kind == "T_ARR_END" then return t, after end
    while true do
      local item
      item, after = value_of_token(depth, kind, value, from, after)
      if not after then return nil end
      n = n + 1
      t[n] = item
      kind, value, from, after = token(after)
      if kind == "T_ARR_END" then return t, after end
      if kind ~= "T_COMMA" then return unexpected("comma or array end", kind, value, from) end
      kind, value, from, after = token(after)
    end
  end

  function value_of_token(depth, kind, value, from, after)
    if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" or kind == "T_NULL" then
      return value, after
    end
    if kind == "T_OBJ_BEGIN" then return decoded_object(after, depth + 1) end
    if kind == "T_ARR_BEGIN" then return decoded_array(after, depth + 1) end
    return unexpected("value", kind, value, from)
  end

  function cjson_decode(json, ...)
    text, problem = json, nil
    deepest, accept_invalid = ...
    local value, after = value_of_token(0, token(1))
    if after then
      local kind, found, from = token(after)
      if kind ~= "T_END" then
        unexpected("the end", kind, found, from)
        after = nil
      end
    end
    text = nil
    if after then return true, value end
    return false, problem
  end

  cjson_encode, cjson_decode = guarded(cjson_encode), guarded(cjson_decode)
end

local new_cjson = host("new_cjson")
local function instance()
  local t = {null = null, _NAME = "cjson", _VERSION = "2.1.0"}
  local names = {
    "encode", "decode", "encode_sparse_array", "encode_max_depth", "decode_max_depth",
    "encode_number_precision", "encode_keep_buffer", "encode_invalid_numbers",
    "decode_invalid_numbers",
  }
  local functions = {new_cjson()}
  for i, name in ipairs(names) do t[name] = as_function(functions[i]) end
  t.new = instance
  return t
end
library("cjson", instance())

-- The API -----------------------------------------------------------------------------------------

local function wrong_arguments() return {err = "ERR wrong number or type of arguments"} end
local function error_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then return wrong_arguments() end
  if sub(text, 1, 1) == "-" then text = sub(text, 2) end
  text = gsub(text, "[\r\n]+$", "")
  if not find(text, " ", 1, true) then text = "ERR " .. text end
  return {err = text}
end
local function status_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then return wrong_arguments() end
  return {ok = text}
end

local constants = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REDIS_VERSION = host("version"), REDIS_VERSION_NUM = host("version_number"),
}
local api = {
  call = c_function("call"), pcall = c_function("pcall"), sha1hex = c_function("sha1hex"),
  setresp = c_function("setresp"), set_repl = c_function("set_repl"),
  acl_check_cmd = c_function("acl_check_cmd"), log = c_function("log"),
  error_reply = error_reply, status_reply = status_reply,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
}
for key, value in raw_pairs(constants) do api[key] = value end
G.redis = readonly(api)
local loading_globals, load_api
local callbacks = {}
if host("functions") then
  -- While a library is loaded there is nothing else, and `redis` is another table.
  load_api = {register_function = c_function("register_function"), log = api.log}
  for key, value in raw_pairs(constants) do load_api[key] = value end
  raw_setmetatable(load_api, missing)
  loading_globals = raw_setmetatable({redis = readonly(load_api)}, missing)
else
  G.__redis__err__handler = on_error
  function api.replicate_commands() return true end
  function api.breakpoint() return false end
  function api.debug() end
end

-- Replies -----------------------------------------------------------------------------------------

local integer_text, double_text = c_function("integer_text"), c_function("double_text")
local resp_of_run = c_function("resp")
local MAX_DEPTH = 7995
local three_booleans, varies

local function field(t, name, kind)
  local value = rawget(t, name)
  if type(value) == kind then return value end
end
local function one_line(text) return (gsub(text, "[\r\n]", " ")) end

local encode
function encode(out, value, resp, depth)
  local kind = type(value)
  local n = #out
  if kind == "string" then
    out[n + 1], out[n + 2], out[n + 3] = "$" .. #value .. "\r\n", value, "\r\n"
  elseif kind == "number" then
    if value % 1 == 0 and value < 1e14 and value > -1e14 then
      out[n + 1] = ":" .. value .. "\r\n"
    else
      out[n + 1] = integer_text(value)
    end
  elseif kind == "boolean" and (three_booleans or value) then
    if three_booleans then
      varies = true
      if resp == 3 then out[n + 1] = value and "#t\r\n" or "#f\r\n" return end
    end
    out[n + 1] = value and ":1\r\n" or ":0\r\n"
  elseif kind ~= "table" then
    varies = true
    out[n + 1] = resp == 3 and "_\r\n" or "$-1\r\n"
  elseif depth > MAX_DEPTH then
    out[n + 1] = "-ERR reached lua stack limit\r\n"
  else
    local text = field(value, "err", "string")
    if text then
      out[n + 1] = "-" .. one_line(text) .. "\r\n"
      return
    end
    text = field(value, "ok", "string")
    if text then out[n + 1] = "+" .. one_line(text) .. "\r\n" return end
    local number = field(value, "double", "number")
    if number then
      varies = true
      out[n + 1] = double_text(number, resp)
      return
    end
    local inner = field(value, "map", "table")
    if inner then
      varies = true
      local count = 0
      for key, item in raw_next, real_of[inner] or inner do
        count = count + 1
        encode(out, key, resp, depth + 1)
        encode(out, item, resp, depth + 1)
      end
      insert(out, n + 1, (resp == 3 and "%" .. count or "*" .. 2 * count) .. "\r\n")
      return
    end
    inner = field(value, "set", "table")
    if inner then
      varies = true
      local count = 0
      for key in raw_next, real_of[inner] or inner do
        count = count + 1
        encode(out, key, resp, depth + 1)
      end
      insert(out, n + 1, (resp == 3 and "~" or "*") .. count .. "\r\n")
      return
    end
    text = field(value, "big_number", "string")
    if text then
      varies = true
      text = one_line(text)
      out[n + 1] = (resp == 3 and "(" or "$" .. #text .. "\r\n") .. text .. "\r\n"
      return
    end
    inner = field(value, "verbatim_string", "table")
    if inner then
      local content, format = field(inner, "string", "string"), field(inner, "format", "string")
      if content and format then
        varies = true
        if resp == 3 then
          format = sub(format .. "   ", 1, 3)
          out[n + 1] = "=" .. #content + 4 .. "\r\n" .. format .. ":" .. content .. "\r\n"
        else
          out[n + 1] = "$" .. #content .. "\r\n" .. content .. "\r\n"
        end
        return
      end
    end
    local count = 0
    out[n + 1] = ""
    while true do
      local item = rawget(value, count + 1)
      if item == nil then break end
      count = count + 1
      encode(out, item, resp, depth + 1)
    end
    out[n + 1] = "*" .. count .. "\r\n"
  end
end

local function finish(ok, value)
  leaving = true
  if ended then return ENDED, ended, ended_source, ended_line end
  if not ok then
    if type(value) ~= "table" then return ENDED, tostring(value), nil, nil end
    local text = rawget(value, "err")
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then text = nil end
    return FAILED, text, field(value, "source", "string"),
      field(value, "line", "number"), rawget(value, "ignore_error_stats_update") and true or false
  end
  local kind = type(value)
  if kind == "string" or kind == "number" then return value end
  three_booleans = resp_of_run() == 3
  if kind == "boolean" and not three_booleans then return value end
  if kind ~= "table" and kind ~= "boolean" then return nil end
  varies = false
  local two = {}
  encode(two, value, 2, 0)
  if not varies then return ENCODED, concat(two) end
  local three = {}
  encode(three, value, 3, 0)
  return ENCODED, concat(two), concat(three)
end

local function lists(count, ...)
  local total = select("#", ...)
  if count == total then return {...}, {} end
  if count == 0 then return {}, {...} end
  local keys, args, all = {}, {}, {...}
  for i = 1, count do keys[i] = all[i] end
  for i = count + 1, total do args[i - count] = all[i] end
  return keys, args
end

local function run(f, count, ...)
  ended, ended_source, ended_line = false, nil, nil
  leaving = false
  G.KEYS, G.ARGV = lists(count, ...)
  return finish(raw_xpcall(f, on_error))
end

local function run_lists(f, keys, args)
  ended, ended_source, ended_line = false, nil, nil
  leaving = false
  G.KEYS, G.ARGV = keys, args
  return finish(raw_xpcall(f, on_error))
end

local function call_function(id, keys, args)
  ended, ended_source, ended_line = false, nil, nil
  leaving = false
  local f = callbacks[id]
  return finish(raw_xpcall(function() return f(keys, args) end, on_error))
end

local function call_with(id, count, ...)
  return call_function(id, lists(count, ...))
end

outside[run], outside[run_lists], outside[call_function], outside[finish] = true, true, true, true

local function load_library(f)
  ended = false
  leaving = false
  env_meta.__index, real_of[env] = loading_globals, loading_globals
  local ok, value = raw_xpcall(f, on_error)
  leaving = true
  env_meta.__index, real_of[env] = G, G
  if ended then return ENDED, ended end
  if ok then return nil end
  if type(value) ~= "table" then return ENDED, tostring(value) end
  return FAILED, field(value, "err", "string")
end

local function keep(id, f) callbacks[id] = f end
local function forget(id) callbacks[id] = nil end
local function listed(t)
  -- Keys and values of a table that register_function is given, in turn; not more than it knows.
  local out, n = {}, 0
  for key, value in raw_next, real_of[t] or t do
    if n == 32 then break end
    out[n + 1], out[n + 2] = key, value
    n = n + 2
  end
  return n, unpack(out, 1, n)
end

for name in raw_pairs(raw) do raw._G[name] = nil end

return run, run_lists, call_with, call_function, load_library, load_text, keep, forget, listed,
  where, cjson_encode, cjson_decode, null
"""
