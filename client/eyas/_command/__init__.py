"""The `eyas` command: what it asks of a daemon, and how it shows the answers.

Imports the library beside it, click and rich, which the library itself does not need.
"""
