"""Rows of others, written from their papers: closed forms with their options, and models that are trained."""
