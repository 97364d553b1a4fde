"""From whatever a dataset is to decoded pictures, what they show, and what is wrong with them.

No torch, so that an evaluation needs none.
"""
