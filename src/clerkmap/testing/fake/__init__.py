"""A Clerk that is made up: what it keeps, how it writes it down, the tokens it signs, the webhooks it sends, its API.

`objects` are what it keeps and `shapes` their JSON. `directory` changes them, and says each change as an event to the
`wire`, which delivers it, or does not. `mint` signs tokens. `api` answers requests. `FakeClerk` is all of it in one.
"""
