"""A small application with tests of its own: everybody in an organization reads its invoices, and some write them."""
