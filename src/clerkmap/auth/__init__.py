"""From a token to a principal: verify it, find your user, remember both, and admit connections that outlive it."""
