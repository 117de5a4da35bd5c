"""Clerk on localhost: a made-up Clerk with its page, and a demo app mapped to an SQLite file. `clerkmap dev` starts it.

One process, one address. The Clerk (`clerk`) says what happens to the wire, the postman attempts it, the demo app
(`demo`) and perhaps yours (`forward`) take it in, and the page shows all three. A `Box` holds them together; `actions`
are what can be done to it, `snapshot` is how it looks, `app` answers requests, and `state` keeps it in a file.

For developers, on their own machine: it listens to nobody else, and answers no page but its own (`guard`).
"""
