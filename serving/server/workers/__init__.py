"""Several server processes on the same ports: a parent that starts and watches them, and one page of their metrics.

Imports: flags, ports, protocol.
Imported by: __main__, embedded.
"""
