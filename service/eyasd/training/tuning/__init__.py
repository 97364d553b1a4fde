"""Fine-tuning: the pictures of each step and how they are changed, the steps, the time, the weights that are kept.

Imports `data` and `outcome`.
"""
