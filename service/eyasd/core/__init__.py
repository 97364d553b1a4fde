"""Nouns, names, errors, pictures and bundles: what every other room speaks of.

Imports the standard library, numpy, Pillow and simplejpeg; nothing else.
"""
