"""The page of Clerk on localhost: its switches, its connection, what it keeps in place, and what it looks like."""

import json
import signal
from pathlib import Path

import pytest

from browser import Browser, Page
from local_page import browser as browser
from local_page import shown, sign_up, wait_for_rows
from local_process import Local
from local_process import local as local
from local_process import process as process

USERS = "clerkmap_users"

# Each text that can be seen, with its contrast to what is behind it, where that is less than what most people need.
FAINT = """[...document.querySelectorAll('body *')].flatMap((each) => {
  const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || each.disabled || !each.checkVisibility({visibilityProperty: true})) return [];
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return {r, g, b, a};
  };
  const light = ({r, g, b}) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  let behind = each;
  while (behind && parse(getComputedStyle(behind).backgroundColor).a === 0) behind = behind.parentElement;
  const colors = [getComputedStyle(each).color, getComputedStyle(behind ?? document.body).backgroundColor];
  const [one, other] = colors.map(parse).map(light).sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  return ratio < 4.5 ? [`${each.tagName} ${each.className} ${each.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`] : [];
})"""


def a_full_house(local: Local) -> str:
    """People, an organization with an invitation, and events in every state; the id of a person."""
    ada = str(local.do("sign_up", email="ada@example.com", first_name="Ada", last_name="Lovelace")["user"])
    acme = local.do("create_organization", name="Acme", created_by=ada)["organization"]
    local.do("invite", organization=acme, email="invited@example.com", role="org:member")
    grace = local.do("sign_up", email="grace@example.com", first_name="Grace", last_name="Hopper")["user"]
    local.do("ban", user=grace)
    local.do("chaos", hold_all=True)
    local.do("edit_user", user=ada, first_name="Augusta")
    local.do("sign_up", email="alan@example.com", first_name="Alan", last_name="Turing")
    local.do("chaos", hold_all=False, offline=True)
    local.do("edit_user", user=grace, last_name="Murray")
    local.do("chaos", offline=False)
    return ada


def test_held_events_are_ordered_dropped_and_delivered_by_hand(browser: Browser, local: Local) -> None:
    """What is held back stands in the order in which it goes out, and buttons change that order."""
    with shown(browser, local) as page:
        page.click("switch", "Hold back all new events")
        page.wait_for("document.querySelector('[name=hold_all]').checked")
        for first in ("Ada", "Grace", "Alan"):
            sign_up(page, first, "Example", f"{first.lower()}@example.com")
            page.wait_for_text(f"{first} Example", ".queue")
        assert queue(page) == ["Ada Example", "Grace Example", "Alan Example"]
        page.click("button", "Later: user.created of Ada Example")
        page.wait_for(f"{QUEUE}.join() === 'Grace Example,Ada Example,Alan Example'")
        assert page.evaluate("document.activeElement.ariaLabel") == "Later: user.created of Ada Example"
        page.click("button", "Earlier: user.created of Alan Example")
        page.wait_for(f"{QUEUE}.join() === 'Grace Example,Alan Example,Ada Example'")
        page.click("button", "Drop: user.created of Alan Example")
        page.wait_for(f"{QUEUE}.length === 2")
        page.click("button", "Duplicate: user.created of Ada Example")
        wait_for_rows(page, USERS, lambda found: len(found) == 1)
        page.click("button", "Deliver all")
        page.wait_for("!document.querySelector('.queue')")
        wait_for_rows(page, USERS, lambda found: len(found) == 2)
        page.wait_for_text("nothing new", "#database .log")


QUEUE = "[...document.querySelectorAll('.queue .about')].map((each) => each.innerText)"


def queue(page: Page) -> list[str]:
    """Whom the held events are about, from top to bottom."""
    return list(page.evaluate(QUEUE))


def test_an_app_that_is_down_gets_its_events_later(browser: Browser, local: Local) -> None:
    """Attempts fail while the app is down, are said to come again, and do once Clerk's clock has moved on."""
    with shown(browser, local) as page:
        page.evaluate("document.querySelector('.switches details').open = true")
        page.click("switch", "The app is down: attempts fail, and are retried")
        page.wait_for_text("1 on", ".switches")
        sign_up(page)
        page.wait_for_text("next at", "#wire")
        page.click("switch", "The app is down: attempts fail, and are retried")
        page.wait_for("!document.querySelector('[name=offline]').checked")
        page.click("button", "+1 min")
        wait_for_rows(page, USERS, lambda found: len(found) == 1)
        page.wait_for_text("2 attempts", "#wire")
        page.wait_for_text("ahead", ".clock")


def test_chances_are_set_with_the_arrow_keys(browser: Browser, local: Local) -> None:
    """A slider says its chance and sends it; what it sends comes back with the next state."""
    with shown(browser, local) as page:
        page.evaluate("document.querySelector('.switches details').open = true")
        page.wait_for("document.querySelector('[name=drop]').checkVisibility()")
        page.evaluate("document.querySelector('[name=drop]').focus()")
        page.press("ArrowUp")
        page.press("ArrowUp")
        page.wait_for_text("10 %", ".switches")
        page.wait_for_text("1 on", ".switches")
        assert local.state()["wire"]["chaos"]["drop"] == pytest.approx(0.1)


def test_organizations_by_hand(browser: Browser, local: Local) -> None:
    """One is made, somebody is invited and accepts, and it ends up as rows and in the token."""
    with shown(browser, local) as page:
        sign_up(page)
        page.click("button", "New organization")
        page.click("button", "Create")
        page.click("button", "Invite: Acme")
        page.click("button", "Invite")
        page.click("button", "Accept: invited@example.com")
        wait_for_rows(page, "clerkmap_memberships", lambda found: len(found) == 2)
        page.click("button", "Sign in: Ada Lovelace")
        page.click("button", "Sign in")
        page.wait_for_text("admin in Acme", "#token .verdict")
        page.press("Escape")
        page.click("button", "Delete: Acme")
        page.wait_for_text("None yet.", "#clerk")


def test_what_is_refused_is_said(browser: Browser, local: Local) -> None:
    """Clerk's words are shown in the dialog, which stays open, so that what was typed is not lost."""
    with shown(browser, local) as page:
        sign_up(page)
        page.wait_for_text("ada@example.com", "#clerk")
        sign_up(page, "Another", "Ada", "ada@example.com")
        page.wait_for("document.querySelector('#form .error').innerText.length > 10")
        assert page.evaluate("document.querySelector('#field-first_name').value") == "Another"
        page.press("Escape")
        forget_network(page)


def forget_network(page: Page) -> None:
    """A browser notes every answer that is not 200, and every server that is gone; that was wanted here."""
    page.evaluate("1")
    assert all(each.startswith("network:") for each in page.complaints), page.complaints
    page.complaints.clear()


def test_the_page_comes_back_with_its_server(browser: Browser, tmp_path: Path) -> None:
    """Without reloading: it says that nobody is there, and shows the new state once somebody is."""
    with Local(tmp_path) as local, shown(browser, local) as page:
        sign_up(page)
        page.wait_for_text("ada@example.com", "#clerk")
        local.end(signal.SIGTERM)
        page.wait_for_text("Connection lost", "#connection")
        local.start("--port", local.address.rpartition(":")[2])
        page.wait_for_text("Live", "#connection")
        sign_up(page, "Grace", "Hopper", "grace@example.com")
        page.wait_for_text("grace@example.com", "#clerk")
        forget_network(page)


def test_a_change_leaves_everything_else_where_it_is(browser: Browser, local: Local) -> None:
    """With two hundred events: the focus, the scrolling, what is unfolded and what was typed survive a change."""
    ada = a_full_house(local)
    local.do("chaos", hold_all=True)
    # The newest two hundred are shown: some of those that arrived, and these, which are held back.
    for number in range(195):
        local.do("edit_user", user=ada, last_name=f"Lovelace {number}")
    with shown(browser, local) as page:
        page.resize(1440, 400)
        page.wait_for("document.querySelectorAll('li.message').length === 200")
        page.evaluate("""
            window.kept = document.querySelectorAll('#wire li.message')[150];
            kept.querySelector('details').open = true;
            kept.querySelector('button').focus();
            kept.scrollIntoView();
        """)
        page.wait_for("!!kept.querySelector('pre')")
        page.evaluate("document.querySelector('#database').scrollTop = 100")
        before = page.evaluate("kept.querySelector('pre').innerText")
        local.do("sign_up", email="new@example.com", first_name="New")
        page.wait_for_text("new@example.com", "#clerk")
        assert page.evaluate("kept.isConnected && kept.querySelector('details').open")
        assert page.evaluate("document.activeElement === kept.querySelector('button')")
        assert page.evaluate("kept.querySelector('pre').innerText") == before
        assert page.evaluate("document.querySelector('#database').scrollTop") == 100
        assert 0 <= page.evaluate("kept.getBoundingClientRect().top") < 400


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(browser: Browser, local: Local, dark: bool) -> None:
    """No text has less than 4.5 times the light of what is behind it, or the other way round."""
    with shown(browser, local, dark=dark) as page:
        page.wait_for("!!document.querySelector('.welcome')")
        assert page.evaluate(FAINT) == []
        a_full_house(local)
        page.wait_for_text("alan@example.com", "#clerk")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert page.evaluate(FAINT) == []
        page.click("button", "Inspect a token")
        page.fill("Token", "eyJ.eyJ.x")
        page.click("button", "Inspect")
        page.wait_for_text("refused", "#token .verdict")
        assert page.evaluate(FAINT) == []


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_sticks_out(browser: Browser, local: Local, width: int) -> None:
    """The page fits its window: nothing but tables is ever scrolled sideways."""
    local.do("sign_up", email=f"{'long' * 15}@example.com", first_name="Wolfeschlegelstein" * 4)
    a_full_house(local)
    with shown(browser, local, width) as page:
        page.wait_for_text("alan@example.com", "#clerk")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        wide = """[document.documentElement, ...document.querySelectorAll('.body, .card, .log, dialog')]
            .filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.className || each.tagName)"""
        assert page.evaluate(wide) == []


def test_every_control_has_a_name(browser: Browser, local: Local) -> None:
    """Whoever cannot see the page hears what each button, switch and field is."""
    a_full_house(local)
    with shown(browser, local) as page:
        page.wait_for_text("alan@example.com", "#clerk")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        tree = page.ask("Accessibility.getFullAXTree")["nodes"]
        controls = ("button", "switch", "checkbox", "textbox", "combobox", "slider", "spinbutton")
        found = [each for each in tree if not each["ignored"] and each["role"]["value"] in controls]
        assert len(found) > 30
        assert [json.dumps(each) for each in found if not each["name"]["value"]] == []


def test_the_environment_can_be_copied(browser: Browser, local: Local) -> None:
    """The variables an app of one's own is started with."""
    with shown(browser, local) as page:
        page.click("button", "Use with your app")
        page.wait_for_text("CLERK_PUBLISHABLE_KEY=pk_test_", "#environment")
        page.press("Escape")


def test_everything_can_be_forgotten(browser: Browser, local: Local) -> None:
    """After being asked once more."""
    with shown(browser, local) as page:
        sign_up(page)
        wait_for_rows(page, USERS, lambda found: len(found) == 1)
        page.click("button", "Reset")
        page.click("button", "Delete everything")
        page.wait_for("!!document.querySelector('.welcome')")
        wait_for_rows(page, USERS, lambda found: not found)
