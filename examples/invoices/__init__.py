"""A small application with tests: members of an organization read its invoices, and accountants write them."""
