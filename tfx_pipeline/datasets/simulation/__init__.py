"""The parts of the simulated catalogue: `world` (settings and fixed quantities), `songs`, `plays`, `truth`."""
