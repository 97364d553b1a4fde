"""Where callers' files are decoded: in this process, or in others that can do nothing else.

The program of such a process (`program`, `sandbox`, `filter`) knows no metrics, no logs and no asyncio; `pool` keeps them alive.
"""
