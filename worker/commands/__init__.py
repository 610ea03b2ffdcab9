"""The commands, a module for each data type or COMMAND group."""
