"""Processes and servers that the tests run beside themselves."""
