"""Zeroth-order-regularized DPO on flow matching, data parallel over pairs."""
