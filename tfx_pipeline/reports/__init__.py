"""What a run says of itself: the run page, the demo's report and one line of JSON for a scheduler.

Imports every other room. Imported by the entrances alone, and by `outputs` for the page's place.
"""
