"""Figures and self-contained HTML made from results on disk."""
