"""The command line: a module for each kind of command, which declares and runs it."""
