"""Literals that pin the wire: written once, and never again made by the code they test."""

from clerkmap import Instance, Verifier
from clerkmap.testing import Clock, FakeClerk

TOKEN = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6Imluc19hVzBOV2huM2FRZDlQVDlReWVHeW8wTmRWS0kiLCJ0eXAiOiJKV1QiLCJjYXQiOiJjbF9CN2Q0UEQx"
    "MTFBQUEifQ.eyJpc3MiOiJodHRwczovL3NlZWQtNy5jbGVyay5hY2NvdW50cy5kZXYiLCJpYXQiOjE3OTAwMDAwMDAsIm5iZiI6MTc4OTk5OTk5M"
    "CwiZXhwIjoxNzkwMDAwMDYwLCJzdWIiOiJ1c2VyX2lZdUh1SEYyOE9DMXNZQllZdnFJRVJGZEZLZSIsInNpZCI6InNlc3NfMGhKZ3BGZ3NWUTdiT"
    "ldqRll6NUI1YjBoT0ZsIiwiYXpwIjoiaHR0cHM6Ly9hcHAuZXhhbXBsZS5jb20iLCJmdmEiOlswLC0xXSwianRpIjoianRpX0ZwOHR3c0RZQk1hR"
    "zE2Z1NmSlI2Z1NDR0IzYiIsInN0cyI6ImFjdGl2ZSJ9.CJVsfFutdYgzjQJY2C3D6-4usw9sq_WPCv2RJdKQUP2TKbMO2kHPHrN4xadeoddJ04C6"
    "pLdJuwzD0x5dRnkgiwsCz8W1THqZKOXma9i8ulIujK35DCIzysuNKSe2XrE40GDcGI6vfOA8mqbp830HQGDJsJ4W5gA-D_PqpWXn3zUD0OpRpcdi"
    "kzlT14HjNDg_AyfwBd6GyayBK4Ds8VEQldIkZMQvg3nrn7W_fN4b7eKXGg0H0ru5iSDWOh9QwB0kLSyKkIY3bakfVaTPKWsd28Hhn2cietSU0sMv"
    "K5aOpTSnO_Qr3ln1aW2z46yyu3_coJEAJb3F80XWOz6PwdldtA"
)
PUBLISHABLE_KEY = "pk_test_c2VlZC03LmNsZXJrLmFjY291bnRzLmRldiQ"


def test_one_token() -> None:
    """This token is this person's, and the same seed makes it again on any machine."""
    clerk = FakeClerk(seed=7, clock=Clock(1_790_000_000))
    instance = Instance(publishable_key=PUBLISHABLE_KEY, jwt_key=clerk.key.pem())

    claims = Verifier(instance, clock=lambda: 1_790_000_059).verify(TOKEN)

    assert (claims.subject, claims.session_id) == (
        "user_iYuHuHF28OC1sYBYYvqIERFdFKe",
        "sess_0hJgpFgsVQ7bNWjFYz5B5b0hOFl",
    )
    assert clerk.token(clerk.create_user(), version=1) == TOKEN
