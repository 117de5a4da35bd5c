"""Drivers for sync and async code, forks, bounded memory, threads. Nothing here depends on Clerk or a repository."""
