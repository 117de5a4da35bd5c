"""A Clerk that is made up: what it keeps, how it writes it down, the tokens it signs, the webhooks it sends, its API.

`objects` are what it keeps, and `shapes` their JSON. The `ledger` has the tables; `people` and `organizations` change
them, and each change is said as an event to the `wire`, which delivers it, or does not. `mint` signs tokens, `callers`
hands them out, and `api` answers requests, which `transport` and `asgi` bring. Each class stands on the one before it:
Ledger, People, Organizations, Mint, Callers. `FakeClerk` is all of it in one.
"""
