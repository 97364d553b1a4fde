"""Nouns <-> messages of the contract. Pure: no I/O, no decisions beyond "is this a value the contract allows".

Knows neither jobs nor the registry; the services beside it do.
"""
