"""Literals that pin the wire: written once, and never again made by the code they test."""

from clerkmap import Instance, Verifier
from clerkmap.testing import Clock, FakeClerk

TOKEN = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6Imluc19hVzBOV2huM2FRZDlQVDlReWVHeW8wTmRWS0kiLCJ0eXAiOiJKV1QiLCJjYXQiOiJjbF9CN2Q0UEQx"
    "MTFBQUEiLCJvaWF0IjoxNzkwMDAwMDAwfQ.eyJpc3MiOiJodHRwczovL3NlZWQtNy5jbGVyay5hY2NvdW50cy5kZXYiLCJpYXQiOjE3OTAwMDAwM"
    "DAsIm5iZiI6MTc4OTk5OTk5MCwiZXhwIjoxNzkwMDAwMDYwLCJzdWIiOiJ1c2VyX2lZdUh1SEYyOE9DMXNZQllZdnFJRVJGZEZLZSIsInNpZCI6I"
    "nNlc3NfMGhKZ3BGZ3NWUTdiTldqRll6NUI1YjBoT0ZsIiwiYXpwIjoiaHR0cHM6Ly9hcHAuZXhhbXBsZS5jb20iLCJmdmEiOlswLC0xXSwianRpI"
    "joianRpX0ZwOHR3c0RZQk1hRzE2Z1NmSlI2Z1NDR0IzYiIsInN0cyI6ImFjdGl2ZSJ9.EApkq3R2MDtukRgSRriyvOef6RzJRKsSaKfieNHbtENk"
    "hF_z4SD85AFPtOWGrq5LpVqeXm2Jr-VuOuyEpHfKkYtH3NSHadk48vf3QR1skGoe-AwPRb7H0pgXDJ87rMY68tB8xh01V9SRAdrx7rYB7CzF_TqY"
    "vFzj96JAPFeFq6ol31-nJb0qNI62gRUTSY3L7uKF6N0EPRVL1980zxbr-jjn7QbUER8FC7_2uGKWvkoIgmYFpuSmmlXrSYri3nVsVk8wVohxecHo"
    "kN9B8dqsPg2InLUJr8C5tLT3x0yUSDsP_nXRbLaFOWdoWHiU8eauKfPBFL2EOfBP6W42wDasPw"
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
