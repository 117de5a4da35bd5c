"""Clerk's Backend API, served by the fake Clerk: requests, endpoints, faults, and transports that carry requests."""
