"""Weights and the models made of them."""
