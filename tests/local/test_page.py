"""The page of Clerk on localhost in a real browser: a person comes by token, by event, goes, and stays away."""

import json

from browser import Browser, Page
from local_page import browser as browser
from local_page import rows, shown, sign_up, wait_for_rows
from local_process import Local
from local_process import local as local
from local_process import process as process

USERS, IDENTITIES = "clerkmap_users", "clerkmap_identities"
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


def wait_for_outcomes(page: Page, type: str, *expected: str) -> None:
    """Wait until this is what the page says came of the events of a type, the newest first."""
    page.wait_for(f"""[...document.querySelectorAll('#database .log > li')]
        .filter((entry) => entry.querySelector('.type').textContent === {json.dumps(type)})
        .map((entry) => entry.querySelector('.badge').textContent).join() === {json.dumps(",".join(expected))}""")


def test_a_person_comes_by_token_then_by_event_and_goes_for_good(browser: Browser, local: Local) -> None:
    """The row is made by the token, filled in by the event, and no replay brings it back after the deletion."""
    with shown(browser, local) as page:
        page.click("switch", "Hold back all new events")
        page.wait_for("document.querySelector('[name=hold_all]').checked")
        sign_up(page)
        page.wait_for_text("Held back", "#wire")
        assert rows(page, USERS) == []

        page.click("button", "Sign in: Ada Lovelace")
        page.wait_for_text("accepted", "#token .verdict")
        page.press("Escape")
        (made,) = wait_for_rows(page, IDENTITIES, lambda found: len(found) == 1)
        assert made["email"] == made["first_name"] == "null"
        (row,) = rows(page, USERS)
        assert row["deleted_at"] == "null"

        page.click("button", "Release: user.created of Ada Lovelace")
        (filled,) = wait_for_rows(page, IDENTITIES, lambda found: found[0]["email"] == "ada@example.com")
        assert (filled["first_name"], filled["user_id"]) == ("Ada", made["user_id"])
        wait_for_outcomes(page, "user.created", "applied")

        page.click("switch", "Hold back all new events")
        page.wait_for("!document.querySelector('[name=hold_all]').checked")
        page.click("button", "Delete: Ada Lovelace")
        (gone,) = wait_for_rows(page, USERS, lambda found: found[0]["deleted_at"] != "null")
        assert gone["id"].endswith(row["id"])

        page.click("button", "Send again: user.created of Ada Lovelace")
        wait_for_outcomes(page, "user.created", "nothing new", "applied")
        assert rows(page, USERS) == [gone]
        (identity,) = rows(page, IDENTITIES)
        assert identity["email"] == identity["first_name"] == "null"


def test_a_name_is_never_taken_for_html(browser: Browser, local: Local) -> None:
    """What people are called is shown as it is, wherever it is shown."""
    with shown(browser, local) as page:
        sign_up(page, HOSTILE, "'\"&amp;</script><script>document.title='taken'</script>", "hostile@example.com")
        wait_for_rows(page, IDENTITIES, lambda found: bool(found) and found[0]["first_name"] == HOSTILE)
        page.wait_for_text(HOSTILE, "#clerk")
        page.wait_for_text(HOSTILE, "#wire")
        page.evaluate("document.querySelectorAll('#wire details').forEach((each) => { each.open = true; })")
        page.wait_for("!!document.querySelector('#wire li pre')")
        page.evaluate("document.querySelector('#clerk button.accent').click()")
        page.wait_for_text(HOSTILE, "#token .verdict")
        assert page.evaluate("document.querySelectorAll('img').length") == 1
        assert page.evaluate("document.querySelectorAll('script').length") == 1
        assert page.evaluate("document.title") == "Clerk on localhost"


def test_the_keyboard_is_enough(browser: Browser, local: Local) -> None:
    """Somebody signs up and signs in without a mouse, sees where the focus is, and gets it back afterwards."""
    with shown(browser, local) as page:
        tab_to(page, "Sign up the first user")
        page.press("Enter")
        page.wait_for("document.activeElement.name === 'first_name'")
        page.press("Enter")
        page.wait_for_text("ada@example.com", "#clerk")
        wait_for_rows(page, USERS, lambda found: len(found) == 1)
        tab_to(page, "Sign in: Ada Lovelace")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press("Space")
        page.wait_for_text("accepted", "#token .verdict")
        page.press("Escape")
        page.wait_for("document.activeElement.getAttribute('aria-label') === 'Sign in: Ada Lovelace'")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus has this name."""
    for _ in range(60):
        if page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent") == name:
            return
        page.press("Tab")
    raise AssertionError(f"no Tab leads to {name!r}")


def test_a_token_is_shown_with_every_check(browser: Browser, local: Local) -> None:
    """Each check is ticked; of a token that was tampered with, one is crossed and those after it were not reached."""
    with shown(browser, local) as page:
        sign_up(page)
        page.click("button", "Sign in: Ada Lovelace")
        page.wait_for_text("accepted", "#token .verdict")
        assert page.evaluate("document.querySelectorAll('#token .checks .good').length") >= 5
        assert page.evaluate("document.querySelectorAll('#token .checks .bad').length") == 0
        page.wait_for_text('"sub"', "#token")
        page.wait_for_text("ada@example.com", "#token .facts")
        header, payload, signature = str(page.evaluate("document.querySelector('#pasted').value")).split(".")
        page.press("Escape")

        page.click("button", "Inspect a token")
        page.fill("Token", f"{header}.{payload}.{signature[:-8]}AAAAAAAA")
        page.click("button", "Inspect")
        page.wait_for_text("refused", "#token .verdict")
        marks = page.evaluate("[...document.querySelectorAll('#token .mark')].map((each) => each.ariaLabel)")
        assert marks == sorted(marks, key=["passed", "failed", "not reached"].index)
        assert marks.count("failed") == 1
        page.wait_for_text("401", "#token")

        page.fill("Token", "not a token")
        page.click("button", "Inspect")
        page.wait_for_text("cannot be read", "#token")
        page.press("Escape")
