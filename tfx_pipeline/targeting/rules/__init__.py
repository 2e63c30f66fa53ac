"""Scoring rules: how well a listener fits a cold song, as functions of arrays.

Imports `targeting.config` alone, so a rule can be read and tested without Beam. Imported by `targeting.beam`.
"""
