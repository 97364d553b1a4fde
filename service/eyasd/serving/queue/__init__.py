"""Who is let in, whose picture is next, and how many run at once: the same for the decoders as for the network.

Imports `core`, the question, and the network's ladder; knows counts, times and names, nothing of pictures or versions.
"""
