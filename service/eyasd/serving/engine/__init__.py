"""Networks at work in processes of their own: the program, the acceptors' half of the way there, and who keeps the processes alive.

An engine process imports `program` and `watch` alone, which know no metrics, no logs and no asyncio, so that it is soon there.
"""
