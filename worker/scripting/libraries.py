"""The libraries of scripts: bit, struct, cmsgpack, cjson, and math.random.

Each function is called by Lua with Lua's values and returns some (a tuple is several). cjson's
encoder and parser are Lua, in `prelude`: they walk tables; here are its settings and its errors.
Sources: the documentation of Redis ("Lua API"), of Lua BitOp, lua-struct, lua-cjson and the
MessagePack specification; where they are silent, redis-server 8.2.
"""

from __future__ import annotations

import math
import struct as _struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from shoal.worker.scripting.convert import number_of, text_of, type_name
from shoal.worker.scripting.engine import RaisedError, Value

if TYPE_CHECKING:
    from shoal.worker.scripting.engine import Runtime

_NO_VALUE: Final = object()


class Libraries:
    """The functions of one runtime.

    Attributes:
        runtime: set once it is made, before anything is called.
    """

    def __init__(self) -> None:
        """Begin with the numbers that lrand48 gives before srand48."""
        self.runtime: Runtime
        self._random = _Random48(0x1234ABCD)

    def offered(self) -> dict[str, Any]:
        """Return the functions by the names that the prelude asks for."""
        found: dict[str, Any] = {
            "random": self.random,
            "randomseed": self.randomseed,
            "new_cjson": lambda: Cjson(self).functions(),
        }
        for library in ("bit", "struct", "cmsgpack"):
            prefix = f"{library}_"
            names = [name for name in dir(self) if name.startswith(prefix)]
            found[library] = " ".join(name.removeprefix(prefix) for name in names).encode()
            for name in names:
                found[name.replace("_", ".", 1)] = getattr(self, name)
        return found

    # -- arguments ---------------------------------------------------------------------------------

    def fail(self, text: str) -> RaisedError:
        """Return an error with the place of the call in front of it."""
        place, _ = self.runtime.where()
        return RaisedError(place + text.encode("latin-1"))

    def bad_argument(self, position: int, why: str) -> RaisedError:
        """Return the error of an argument, positions counted from 1."""
        place, name = self.runtime.where()
        return RaisedError(
            b"%bbad argument #%d to '%b' (%b)" % (place, position, name, why.encode())
        )

    def number(self, args: tuple[Value, ...], position: int) -> int | float:
        """Return an argument as a number, as luaL_checknumber does."""
        value = args[position - 1] if len(args) >= position else _NO_VALUE
        if value.__class__ is int or value.__class__ is float:
            return value
        number = number_of(value)
        if number is None:
            got = "no value" if value is _NO_VALUE else type_name(value)
            raise self.bad_argument(position, f"number expected, got {got}")
        return number

    def text(self, args: tuple[Value, ...], position: int) -> bytes:
        """Return an argument as a string, as luaL_checklstring does."""
        value = args[position - 1] if len(args) >= position else _NO_VALUE
        if value.__class__ is bytes:
            return value
        text = text_of(value)
        if text is None:
            got = "no value" if value is _NO_VALUE else type_name(value)
            raise self.bad_argument(position, f"string expected, got {got}")
        return text

    def whole(self, args: tuple[Value, ...], position: int) -> int:
        """Return an argument as a 64-bit integer, as luaL_checkinteger does."""
        return to_int64(self.number(args, position))

    # -- math --------------------------------------------------------------------------------------

    def random(self, *args: Value) -> float | int:
        """math.random: a number in [0, 1), or an integer up to a bound or between two."""
        # As C's: drawn before the arguments are looked at.
        share = self._random.next() % _INT32_MAX / _INT32_MAX
        if not args:
            return share
        if len(args) > 2:
            raise self.fail("wrong number of arguments")
        low, at = 1, 1
        if len(args) == 2:
            low, at = to_int32(self.number(args, 1)), 2
        high = to_int32(self.number(args, at))
        if low > high:
            raise self.bad_argument(at, "interval is empty")
        return to_int32(math.floor(share * _signed((high - low + 1) & 0xFFFFFFFF)) + low)

    def randomseed(self, *args: Value) -> None:
        """math.randomseed."""
        self._random = _Random48(to_int32(self.number(args, 1)))

    # -- bit ---------------------------------------------------------------------------------------

    def _bits(self, args: tuple[Value, ...], position: int) -> int:
        """Return an argument as 32 bits, as a number from 0."""
        value: Any = args[position - 1] if len(args) >= position else _NO_VALUE
        if value.__class__ is not int:
            value = self.number(args, position)
            if value.__class__ is float:
                # Bits of the double; as BitOp, which adds 2**52 + 2**51 to it.
                value = _struct.unpack("<Q", _struct.pack("<d", value + 6755399441055744.0))[0]
        elif not -(1 << 51) <= value < 1 << 51:
            value = _struct.unpack("<Q", _struct.pack("<d", value + 6755399441055744.0))[0]
        return int(value & 0xFFFFFFFF)

    def bit_tobit(self, *args: Value) -> int:
        """bit.tobit."""
        return _signed(self._bits(args, 1))

    def bit_bnot(self, *args: Value) -> int:
        """bit.bnot."""
        return _signed(self._bits(args, 1) ^ 0xFFFFFFFF)

    def bit_band(self, *args: Value) -> int:
        """bit.band."""
        bits = self._bits(args, 1)
        for position in range(2, len(args) + 1):
            bits &= self._bits(args, position)
        return _signed(bits)

    def bit_bor(self, *args: Value) -> int:
        """bit.bor."""
        bits = self._bits(args, 1)
        for position in range(2, len(args) + 1):
            bits |= self._bits(args, position)
        return _signed(bits)

    def bit_bxor(self, *args: Value) -> int:
        """bit.bxor."""
        bits = self._bits(args, 1)
        for position in range(2, len(args) + 1):
            bits ^= self._bits(args, position)
        return _signed(bits)

    def bit_lshift(self, *args: Value) -> int:
        """bit.lshift."""
        bits = self._bits(args, 1)
        return _signed((bits << (self._bits(args, 2) & 31)) & 0xFFFFFFFF)

    def bit_rshift(self, *args: Value) -> int:
        """bit.rshift."""
        bits = self._bits(args, 1)
        return _signed(bits >> (self._bits(args, 2) & 31))

    def bit_arshift(self, *args: Value) -> int:
        """bit.arshift."""
        bits = _signed(self._bits(args, 1))
        return bits >> (self._bits(args, 2) & 31)

    def bit_rol(self, *args: Value) -> int:
        """bit.rol."""
        bits = self._bits(args, 1)
        return _rotated(bits, self._bits(args, 2) & 31)

    def bit_ror(self, *args: Value) -> int:
        """bit.ror."""
        bits = self._bits(args, 1)
        return _rotated(bits, -self._bits(args, 2) & 31)

    def bit_bswap(self, *args: Value) -> int:
        """bit.bswap."""
        return int.from_bytes(self._bits(args, 1).to_bytes(4, "little"), "big", signed=True)

    def bit_tohex(self, *args: Value) -> bytes:
        """bit.tohex."""
        bits = self._bits(args, 1)
        digits = 8 if len(args) < 2 else _signed(self._bits(args, 2))
        text = b"%08X" % bits if digits < 0 else b"%08x" % bits
        count = min(abs(digits), 8)
        return text[8 - count :]

    # -- struct ------------------------------------------------------------------------------------

    def struct_pack(self, *args: Value) -> bytes:
        """struct.pack."""
        out = bytearray()
        position = 2
        if args:
            args = (*args, None)  # what is missing is nil there
        for option, size, align, little in self._options(args):
            out += b"\0" * _padding(len(out), size, align, option)
            if option in _INTEGERS:
                number = _c_integer(self.number(args, position))
                out += _to_bytes(number, size, little)
                position += 1
            elif option == "x":
                out += b"\0"
            elif option in ("f", "d"):
                number_ = float(self.number(args, position))
                out += _packed_float(number_, option, little)
                position += 1
            elif option in ("s", "c"):
                data = self.text(args, position)
                length = size or len(data)
                if len(data) < length:
                    raise self.bad_argument(position + 1, "string too short")
                out += data[:length]
                if option == "s":
                    out += b"\0"
                position += 1
            self.runtime.afford(len(out))
        return bytes(out)

    def struct_unpack(self, *args: Value) -> tuple[Value, ...]:
        """struct.unpack."""
        self.text(args, 1)
        data = self.text(args, 2)
        at = self.whole(args, 3) - 1 if len(args) >= 3 and args[2] is not None else 0
        if at == -1:
            raise self.bad_argument(3, "offset must be 1 or greater")
        found: list[Value] = []
        for option, size, align, little in self._options(args):
            at += _padding(at, size, align, option)
            if at < 0 or at > len(data) - size:
                raise self.bad_argument(2, "data string too short")
            if option in _INTEGERS:
                raw = data[at : at + size]
                signed = option in "bhli"
                number = int.from_bytes(raw, "little" if little else "big")
                # As in C: an integer of 64 bits, of the lowest bytes.
                number &= _MASK64
                if signed:
                    shift = min(size, 8) * 8
                    number &= (1 << shift) - 1
                    if shift and number >> (shift - 1):
                        number -= 1 << shift
                found.append(number)
            elif option in ("f", "d"):
                found.append(_unpacked_float(data[at : at + size], option, little))
            elif option == "c":
                if not size:
                    if not found or found[-1].__class__ not in (int, float):
                        raise self.fail("format 'c0' needs a previous size")
                    size = int(found.pop())
                    if size < 0 or size > len(data) - at:
                        raise self.bad_argument(2, "data string too short")
                found.append(data[at : at + size])
            elif option == "s":
                end = data.find(b"\0", at)
                if end < 0:
                    raise self.fail("unfinished string in data")
                found.append(data[at:end])
                size = end - at + 1
            at += size
        found.append(at + 1)
        self.runtime.afford(2 * len(data))
        return tuple(found)

    def struct_size(self, *args: Value) -> int:
        """struct.size."""
        total = 0
        for option, size, align, _ in self._options(args, sizes=True):
            total += _padding(total, size, align, option)
            if option == "s":
                raise self.bad_argument(1, "option 's' has no fixed size")
            if option == "c" and not size:
                raise self.bad_argument(1, "option 'c0' has no fixed size")
            total += size
        return total

    def _options(self, args: tuple[Value, ...], *, sizes: bool = False) -> Any:
        """Yield option, size in bytes, alignment and whether it is little-endian, for each of a
        format.
        """
        form = self.text(args, 1).decode("latin-1")
        # A NUL ends it, as any C string.
        form = form.partition("\0")[0]
        little, align = True, 1
        at = 0

        def digits(default: int) -> int:
            nonlocal at
            start = at
            number = 0
            while at < len(form) and form[at].isascii() and form[at].isdigit():
                number = number * 10 + int(form[at])
                if number > _INT32_MAX:
                    raise self.fail("integral size overflow")
                at += 1
            return number if at > start else default

        while at < len(form):
            option = form[at]
            at += 1
            if option in _SIZES:
                yield option, _SIZES[option], align, little
            elif option in "iI":
                size = digits(4)
                if size > _MAX_INTEGER_BYTES:
                    raise self.fail(
                        f"integral size {size} is larger than limit of {_MAX_INTEGER_BYTES}"
                    )
                yield option, size, align, little
            elif option == "c":
                yield option, digits(1), align, little
            else:
                yield option, 0, align, little
                if option == ">":
                    little = False
                elif option == "<":
                    little = True
                elif option == "!":
                    align = digits(_MAX_ALIGN)
                    if align == 0 or align & (align - 1):
                        raise self.fail(f"alignment {align} is not a power of 2")
                elif option not in "s " and not (sizes and option.isascii() and option.isalnum()):
                    raise self.bad_argument(1, f"invalid format option '{option}'")

    # -- cmsgpack ----------------------------------------------------------------------------------

    def cmsgpack_pack(self, *args: Value) -> bytes:
        """cmsgpack.pack: one object after the other."""
        if not args:
            raise self.bad_argument(0, "MessagePack pack needs input.")
        out: list[bytes] = []
        for value in args:
            _pack(out, value, 0)
        data = b"".join(out)
        self.runtime.afford(2 * len(data))
        return data

    def cmsgpack_unpack(self, *args: Value) -> tuple[Value, ...]:
        """cmsgpack.unpack: all objects of a string."""
        return self._unpack(self.text(args, 1), 0, 0)

    def cmsgpack_unpack_one(self, *args: Value) -> tuple[Value, ...]:
        """cmsgpack.unpack_one: the offset of the next object (-1 for none), and one object."""
        offset = self._optional_integer(args, 2, 0)
        return self._unpack(self.text(args, 1), 1, offset)

    def cmsgpack_unpack_limit(self, *args: Value) -> tuple[Value, ...]:
        """cmsgpack.unpack_limit: as unpack_one, for so many objects."""
        data = self.text(args, 1)
        limit = self.whole(args, 2)
        offset = self._optional_integer(args, 3, 0)
        return self._unpack(data, limit, offset)

    def _optional_integer(self, args: tuple[Value, ...], position: int, default: int) -> int:
        if len(args) < position or args[position - 1] is None:
            return default
        return self.whole(args, position)

    def _unpack(self, data: bytes, limit: int, offset: int) -> tuple[Value, ...]:
        whole = not limit and not offset
        if offset < 0 or limit < 0:
            raise self.fail(
                f"Invalid request to unpack with offset of {offset} and limit of {len(data)}."
            )
        if offset > len(data):
            raise self.fail(f"Start offset {offset} greater than input length {len(data)}.")
        left = -1 if whole else limit
        self.runtime.afford(4 * (len(data) - offset))
        reader = _Unpacker(self, data, offset)
        found: list[Value] = []
        while reader.at < len(data) and left != 0:
            found.append(reader.value(0))
            left -= 1
        if whole:
            return tuple(found)
        return (reader.at if reader.at < len(data) else -1, *found)


# -- numbers ---------------------------------------------------------------------------------------

_INT32_MAX: Final = (1 << 31) - 1
_MASK64: Final = (1 << 64) - 1
_INT64_MIN: Final = -(1 << 63)


def to_int64(number: int | float) -> int:
    """Convert as C on x86-64 does: what does not fit becomes the least integer."""
    if number.__class__ is int:
        return int(number) if -(1 << 63) <= number < 1 << 63 else _INT64_MIN
    if not math.isfinite(number) or not -(2.0**63) <= number < 2.0**63:
        return _INT64_MIN
    return int(number)


def to_int32(number: int | float) -> int:
    """Convert to 64 bits and take the lower half, as C does for an int."""
    return _signed(to_int64(number) & 0xFFFFFFFF)


def _signed(bits: int) -> int:
    return bits - (1 << 32) if bits & 0x80000000 else bits


def _rotated(bits: int, by: int) -> int:
    return _signed(((bits << by) | (bits >> (32 - by))) & 0xFFFFFFFF)


class _Random48:
    """The generator of POSIX's lrand48, of 48 bits."""

    def __init__(self, seed: int) -> None:
        self._state = (seed & 0xFFFFFFFF) << 16 | 0x330E

    def next(self) -> int:
        """Return the next number of 31 bits."""
        self._state = (self._state * 0x5DEECE66D + 0xB) & 0xFFFFFFFFFFFF
        return self._state >> 17


# -- struct ----------------------------------------------------------------------------------------

_SIZES: Final = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "f": 4, "d": 8, "x": 1}
_INTEGERS: Final = "bBhHlLTiI"
_MAX_INTEGER_BYTES: Final = 32
_MAX_ALIGN: Final = 8


def _padding(total: int, size: int, align: int, option: str) -> int:
    """Return the bytes in front of an element, so that it is aligned."""
    if size == 0 or option in "cs":
        return 0
    size = min(size, align)
    if size > 1:
        return (size - (total & (size - 1))) & (size - 1)
    return 0


def _c_integer(number: int | float) -> int:
    """Return a number as 64 bits without a sign, as C on x86-64 casts it."""
    if number >= 2.0**63:
        return int(number) if number < 2.0**64 else 0
    return to_int64(number) & _MASK64


def _to_bytes(number: int, size: int, little: bool) -> bytes:
    data = (number & _MASK64).to_bytes(8, "little")[:size].ljust(size, b"\0")
    return data if little else data[::-1]


def _packed_float(number: float, option: str, little: bool) -> bytes:
    order = "<" if little else ">"
    try:
        return _struct.pack(order + option, number)
    except OverflowError:  # as C's cast to float
        return _struct.pack(order + option, math.copysign(math.inf, number))


def _unpacked_float(data: bytes, option: str, little: bool) -> float:
    return float(_struct.unpack(("<" if little else ">") + option, data)[0])


# -- MessagePack -----------------------------------------------------------------------------------

# Deeper tables are packed as nil.
_MAX_PACK_NESTING: Final = 16


def _pack(out: list[bytes], value: Value, level: int) -> None:
    kind = value.__class__
    if kind is bytes:
        size = len(value)
        if size < 32:
            head = bytes((0xA0 | size,))
        elif size <= 0xFF:
            head = bytes((0xD9, size))
        elif size <= 0xFFFF:
            head = b"\xda" + size.to_bytes(2, "big")
        else:
            head = b"\xdb" + size.to_bytes(4, "big")
        out += (head, value)
    elif kind is bool:
        out.append(b"\xc3" if value else b"\xc2")
    elif kind is int:
        out.append(_packed_integer(value))
    elif kind is float:
        if value.is_integer() and -(2.0**63) <= value < 2.0**63:
            out.append(_packed_integer(int(value)))
        else:
            out.append(_packed_double(value))
    elif type_name(value) == "table":
        if level == _MAX_PACK_NESTING:
            out.append(b"\xc0")
            return
        pairs = list(value.items())
        if _is_array(pairs):
            out.append(_head(len(pairs), 0x90, 0xDC))
            for _, item in sorted(pairs, key=_first):
                _pack(out, item, level + 1)
        else:
            out.append(_head(len(pairs), 0x80, 0xDE))
            for key, item in pairs:
                _pack(out, key, level + 1)
                _pack(out, item, level + 1)
    else:
        out.append(b"\xc0")


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _is_array(pairs: list[tuple[Value, Value]]) -> bool:
    top = 0
    for key, _ in pairs:
        if key.__class__ is not int or key <= 0:
            return False
        top = max(top, key)
    return top == len(pairs)


def _head(count: int, fixed: int, kind: int) -> bytes:
    if count <= 15:
        return bytes((fixed | count,))
    if count <= 0xFFFF:
        return bytes((kind,)) + count.to_bytes(2, "big")
    return bytes((kind + 1,)) + count.to_bytes(4, "big")


def _packed_integer(number: int) -> bytes:
    if number >= 0:
        if number <= 127:
            return bytes((number,))
        for size, kind in ((1, 0xCC), (2, 0xCD), (4, 0xCE), (8, 0xCF)):
            if number < 1 << 8 * size:
                return bytes((kind,)) + number.to_bytes(size, "big")
    elif number >= -32:
        return bytes((number & 0xFF,))
    for size, kind in ((1, 0xD0), (2, 0xD1), (4, 0xD2)):
        if number >= -(1 << (8 * size - 1)):
            return bytes((kind,)) + number.to_bytes(size, "big", signed=True)
    return b"\xd3" + number.to_bytes(8, "big", signed=True)


def _packed_double(number: float) -> bytes:
    try:
        short = _struct.pack(">f", number)
    except OverflowError:
        return b"\xcb" + _struct.pack(">d", number)
    if _struct.unpack(">f", short)[0] == number:
        return b"\xca" + short
    return b"\xcb" + _struct.pack(">d", number)


_UNSIGNED: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4}
# 64 bits are signed for both.
_SIGNED: Final = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xCF: 8}
_STRINGS: Final = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}
# Two frames of Python each, of the thousand that there are.
_MAX_UNPACK_NESTING: Final = 200


class _Unpacker:
    """Reads objects of MessagePack, one after the other."""

    def __init__(self, libraries: Libraries, data: bytes, at: int) -> None:
        self._libraries = libraries
        self._data = data
        self.at = at

    def _take(self, size: int) -> bytes:
        data = self._data[self.at : self.at + size]
        if len(data) < size:
            raise self._libraries.fail("Missing bytes in input.")
        self.at += size
        return data

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def value(self, depth: int) -> Value:
        """Return the next object, its arrays and maps as tables of Lua."""
        if depth > _MAX_UNPACK_NESTING:
            raise self._libraries.fail("Bad data format in input.")
        head = self._number(1)
        if head <= 0x7F:
            return head
        if head >= 0xE0:
            return head - 256
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _UNSIGNED:
            return self._number(_UNSIGNED[head])
        if head in _SIGNED:
            return int.from_bytes(self._take(_SIGNED[head]), "big", signed=True)
        if head == 0xCA:
            return float(_struct.unpack(">f", self._take(4))[0])
        if head == 0xCB:
            return float(_struct.unpack(">d", self._take(8))[0])
        if 0xA0 <= head <= 0xBF:
            return self._take(head & 31)
        if head in _STRINGS:
            return self._take(self._number(_STRINGS[head]))
        if head in (0xDC, 0xDD) or 0x90 <= head <= 0x9F:
            count = head & 15 if head < 0xA0 else self._number(2 if head == 0xDC else 4)
            return self._array(count, depth + 1)
        if head in (0xDE, 0xDF) or 0x80 <= head <= 0x8F:
            count = head & 15 if head < 0x90 else self._number(2 if head == 0xDE else 4)
            return self._map(count, depth + 1)
        raise self._libraries.fail("Bad data format in input.")

    def _array(self, count: int, depth: int) -> Value:
        items = {}
        for at in range(1, count + 1):
            item = self.value(depth)
            if item is not None:
                items[at] = item
        return self._libraries.runtime.table(items)

    def _map(self, count: int, depth: int) -> Value:
        table = self._libraries.runtime.table({})
        for _ in range(count):
            key = self.value(depth)
            if key is None or key != key:
                self.value(depth)
                raise self._libraries.fail(
                    "table index is nil" if key is None else "table index is NaN"
                )
            table[key] = self.value(depth)
        return table


# -- cjson -----------------------------------------------------------------------------------------


class Cjson:
    """One instance of cjson: its settings, which last, and its functions."""

    def __init__(self, libraries: Libraries) -> None:
        """Begin with the settings of Redis."""
        self._libraries = libraries
        self._sparse = (False, 2, 10)
        self._encode_depth = 1000
        self._decode_depth = 1000
        self._precision = 14
        self._keep_buffer = True
        self._encode_invalid = 0
        self._decode_invalid = True

    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Return the functions in the order in which the prelude names them."""
        return (
            self.encode,
            self.decode,
            self.encode_sparse_array,
            self.encode_max_depth,
            self.decode_max_depth,
            self.encode_number_precision,
            self.encode_keep_buffer,
            self.encode_invalid_numbers,
            self.decode_invalid_numbers,
        )

    def encode(self, *args: Value) -> Value:
        """cjson.encode."""
        libraries = self._libraries
        if len(args) != 1:
            raise libraries.bad_argument(1, "expected 1 argument")
        kind = type_name(args[0])
        if kind in ("function", "thread"):
            raise libraries.fail(f"Cannot serialise {kind}: type not supported")
        result = libraries.runtime.cjson_encode(
            args[0],
            self._encode_depth,
            *self._sparse,
            b"%%.%dg" % self._precision,
            self._encode_invalid,
        )
        if result.__class__ is tuple:
            raise self._failure(result)
        libraries.runtime.afford(2 * len(result))
        return result

    def decode(self, *args: Value) -> Value:
        """cjson.decode."""
        libraries = self._libraries
        if len(args) != 1:
            raise libraries.bad_argument(1, "expected 1 argument")
        data = libraries.text(args, 1)
        if len(data) >= 2 and not (data[0] and data[1]):
            raise libraries.fail("JSON parser does not support UTF-16 or UTF-32")
        result = libraries.runtime.cjson_decode(data, self._decode_depth, self._decode_invalid)
        if not result[0]:
            raise self._failure(result)
        return result[1]

    def _failure(self, result: tuple[Value, ...]) -> RaisedError:
        """Return the error of what the prelude's side said: a text, and if Lua itself raised it,
        whether the script must end.
        """
        text: bytes = result[1]
        if len(result) == 2:
            return self._libraries.fail(text.decode("latin-1"))
        if result[2]:
            return RaisedError(text, RaisedError.FATAL)
        return self._libraries.fail(text.rpartition(b": ")[2].decode("latin-1"))

    def _integer(
        self, args: tuple[Value, ...], position: int, low: int, high: int, old: int
    ) -> int:
        if len(args) < position or args[position - 1] is None:
            return old
        number = self._libraries.whole(args, position)
        if not low <= number <= high:
            raise self._libraries.bad_argument(
                position, f"expected integer between {low} and {high}"
            )
        return number

    def _flag(self, args: tuple[Value, ...], position: int, old: int, third: str = "") -> int:
        """Return an argument of on and off, or a boolean, or the third word (2)."""
        if len(args) < position or args[position - 1] is None:
            return old
        value = args[position - 1]
        if value.__class__ is bool:
            return int(value)
        word = self._libraries.text(args, position).decode("latin-1")
        words = ["off", "on", third] if third else ["off", "on"]
        if word not in words:
            raise self._libraries.bad_argument(position, f"invalid option '{word}'")
        return words.index(word)

    def _at_most(self, args: tuple[Value, ...], limit: int) -> None:
        if len(args) > limit:
            raise self._libraries.bad_argument(limit + 1, "found too many arguments")

    def encode_sparse_array(self, *args: Value) -> tuple[bool, int, int]:
        """cjson.encode_sparse_array."""
        self._at_most(args, 3)
        convert, ratio, safe = self._sparse
        convert = bool(self._flag(args, 1, int(convert)))
        self._sparse = convert, ratio, safe
        ratio = self._integer(args, 2, 0, _INT32_MAX, ratio)
        self._sparse = convert, ratio, safe
        safe = self._integer(args, 3, 0, _INT32_MAX, safe)
        self._sparse = convert, ratio, safe
        return self._sparse

    def encode_max_depth(self, *args: Value) -> int:
        """cjson.encode_max_depth."""
        self._at_most(args, 1)
        self._encode_depth = self._integer(args, 1, 1, _INT32_MAX, self._encode_depth)
        return self._encode_depth

    def decode_max_depth(self, *args: Value) -> int:
        """cjson.decode_max_depth."""
        self._at_most(args, 1)
        self._decode_depth = self._integer(args, 1, 1, _INT32_MAX, self._decode_depth)
        return self._decode_depth

    def encode_number_precision(self, *args: Value) -> int:
        """cjson.encode_number_precision."""
        self._at_most(args, 1)
        self._precision = self._integer(args, 1, 1, 14, self._precision)
        return self._precision

    def encode_keep_buffer(self, *args: Value) -> bool:
        """cjson.encode_keep_buffer: remembered, there is no buffer to keep."""
        self._at_most(args, 1)
        self._keep_buffer = bool(self._flag(args, 1, int(self._keep_buffer)))
        return self._keep_buffer

    def encode_invalid_numbers(self, *args: Value) -> bool | bytes:
        """cjson.encode_invalid_numbers."""
        self._at_most(args, 1)
        self._encode_invalid = self._flag(args, 1, self._encode_invalid, "null")
        return b"null" if self._encode_invalid == 2 else bool(self._encode_invalid)

    def decode_invalid_numbers(self, *args: Value) -> bool:
        """cjson.decode_invalid_numbers."""
        self._at_most(args, 1)
        self._decode_invalid = bool(self._flag(args, 1, int(self._decode_invalid)))
        return self._decode_invalid
