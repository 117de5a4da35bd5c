"""Clerk on localhost: a fake Clerk with a page, and a demo application on an SQLite file. `clerkmap dev` starts it.

One process serves one address. The fake Clerk (`clerk`) sends events to its wire, and the postman (`delivery`) delivers
them to the demo application (`demo`) and to your application (`forward`). A `Box` holds these parts. `actions` change
it, `snapshot` describes it, `app` answers requests, and `state` saves it to a file.

It serves developers on their own machine: requests from other machines and other web pages are refused
(`origin_guard`).
"""
