"""The head on the frozen backbone, with all that it takes: weights, features, doubtful labels; what a fine-tuning starts from.

Imports `data`, `tuning` and `outcome`.
"""
