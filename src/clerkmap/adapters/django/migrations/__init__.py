"""Migrations of clerkmap's tables."""
