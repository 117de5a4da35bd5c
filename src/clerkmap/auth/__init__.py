"""Resolve a token to a principal: verify it, find your user, cache both, and admit connections that outlive it."""
