"""The gRPC face: translates between the contract and the nouns, and decides nothing.

The only room that imports grpc, google.rpc and eyas.v1; below it there are no protobufs and no status codes.
"""
