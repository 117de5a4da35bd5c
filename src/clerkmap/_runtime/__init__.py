"""Running: generators in both colours, forks, bounded memory, threads. Nothing here knows Clerk or a repository."""
