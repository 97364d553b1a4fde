"""The contract: code generated from protos/eyas/v1 by `make protos`. Nothing here is written by hand."""
