"""The Eyas daemon: trains, evaluates and serves image classifiers over gRPC."""
