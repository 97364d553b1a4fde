"""`python -m eyasd.pod`: an attempt on a machine that shares no disk with its trainer.

Imports `core`, `storage` and the contract; knows neither jobs nor the registry. Starts the training program as the trainer would.
"""
