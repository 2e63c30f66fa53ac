"""The page of one run, made from plain values: `page.py` joins the sections, one module for each."""
