"""Networks at work in processes of their own: the program, the acceptors' half of the way there, and who keeps the processes alive.

`wire`, `slots`, `opening` and `program` are all that an engine process imports of this room: no metrics, no logs, no asyncio.
"""
