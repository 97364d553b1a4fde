"""Versions on a dataset: which of its pictures, what each says of them, what that makes, and how they compare.

Imports `data` and `outcome`. No torch.
"""
