"""Scripts and functions on Lua 5.1: the runtime and its sandbox, the API, the libraries."""
