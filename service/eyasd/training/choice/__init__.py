"""What is chosen by evidence where the caller leaves it open: the backbone, and the hyper-parameters.

Imports the other rooms of the training.
"""
