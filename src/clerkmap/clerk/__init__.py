"""Talking to Clerk. The only room whose inhabitants open sockets."""
