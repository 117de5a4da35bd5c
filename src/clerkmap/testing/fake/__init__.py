"""The parts of `FakeClerk`.

`objects` are its rows, `shapes` their JSON. `store` holds the tables; `users`, `organizations` and `tokens` change
them. Each change sends an event through the `Wire` of `webhook_delivery`. `callers` choose the user of signed-in
requests, and `api` answers requests to Clerk's Backend API.
"""
