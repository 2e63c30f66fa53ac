"""Models and versions that are loaded: configuration, the table of versions, loading, reloading, leases.

Imports: batching, config_files, flags, inference, metrics, protocol, savedmodel.
Imported by: embedded, grpc, inference, rest.
"""
