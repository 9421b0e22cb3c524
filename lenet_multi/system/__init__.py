"""The operating system: files, child processes, this process and its machine, and the command line.

Nothing here knows of networks, data or frameworks.
"""
