"""`eyasd backup PLACE` and `eyasd restore PLACE`: a copy of everything that matters, and the way back.

May import everything but what makes a daemon: `config`, `machine`, `core`, `storage`, `jobs`.
"""
