"""Every error a client or a peer can be told, once.

Three kinds exist. `ReplyError` goes to the client as an error reply. `ProtocolError` and
`FrameError` end the link they happened on. Anything else is our bug: the worker dies loudly and is
restarted.

The builders are functions, not constants, because a shared exception instance grows its traceback
at every raise. The texts are the observable behaviour of redis-server 8.2.
"""

from __future__ import annotations


class ReplyError(Exception):
    """An error reply: the text without the leading `-` and without CRLF, its code first."""

    def __init__(self, text: str | bytes) -> None:
        """Keep the text as bytes; CR and LF, which would end the reply, become spaces or go."""
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        self.text = raw.rstrip(b"\r\n").replace(b"\r", b" ").replace(b"\n", b" ")
        super().__init__(self.text)

    def encode(self) -> bytes:
        """Return the RESP error reply."""
        return b"-%b\r\n" % self.text


class ProtocolError(Exception):
    """The client broke RESP: it is told, and its connection closes."""


class FrameError(Exception):
    """A peer process sent what cannot be a frame: the link to it is dropped."""


class DamagedValueError(Exception):
    """Bytes that should encode a value (of DUMP, or in a snapshot) do not."""


def quoted(name: bytes, limit: int = 128) -> str:
    """Show a client's bytes in an error text: at most `limit` of them, as latin-1."""
    return name[:limit].decode("latin-1")


def unknown_command(argv: list[bytes]) -> ReplyError:
    """Build the error of a command that is not in the table; arguments are shown up to 128
    bytes.
    """
    shown = b""
    for arg in argv[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % c_string(arg)[: 128 - len(shown)]
    return ReplyError(
        b"ERR unknown command '%b', with args beginning with: %b" % (c_string(argv[0])[:128], shown)
    )


def c_string(text: bytes) -> bytes:
    """Return what Redis shows of a text where it is a C string: a NUL ends it."""
    return text.partition(b"\0")[0]


def unknown_subcommand(container: bytes, name: bytes) -> ReplyError:
    """Build the error of a subcommand its container does not have."""
    return ReplyError(
        b"ERR unknown subcommand '%b'. Try %b HELP." % (c_string(name)[:128], container.upper())
    )


def wrong_arity(name: bytes) -> ReplyError:
    """Build the error of a wrong number of arguments; `name` is lower case, `client|kill` style."""
    error = ReplyError(b"ERR wrong number of arguments for '%b' command" % name)
    return exec_aborted(error) if name == b"exec" else error


def wrong_type() -> ReplyError:
    """Build the error of a command used on a key of another type."""
    return ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")


def syntax_error() -> ReplyError:
    """Build the error of options that do not fit the command's grammar."""
    return ReplyError("ERR syntax error")


def not_an_integer() -> ReplyError:
    """Build the error of an argument or value that is no 64-bit signed integer."""
    return ReplyError("ERR value is not an integer or out of range")


def not_a_float() -> ReplyError:
    """Build the error of an argument or value that is no finite double."""
    return ReplyError("ERR value is not a valid float")


def offset_out_of_range() -> ReplyError:
    """Build the error of a byte offset below zero."""
    return ReplyError("ERR offset is out of range")


def overflow() -> ReplyError:
    """Build the error of an increment that leaves the 64-bit signed range."""
    return ReplyError("ERR increment or decrement would overflow")


def string_too_long() -> ReplyError:
    """Build the error of a string that would exceed proto-max-bulk-len."""
    return ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def no_such_key() -> ReplyError:
    """Build the error of a command that needs an existing key."""
    return ReplyError("ERR no such key")


def db_index_out_of_range() -> ReplyError:
    """Build the error of SELECT, MOVE, COPY and SWAPDB on a database that is not configured."""
    return ReplyError("ERR DB index is out of range")


def invalid_expire(name: bytes) -> ReplyError:
    """Build the error of an expire time that is not positive or overflows; `name` is lower case."""
    return ReplyError(b"ERR invalid expire time in '%b' command" % name)


def noauth() -> ReplyError:
    """Build the error of a command before AUTH."""
    return ReplyError("NOAUTH Authentication required.")


def wrongpass() -> ReplyError:
    """Build the error of AUTH with wrong credentials."""
    return ReplyError("WRONGPASS invalid username-password pair or user is disabled.")


def loading() -> ReplyError:
    """Build the error of a command whose partition is still being loaded."""
    return ReplyError("LOADING Redis is loading the dataset in memory")


def try_again(why: str) -> ReplyError:
    """Build the error of a command that was not run and may be sent again."""
    return ReplyError(f"TRYAGAIN {why}")


def outcome_unknown() -> ReplyError:
    """Build the error of a write whose owner died before it answered."""
    return ReplyError(
        "ERR the worker that owns the key died before it answered; the command may have been "
        "executed"
    )


def reply_too_large() -> ReplyError:
    """Build the error of a reply that cannot travel from one worker to another."""
    return ReplyError("ERR the reply is too large to be sent between workers")


def decrement_overflow() -> ReplyError:
    """Build the error of DECRBY by the one number whose negation is no 64-bit integer."""
    return ReplyError("ERR decrement would overflow")


def lcs_needs_strings() -> ReplyError:
    """Build the error of LCS on a key of another type."""
    return ReplyError("ERR The specified keys must contain string values")


def lcs_len_and_idx() -> ReplyError:
    """Build the error of LCS with both LEN and IDX."""
    return ReplyError("ERR If you want both the length and indexes, please just use IDX.")


def lcs_too_large() -> ReplyError:
    """Build the error of LCS on strings whose table would exceed proto-max-bulk-len."""
    return ReplyError(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    )


def unsupported_option(option: bytes) -> ReplyError:
    """Build the error of an unknown option of EXPIRE and its kin; they alone name it, to a NUL."""
    return ReplyError(b"ERR Unsupported option %b" % c_string(option))


def nx_with_xx_gt_lt() -> ReplyError:
    """Build the error of EXPIRE with NX and another condition."""
    return ReplyError("ERR NX and XX, GT or LT options at the same time are not compatible")


def gt_with_lt() -> ReplyError:
    """Build the error of EXPIRE with GT and LT."""
    return ReplyError("ERR GT and LT options at the same time are not compatible")


def same_object() -> ReplyError:
    """Build the error of COPY or MOVE onto the key itself."""
    return ReplyError("ERR source and destination objects are the same")


def out_of_bounds(low: int, high: int) -> ReplyError:
    """Build the error of an integer outside of `low` to `high`, both allowed."""
    return ReplyError(f"ERR value is out of range, value must between {low} and {high}")


def invalid_db_index(which: str) -> ReplyError:
    """Build the error of SWAPDB with a database that is no integer; `which` is first or second."""
    return ReplyError(f"ERR invalid {which} DB index")


def invalid_cursor() -> ReplyError:
    """Build the error of a SCAN cursor that is no 64-bit unsigned integer."""
    return ReplyError("ERR invalid cursor")


def novalues_outside_hscan() -> ReplyError:
    """Build the error of NOVALUES in a SCAN of anything but a hash."""
    return ReplyError("ERR NOVALUES option can only be used in HSCAN")


def no_access_frequency() -> ReplyError:
    """Build the error of OBJECT FREQ while no LFU policy evicts."""
    return ReplyError(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust."
    )


def debug_not_allowed() -> ReplyError:
    """Build the error of DEBUG where enable-debug-command does not let the client use it."""
    return ReplyError(
        'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you '
        "can run it from a local connection, otherwise you need to set this option in the "
        "configuration file, and then restart the server."
    )


def unknown_subcommand_or_arity(container: bytes, name: bytes) -> ReplyError:
    """Build the error of a word after DEBUG that it does not know, or not with these arguments."""
    return ReplyError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
        % (c_string(name)[:128], container.upper())
    )


def no_shutdown() -> ReplyError:
    """Build the error of SHUTDOWN ABORT while the server is not shutting down."""
    return ReplyError("ERR No shutdown in progress.")


def aof_not_loaded() -> ReplyError:
    """Build the error of DEBUG LOADAOF without a log that could be loaded."""
    return ReplyError("ERR Error trying to load the AOF files, check server logs.")


def debug_reload_options() -> ReplyError:
    """Build the error of DEBUG RELOAD with an option that does not exist."""
    return ReplyError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")


def not_a_packed_threshold() -> ReplyError:
    """Build the error of DEBUG QUICKLIST-PACKED-THRESHOLD."""
    return ReplyError("ERR argument must be a memory value bigger than 1 and smaller than 4gb")


def unknown_protocol_type() -> ReplyError:
    """Build the error of DEBUG PROTOCOL with a type it does not know."""
    return ReplyError(
        "ERR Wrong protocol type name. Please use one of the following: string|integer|double|"
        "bignum|null|array|set|map|attrib|push|verbatim|true|false"
    )


def resp2_not_supported() -> ReplyError:
    """Build the error of a command whose reply RESP2 cannot express."""
    return ReplyError("ERR RESP2 is not supported by this command")


def invalid_command_specified() -> ReplyError:
    """Build the error of COMMAND GETKEYS on a command that is not in the table."""
    return ReplyError("ERR Invalid command specified")


def no_key_arguments() -> ReplyError:
    """Build the error of COMMAND GETKEYS on a command that takes no keys."""
    return ReplyError("ERR The command has no key arguments")


def invalid_arity_specified() -> ReplyError:
    """Build the error of COMMAND GETKEYS on a command line whose arity is wrong."""
    return ReplyError("ERR Invalid number of arguments specified for command")


def invalid_arguments_specified() -> ReplyError:
    """Build the error of COMMAND GETKEYS on a command line in which no keys can be found."""
    return ReplyError("ERR Invalid arguments specified for command")


def subcommand_syntax(container: bytes, name: bytes) -> ReplyError:
    """Build the error of a subcommand that finds itself with too many arguments."""
    return ReplyError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
        % (name[:128], container.upper())
    )


def bad_protocol_version() -> ReplyError:
    """Build the error of HELLO with a version that is no integer."""
    return ReplyError("ERR Protocol version is not an integer or out of range")


def noproto() -> ReplyError:
    """Build the error of HELLO with a version that is neither 2 nor 3."""
    return ReplyError("NOPROTO unsupported protocol version")


def bad_hello_option(option: bytes) -> ReplyError:
    """Build the error of an option of HELLO that does not exist or lacks arguments."""
    return ReplyError(b"ERR Syntax error in HELLO option '%b'" % option)


def hello_noauth() -> ReplyError:
    """Build the error of HELLO before AUTH and without credentials."""
    return ReplyError(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
        "RESP protocol version at the same time"
    )


def no_password_is_set() -> ReplyError:
    """Build the error of AUTH with one argument while the default user needs no password."""
    return ReplyError(
        "ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?"
    )


def special_characters(what: bytes) -> ReplyError:
    """Build the error of a name CLIENT LIST could not show; `what` are the `Client names`, or an
    option of CLIENT SETINFO.
    """
    return ReplyError(b"ERR %b cannot contain spaces, newlines or special characters." % what)


def redirects_twice() -> ReplyError:
    """Build the error of CLIENT TRACKING with REDIRECT twice."""
    return ReplyError(b"ERR A client can only redirect to a single other client")


def no_client_to_redirect_to() -> ReplyError:
    """Build the error of CLIENT TRACKING with REDIRECT to an id that no client has."""
    return ReplyError(b"ERR The client ID you want redirect to does not exist")


def prefix_without_bcast() -> ReplyError:
    """Build the error of CLIENT TRACKING with PREFIX in the default mode."""
    return ReplyError(b"ERR PREFIX option requires BCAST mode to be enabled")


def prefix_overlaps(prefix: bytes, other: bytes, *, known: bool) -> ReplyError:
    """Build the error of CLIENT TRACKING with two prefixes of which one begins with the other.

    Args:
        known: the other one was given by an earlier call.
    """
    whose = b"an existing" if known else b"another provided"
    return ReplyError(
        b"ERR Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not"
        b" overlap." % (prefix, whose, other)
    )


def cannot_switch_bcast() -> ReplyError:
    """Build the error of CLIENT TRACKING ON with another mode than the one that is on."""
    return ReplyError(
        b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, and"
        b" then re-enabling it with a different mode."
    )


def opt_with_bcast() -> ReplyError:
    """Build the error of CLIENT TRACKING with BCAST and OPTIN or OPTOUT."""
    return ReplyError(b"ERR OPTIN and OPTOUT are not compatible with BCAST")


def optin_and_optout() -> ReplyError:
    """Build the error of CLIENT TRACKING with OPTIN and OPTOUT."""
    return ReplyError(b"ERR You can't specify both OPTIN mode and OPTOUT mode")


def cannot_switch_opt() -> ReplyError:
    """Build the error of CLIENT TRACKING ON with OPTIN while OPTOUT is on, or the reverse."""
    return ReplyError(
        b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and"
        b" then re-enabling it with a different mode."
    )


def no_caching_mode() -> ReplyError:
    """Build the error of CLIENT CACHING without OPTIN or OPTOUT."""
    return ReplyError(
        b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or"
        b" OPTOUT mode enabled"
    )


def caching_needs(word: bytes, mode: bytes) -> ReplyError:
    """Build the error of CLIENT CACHING YES in OPTOUT mode, or NO in OPTIN mode."""
    return ReplyError(
        b"ERR CLIENT CACHING %b is only valid when tracking is enabled in %b mode." % (word, mode)
    )


def redirect_in_transaction() -> ReplyError:
    """Build the error of CLIENT TRACKING in a transaction, with REDIRECT to another worker's
    client.
    """
    return ReplyError(b"ERR REDIRECT to a client of another worker is not allowed in a transaction")


def unrecognized_option(option: bytes) -> ReplyError:
    """Build the error of CLIENT SETINFO for an attribute that does not exist."""
    return ReplyError(b"ERR Unrecognized option '%b'" % option)


def invalid_client_id() -> ReplyError:
    """Build the error of CLIENT LIST ID with what is no integer."""
    return ReplyError("ERR Invalid client ID")


def client_id_not_positive() -> ReplyError:
    """Build the error of CLIENT KILL ID with what is no positive integer."""
    return ReplyError("ERR client-id should be greater than 0")


def unknown_client_type(name: bytes) -> ReplyError:
    """Build the error of a TYPE that CLIENT LIST and KILL do not know."""
    return ReplyError(b"ERR Unknown client type '%b'" % name)


def no_such_user(name: bytes) -> ReplyError:
    """Build the error of CLIENT KILL USER with a user that does not exist."""
    return ReplyError(b"ERR No such user '%b'" % name)


def no_such_client() -> ReplyError:
    """Build the error of CLIENT KILL with an address nobody has."""
    return ReplyError("ERR No such client")


def maxage_not_an_integer() -> ReplyError:
    """Build the error of CLIENT KILL MAXAGE with what is no integer."""
    return ReplyError("ERR maxage is not an integer or out of range")


def maxage_not_positive() -> ReplyError:
    """Build the error of CLIENT KILL MAXAGE with an age below one second."""
    return ReplyError("ERR maxage should be greater than 0")


def bad_pause_mode() -> ReplyError:
    """Build the error of CLIENT PAUSE with a mode that does not exist."""
    return ReplyError("ERR CLIENT PAUSE mode must be WRITE or ALL")


def bad_unblock_reason() -> ReplyError:
    """Build the error of CLIENT UNBLOCK with a reason that does not exist."""
    return ReplyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")


def migrate_key_and_keys() -> ReplyError:
    """Build the error of MIGRATE with a key and the option KEYS."""
    return ReplyError(
        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
    )


def migrate_refused(reply: bytes) -> ReplyError:
    """Build the error of MIGRATE whose target has answered with an error, `-ERR ...`."""
    text = reply[1:].decode("utf-8", "surrogateescape")
    return ReplyError(f"ERR Target instance replied with error: {text}")


def migrate_failed(doing: str) -> ReplyError:
    """Build the error of MIGRATE whose connection has failed, while `doing` what."""
    return ReplyError(f"IOERR error or timeout {doing}")


def unblocked() -> ReplyError:
    """Build the reply to a blocking command that CLIENT UNBLOCK ends with an error."""
    return ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK")


def waitaof_without_log() -> ReplyError:
    """Build the error of WAITAOF for a log that there is not."""
    return ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")


def timeout_not_an_integer() -> ReplyError:
    """Build the error of a timeout in milliseconds that is no integer."""
    return ReplyError("ERR timeout is not an integer or out of range")


def timeout_not_a_float() -> ReplyError:
    """Build the error of a timeout in seconds that is no number."""
    return ReplyError("ERR timeout is not a float or out of range")


def timeout_is_negative() -> ReplyError:
    """Build the error of a timeout below zero."""
    return ReplyError("ERR timeout is negative")


def timeout_out_of_range() -> ReplyError:
    """Build the error of a timeout that ends after the last millisecond of a 64-bit clock."""
    return ReplyError("ERR timeout is out of range")


# -- lists -----------------------------------------------------------------------------------------


def index_out_of_range() -> ReplyError:
    """Build the error of LSET with an index that does not exist."""
    return ReplyError("ERR index out of range")


def option_is_negative(option: str) -> ReplyError:
    """Build the error of LPOS with a COUNT or MAXLEN that is negative or no integer."""
    return ReplyError(f"ERR {option} can't be negative")


def rank_is_zero() -> ReplyError:
    """Build the error of LPOS with RANK 0."""
    return ReplyError(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
        "negative to start from the end of the list"
    )


def count_should_be_positive() -> ReplyError:
    """Build the error of LMPOP and its kind with a COUNT that is no integer, or below 1."""
    return ReplyError("ERR count should be greater than 0")


# -- geo -------------------------------------------------------------------------------------------


def invalid_position(longitude: float, latitude: float) -> ReplyError:
    """Build the error of a position that a geohash cannot denote."""
    return ReplyError(f"ERR invalid longitude,latitude pair {longitude:f},{latitude:f}")


def not_numeric(what: str) -> ReplyError:
    """Build the error of a radius, width or height that is no number."""
    return ReplyError(f"ERR need numeric {what}")


def negative_radius() -> ReplyError:
    """Build the error of a search by a negative radius."""
    return ReplyError("ERR radius cannot be negative")


def negative_box() -> ReplyError:
    """Build the error of a search by a box with a negative side."""
    return ReplyError("ERR height or width cannot be negative")


def unsupported_unit() -> ReplyError:
    """Build the error of a unit of length that does not exist."""
    return ReplyError("ERR unsupported unit provided. please use M, KM, FT, MI")


def member_not_found() -> ReplyError:
    """Build the error of a search around a member that is not there."""
    return ReplyError("ERR could not decode requested zset member")


def search_count_not_positive() -> ReplyError:
    """Build the error of a search's COUNT below 1."""
    return ReplyError("ERR COUNT must be > 0")


def any_without_count() -> ReplyError:
    """Build the error of a search with ANY and no COUNT."""
    return ReplyError("ERR the ANY argument requires COUNT argument")


def store_with_details(what: str) -> ReplyError:
    """Build the error of a search that stores, with options that only a reply can show."""
    return ReplyError(f"ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")


def exactly_one_of(words: str, command: str) -> ReplyError:
    """Build the error of GEOSEARCH without a centre or without a shape."""
    return ReplyError(f"ERR exactly one of {words} can be specified for {command}")


# -- bitmaps and HyperLogLog -----------------------------------------------------------------------


def bad_bit_offset() -> ReplyError:
    """Build the error of a bit offset that is no integer, or outside of the longest string."""
    return ReplyError("ERR bit offset is not an integer or out of range")


def bad_bit() -> ReplyError:
    """Build the error of SETBIT with a bit that is neither 0 nor 1."""
    return ReplyError("ERR bit is not an integer or out of range")


def bit_not_0_or_1() -> ReplyError:
    """Build the error of BITPOS with an integer that is neither 0 nor 1."""
    return ReplyError("ERR The bit argument must be 1 or 0.")


def bitop_needs_one_key() -> ReplyError:
    """Build the error of BITOP NOT with several source keys."""
    return ReplyError("ERR BITOP NOT must be called with a single source key.")


def bitop_needs_two_keys(operation: bytes) -> ReplyError:
    """Build the error of BITOP DIFF, DIFF1 or ANDOR (upper case) with one source key."""
    return ReplyError(b"ERR BITOP %b must be called with at least two source keys." % operation)


def bad_bitfield_type() -> ReplyError:
    """Build the error of a bit field that is not i1 to i64 or u1 to u63."""
    return ReplyError(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
        "i64 is."
    )


def bad_overflow_type() -> ReplyError:
    """Build the error of BITFIELD OVERFLOW with a word that is not WRAP, SAT or FAIL."""
    return ReplyError("ERR Invalid OVERFLOW type specified")


def bitfield_ro_only_gets() -> ReplyError:
    """Build the error of BITFIELD_RO with SET or INCRBY."""
    return ReplyError("ERR BITFIELD_RO only supports the GET subcommand")


def not_a_hyperloglog() -> ReplyError:
    """Build the error of a HyperLogLog command on another string."""
    return ReplyError("WRONGTYPE Key is not a valid HyperLogLog string value.")


def corrupted_hyperloglog() -> ReplyError:
    """Build the error of a HyperLogLog whose opcodes do not cover its registers."""
    return ReplyError("INVALIDOBJ Corrupted HLL object detected")


def pfdebug_no_such_key() -> ReplyError:
    """Build the error of PFDEBUG on a missing key."""
    return ReplyError("ERR The specified key does not exist")


def pfdebug_not_sparse() -> ReplyError:
    """Build the error of PFDEBUG DECODE on a dense HyperLogLog."""
    return ReplyError("ERR HLL encoding is not sparse")


def pfdebug_unknown(name: bytes) -> ReplyError:
    """Build the error of a word after PFDEBUG that it does not know."""
    return ReplyError(b"ERR Unknown PFDEBUG subcommand '%b'" % name)


def pfdebug_on_or_off() -> ReplyError:
    """Build the error of PFDEBUG SIMD with another word."""
    return ReplyError("ERR Argument must be ON or OFF")


def pfselftest_failed(what: str) -> ReplyError:
    """Build the error of PFSELFTEST that found this wrong."""
    return ReplyError(f"TESTFAILED {what}")


# -- sets and SORT ---------------------------------------------------------------------------------


def must_be_positive() -> ReplyError:
    """Build the error of a count that is no integer or below zero."""
    return ReplyError("ERR value is out of range, must be positive")


def numkeys_not_positive() -> ReplyError:
    """Build the error of SINTERCARD and its kind with a number of keys that is none, or below 1."""
    return ReplyError("ERR numkeys should be greater than 0")


def numkeys_too_large() -> ReplyError:
    """Build the error of SINTERCARD and its kind with more keys announced than arguments follow."""
    return ReplyError("ERR Number of keys can't be greater than number of args")


def limit_is_negative() -> ReplyError:
    """Build the error of SINTERCARD and its kind with a LIMIT that is no integer, or below zero."""
    return ReplyError("ERR LIMIT can't be negative")


def scores_not_numbers() -> ReplyError:
    """Build the error of SORT without ALPHA on what is not all numbers."""
    return ReplyError("ERR One or more scores can't be converted into double")


# -- sorted sets -----------------------------------------------------------------------------------


def nx_with_xx() -> ReplyError:
    """Build the error of ZADD with NX and XX."""
    return ReplyError("ERR XX and NX options at the same time are not compatible")


def gt_lt_nx() -> ReplyError:
    """Build the error of ZADD with two of GT, LT and NX."""
    return ReplyError("ERR GT, LT, and/or NX options at the same time are not compatible")


def incr_of_several() -> ReplyError:
    """Build the error of ZADD INCR with several members."""
    return ReplyError("ERR INCR option supports a single increment-element pair")


def score_not_a_number() -> ReplyError:
    """Build the error of an increment that adds infinities of both signs."""
    return ReplyError("ERR resulting score is not a number (NaN)")


def not_a_score_range() -> ReplyError:
    """Build the error of a range by score whose ends are no doubles."""
    return ReplyError("ERR min or max is not a float")


def not_a_lex_range() -> ReplyError:
    """Build the error of a range by member whose ends do not begin with one of `[ ( - +`."""
    return ReplyError("ERR min or max not valid string range item")


def limit_without_by() -> ReplyError:
    """Build the error of ZRANGE with LIMIT by rank."""
    return ReplyError(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    )


def withscores_with_bylex() -> ReplyError:
    """Build the error of ZRANGE with WITHSCORES by member."""
    return ReplyError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")


def no_input_key(name: bytes) -> ReplyError:
    """Build the error of ZUNION and its kind with a number of keys below 1; `name` lower case."""
    return ReplyError(b"ERR at least 1 input key is needed for '%b' command" % name)


def weight_not_a_float() -> ReplyError:
    """Build the error of WEIGHTS with what is no double."""
    return ReplyError("ERR weight value is not a float")


def out_of_range() -> ReplyError:
    """Build the error of ZRANDMEMBER with a count that no reply can hold."""
    return ReplyError("ERR value is out of range")


# -- hashes ----------------------------------------------------------------------------------------


def hash_value_not_an_integer() -> ReplyError:
    """Build the error of HINCRBY on a value that is no 64-bit signed integer."""
    return ReplyError("ERR hash value is not an integer")


def hash_value_not_a_float() -> ReplyError:
    """Build the error of HINCRBYFLOAT on a value that is no long double."""
    return ReplyError("ERR hash value is not a float")


def increment_not_finite() -> ReplyError:
    """Build the error of HINCRBYFLOAT by infinity."""
    return ReplyError("ERR value is NaN or Infinity")


def sum_not_finite() -> ReplyError:
    """Build the error of an increment whose sum no long double holds."""
    return ReplyError("ERR increment would produce NaN or Infinity")


def expire_is_negative() -> ReplyError:
    """Build the error of an expire time of a field below zero."""
    return ReplyError("ERR invalid expire time, must be >= 0")


def fields_missing() -> ReplyError:
    """Build the error of HEXPIRE and its kind without FIELDS where it has to be."""
    return ReplyError("ERR Mandatory argument FIELDS is missing or not at the right position")


def numfields_not_positive() -> ReplyError:
    """Build the error of HEXPIRE and its kind with a number of fields that is none, or below 1."""
    return ReplyError("ERR Parameter `numFields` should be greater than 0")


def number_of_fields_not_positive() -> ReplyError:
    """Build the error of HTTL and its kind with a number of fields that is none, or below 1."""
    return ReplyError("ERR Number of fields must be a positive integer")


def numfields_mismatch() -> ReplyError:
    """Build the error of more or fewer fields than announced."""
    return ReplyError("ERR The `numfields` parameter must match the number of arguments")


def invalid_number_of_fields() -> ReplyError:
    """Build the error of HSETEX with a number of fields that is none, or no positive C int."""
    return ReplyError("ERR invalid number of fields")


def fxx_with_fnx() -> ReplyError:
    """Build the error of HSETEX with two conditions."""
    return ReplyError("ERR Only one of FXX or FNX arguments can be specified")


def several_expire_options() -> ReplyError:
    """Build the error of HSETEX with two options about expire times."""
    return ReplyError("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")


def unknown_argument(name: bytes) -> ReplyError:
    """Build the error of an option that HSETEX does not have; it is shown up to a NUL."""
    return ReplyError(b"ERR unknown argument: %b" % c_string(name))


# -- streams ---------------------------------------------------------------------------------------


def invalid_stream_id() -> ReplyError:
    """Build the error of what is no ID of a stream's entry."""
    return ReplyError("ERR Invalid stream ID specified as stream command argument")


def invalid_interval_id(which: str) -> ReplyError:
    """Build the error of an exclusive end that leaves nothing; `which` is start or end."""
    return ReplyError(f"ERR invalid {which} ID for the interval")


def id_is_zero() -> ReplyError:
    """Build the error of XADD with the ID 0-0."""
    return ReplyError("ERR The ID specified in XADD must be greater than 0-0")


def id_not_greater() -> ReplyError:
    """Build the error of XADD with an ID that does not exceed the stream's last one."""
    return ReplyError(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item"
    )


def ids_exhausted() -> ReplyError:
    """Build the error of XADD to a stream that had the greatest ID there is."""
    return ReplyError("ERR The stream has exhausted the last possible ID, unable to add more items")


def elements_too_large() -> ReplyError:
    """Build the error of XADD with more bytes than a node may have."""
    return ReplyError("ERR Elements are too large to be stored")


def argument_below_zero(option: str) -> ReplyError:
    """Build the error of a negative MAXLEN or LIMIT."""
    return ReplyError(f"ERR The {option} argument must be >= 0.")


def two_trim_strategies() -> ReplyError:
    """Build the error of XADD and XTRIM with two of MAXLEN and MINID."""
    return ReplyError(
        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
    )


def limit_without_strategy() -> ReplyError:
    """Build the error of LIMIT without MAXLEN or MINID."""
    return ReplyError(
        "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
    )


def limit_of_exact_trim() -> ReplyError:
    """Build the error of LIMIT with exact trimming."""
    return ReplyError("ERR syntax error, LIMIT cannot be used without the special ~ option")


def trim_without_strategy() -> ReplyError:
    """Build the error of XTRIM without MAXLEN and MINID."""
    return ReplyError("ERR syntax error, XTRIM must be called with a trimming strategy")


def numids_not_positive() -> ReplyError:
    """Build the error of XDELEX and XACKDEL with a number of IDs below 1."""
    return ReplyError("ERR Number of IDs must be a positive integer")


def numids_too_large() -> ReplyError:
    """Build the error of XDELEX and XACKDEL with fewer IDs than they say."""
    return ReplyError("ERR The `numids` parameter must match the number of arguments")


def unbalanced_streams(name: str, ids: str) -> ReplyError:
    """Build the error of XREAD and XREADGROUP (`name`, lower case) with as many keys as IDs not."""
    return ReplyError(
        f"ERR Unbalanced '{name}' list of streams: for each stream key an ID{ids} must be "
        "specified."
    )


def only_for_xreadgroup(option: str) -> ReplyError:
    """Build the error of XREAD with an option of XREADGROUP."""
    return ReplyError(
        f"ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )


def missing_group_option() -> ReplyError:
    """Build the error of XREADGROUP without GROUP."""
    return ReplyError("ERR Missing GROUP option for XREADGROUP")


def id_meaningless_in_group(text: str) -> ReplyError:
    """Build the error of XREADGROUP with the ID `$` or `+`."""
    return ReplyError(
        f"ERR The {text} ID is meaningless in the context of XREADGROUP: you want to read the "
        "history of this consumer by specifying a proper ID, or use the > ID to get new messages. "
        f"The {text} ID would just return an empty result set."
    )


def new_entries_without_group() -> ReplyError:
    """Build the error of XREAD with the ID `>`."""
    return ReplyError(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
        "<consumer> option."
    )


def no_group_to_read(key: bytes, group: bytes) -> ReplyError:
    """Build the error of XREADGROUP on a group that does not exist."""
    return ReplyError(
        b"NOGROUP No such key '%b' or consumer group '%b' in XREADGROUP with GROUP option"
        % (c_string(key), c_string(group))
    )


def no_key_or_group(key: bytes, group: bytes) -> ReplyError:
    """Build the error of XPENDING and XCLAIM on a group that does not exist."""
    return ReplyError(
        b"NOGROUP No such key '%b' or consumer group '%b'" % (c_string(key), c_string(group))
    )


def no_such_group(key: bytes, group: bytes) -> ReplyError:
    """Build the error of XGROUP and XINFO on a group that does not exist."""
    return ReplyError(
        b"NOGROUP No such consumer group '%b' for key name '%b'" % (c_string(group), c_string(key))
    )


def group_exists() -> ReplyError:
    """Build the error of XGROUP CREATE for the second time."""
    return ReplyError("BUSYGROUP Consumer Group name already exists")


def xgroup_needs_key() -> ReplyError:
    """Build the error of XGROUP on a missing key."""
    return ReplyError(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to "
        "use the MKSTREAM option to create an empty stream automatically."
    )


def entries_read_below_minus_one() -> ReplyError:
    """Build the error of ENTRIESREAD with another negative number than -1."""
    return ReplyError("ERR value for ENTRIESREAD must be positive or -1")


def invalid_argument_of(argument: str, name: str) -> ReplyError:
    """Build the error of XCLAIM's and XAUTOCLAIM's numbers that are none."""
    return ReplyError(f"ERR Invalid {argument} argument for {name}")


def unrecognized_xclaim_option(option: bytes) -> ReplyError:
    """Build the error of an option that XCLAIM does not have, or that lacks its argument."""
    return ReplyError(b"ERR Unrecognized XCLAIM option '%b'" % c_string(option))


def count_not_positive() -> ReplyError:
    """Build the error of XAUTOCLAIM with a COUNT that is no number from 1 up."""
    return ReplyError("ERR COUNT must be > 0")


def count_too_high() -> ReplyError:
    """Build the error of XAUTOCLAIM with a COUNT that Redis has no memory for."""
    return ReplyError(
        "ERR Insufficient memory, failed allocating transient memory, COUNT too high."
    )


def entries_added_negative() -> ReplyError:
    """Build the error of XSETID with a negative ENTRIESADDED."""
    return ReplyError("ERR entries_added must be positive")


def xsetid_below(what: str) -> ReplyError:
    """Build the error of XSETID with an ID below something that the stream holds or is given."""
    return ReplyError(f"ERR The ID specified in XSETID is smaller than {what}")


def entries_added_below_length() -> ReplyError:
    """Build the error of XSETID with fewer ENTRIESADDED than the stream holds."""
    return ReplyError(
        "ERR The entries_added specified in XSETID is smaller than the target stream length"
    )


# -- transactions ----------------------------------------------------------------------------------


def nested_multi() -> ReplyError:
    """Build the error of MULTI inside MULTI."""
    return ReplyError("ERR MULTI calls can not be nested")


def watch_in_multi() -> ReplyError:
    """Build the error of WATCH inside MULTI."""
    return ReplyError("ERR WATCH inside MULTI is not allowed")


def no_monitor_in_transaction() -> ReplyError:
    """Build the error of a MONITOR that MULTI has queued."""
    return ReplyError("ERR MONITOR isn't allowed for DENY BLOCKING client")


def not_in_transaction() -> ReplyError:
    """Build the error of a command that MULTI does not queue."""
    return ReplyError("ERR Command not allowed inside a transaction")


def exec_without_multi() -> ReplyError:
    """Build the error of EXEC outside MULTI."""
    return ReplyError("ERR EXEC without MULTI")


def discard_without_multi() -> ReplyError:
    """Build the error of DISCARD outside MULTI."""
    return ReplyError("ERR DISCARD without MULTI")


def exec_aborted(why: ReplyError | None = None) -> ReplyError:
    """Build the error of EXEC after a command that was refused, or which is refused itself."""
    if why is None:
        return ReplyError("EXECABORT Transaction discarded because of previous errors.")
    text = why.text.removeprefix(b"ERR ")
    return ReplyError(b"EXECABORT Transaction discarded because of: %b" % text)


# -- DUMP and RESTORE ------------------------------------------------------------------------------


def busy_key() -> ReplyError:
    """Build the error of RESTORE without REPLACE to a key that exists."""
    return ReplyError("BUSYKEY Target key name already exists.")


def negative_ttl() -> ReplyError:
    """Build the error of RESTORE with a negative expire time."""
    return ReplyError("ERR Invalid TTL value, must be >= 0")


def negative_idletime() -> ReplyError:
    """Build the error of RESTORE with a negative IDLETIME."""
    return ReplyError("ERR Invalid IDLETIME value, must be >= 0")


def freq_out_of_range() -> ReplyError:
    """Build the error of RESTORE with a FREQ that is no byte."""
    return ReplyError("ERR Invalid FREQ value, must be >= 0 and <= 255")


def bad_checksum() -> ReplyError:
    """Build the error of RESTORE with what no DUMP gave, or one of a newer version."""
    return ReplyError("ERR DUMP payload version or checksum are wrong")


def bad_data_format() -> ReplyError:
    """Build the error of RESTORE with what is no value."""
    return ReplyError("ERR Bad data format")


# -- scripts and functions ------------------------------------------------------------------------


def no_script() -> ReplyError:
    """Build the error of EVALSHA with a script that nobody has."""
    return ReplyError("NOSCRIPT No matching script. Please use EVAL.")


def numkeys_negative() -> ReplyError:
    """Build the error of a negative number of keys."""
    return ReplyError("ERR Number of keys can't be negative")


def bad_number_of_keys() -> ReplyError:
    """Build the error of FCALL with a number of keys that is none."""
    return ReplyError("ERR Bad number of keys provided")


def script_does_not_compile(message: bytes) -> ReplyError:
    """Build the error of a script that is no Lua."""
    return ReplyError(b"ERR Error compiling script (new function): %b" % message)


def invalid_shebang() -> ReplyError:
    """Build the error of a script whose first line, with #!, is its only one."""
    return ReplyError("ERR Invalid script shebang")


def unexpected_shebang_engine(engine: bytes) -> ReplyError:
    """Build the error of a script in another language."""
    return ReplyError(b"ERR Unexpected engine in script shebang: %b" % engine)


def unknown_shebang_option(option: bytes) -> ReplyError:
    """Build the error of an option of a script's first line that is not flags=."""
    return ReplyError(b"ERR Unknown lua shebang option: %b" % option)


def unexpected_shebang_flag(flag: bytes) -> ReplyError:
    """Build the error of a flag that no script can have."""
    return ReplyError(b"ERR Unexpected flag in script shebang: %b" % flag)


def script_with_write_flag() -> ReplyError:
    """Build the error of a script that may write, called by a command that may not."""
    return ReplyError("ERR Can not execute a script with write flag using *_ro command.")


def script_out_of_memory() -> ReplyError:
    """Build the error of a script that needs more than MAX_SCRIPT_MEMORY_BYTES."""
    return ReplyError("ERR the script was ended: it needs more memory than a script may have")


def keys_keep_changing() -> ReplyError:
    """Build the error of a command that needs other keys each time it is tried."""
    return try_again("the keys that the command needs keep changing")


def command_ended_its_worker() -> ReplyError:
    """Build the error of a command over partitions that is given up."""
    return ReplyError("ERR the worker that ran the command died twice: it was not executed")


def script_sealed() -> ReplyError:
    """Build the error of a script that uses a key of another partition after MIGRATE, which can't
    be taken back.
    """
    return ReplyError(
        "CROSSSLOT Script attempted to access a key of another partition, not declared, after"
        " MIGRATE"
    )


def script_spans_processes(name: bytes) -> ReplyError:
    """Build the error of a script that calls a command which asks all processes."""
    return ReplyError(b"ERR a script can't call '%b': it asks several processes" % name)


def script_flush_options() -> ReplyError:
    """Build the error of SCRIPT FLUSH with another option."""
    return ReplyError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")


def script_debug_options() -> ReplyError:
    """Build the error of SCRIPT DEBUG with another mode."""
    return ReplyError("ERR Use SCRIPT DEBUG YES/SYNC/NO")


def not_busy() -> ReplyError:
    """Build the error of SCRIPT KILL and FUNCTION KILL when nothing runs."""
    return ReplyError("NOTBUSY No scripts in execution right now.")


def unkillable() -> ReplyError:
    """Build the error of SCRIPT KILL and FUNCTION KILL when something was written already."""
    return ReplyError(
        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can"
        " either wait the script termination or kill the server in a hard way using the SHUTDOWN"
        " NOSAVE command."
    )


def missing_library_metadata() -> ReplyError:
    """Build the error of a library without #!."""
    return ReplyError("ERR Missing library metadata")


def invalid_library_metadata() -> ReplyError:
    """Build the error of a library whose first line is its only one, or has open quotes."""
    return ReplyError("ERR Invalid library metadata")


def invalid_metadata_value(value: bytes) -> ReplyError:
    """Build the error of a word in a library's first line that is not name=."""
    return ReplyError(b"ERR Invalid metadata value given: %b" % value)


def several_library_names() -> ReplyError:
    """Build the error of a library with two names."""
    return ReplyError("ERR Invalid metadata value, name argument was given multiple times")


def no_library_name() -> ReplyError:
    """Build the error of a library without a name."""
    return ReplyError("ERR Library name was not given")


def bad_library_name() -> ReplyError:
    """Build the error of a name of a library or a function."""
    return ReplyError(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at"
        " least one character long"
    )


def no_such_engine(engine: bytes) -> ReplyError:
    """Build the error of a library in another language."""
    return ReplyError(b"ERR Engine '%b' not found" % engine)


def library_exists(name: bytes) -> ReplyError:
    """Build the error of FUNCTION LOAD without REPLACE."""
    return ReplyError(b"ERR Library '%b' already exists" % name)


def restored_library_exists(name: bytes) -> ReplyError:
    """Build the error of FUNCTION RESTORE with a library that is there already."""
    return ReplyError(b"ERR Library %b already exists" % name)


def function_exists(name: bytes) -> ReplyError:
    """Build the error of a function that another library has."""
    return ReplyError(b"ERR Function %b already exists" % name)


def no_functions_registered() -> ReplyError:
    """Build the error of a library that registers nothing."""
    return ReplyError("ERR No functions registered")


def library_does_not_compile(message: bytes) -> ReplyError:
    """Build the error of a library that is no Lua."""
    return ReplyError(b"ERR Error compiling function: %b" % message)


def library_fails(message: bytes) -> ReplyError:
    """Build the error of a library that raises one as it is loaded."""
    return ReplyError(b"ERR Error registering functions: %b" % message)


def no_such_library() -> ReplyError:
    """Build the error of FUNCTION DELETE."""
    return ReplyError("ERR Library not found")


def no_such_function() -> ReplyError:
    """Build the error of FCALL."""
    return ReplyError("ERR Function not found")


def not_a_function() -> ReplyError:
    """Build the error of a payload that is not of FUNCTION DUMP."""
    return ReplyError("ERR given type is not a function")


def functions_not_loaded() -> ReplyError:
    """Build the error of a payload that is cut short."""
    return ReplyError("ERR Failed loading library data")


def unknown_load_option(option: bytes) -> ReplyError:
    """Build the error of FUNCTION LOAD with another option."""
    return ReplyError(b"ERR Unknown option given: %b" % c_string(option))


def unknown_list_argument(argument: bytes) -> ReplyError:
    """Build the error of FUNCTION LIST with another argument."""
    return ReplyError(b"ERR Unknown argument %b" % c_string(argument))


def list_name_missing() -> ReplyError:
    """Build the error of FUNCTION LIST LIBRARYNAME without the name."""
    return ReplyError("ERR library name argument was not given")


def function_flush_options() -> ReplyError:
    """Build the error of FUNCTION FLUSH with another option."""
    return ReplyError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")


def bad_restore_policy() -> ReplyError:
    """Build the error of FUNCTION RESTORE with another policy."""
    return ReplyError(
        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
    )


def busy_script() -> ReplyError:
    """Build the error of a command that has to wait for a slow script."""
    return ReplyError(
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    )


def busy_function() -> ReplyError:
    """Build the error of a command that has to wait for a slow function."""
    return ReplyError(
        "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
    )


# -- pub/sub and MONITOR ---------------------------------------------------------------------------


def not_while_subscribed(name: bytes) -> ReplyError:
    """Build the error of a command that a subscriber may not call in RESP2."""
    return ReplyError(
        b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
        b" allowed in this context" % name
    )


def not_while_monitoring() -> ReplyError:
    """Build the error of a command that a client in MONITOR may not call."""
    return ReplyError("ERR Replica can't interact with the keyspace")
