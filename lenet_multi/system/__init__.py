"""The operating system: files, child processes, this process and its machine, and the command line.

Nothing here depends on networks, data or frameworks.
"""
