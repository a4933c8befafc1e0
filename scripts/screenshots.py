"""Take the pictures of docs/images: the pages of a running stack, and the demo's report.

Before it: `make demo`, `make up`, and the four runs of docs/start-here.md. It logs in as the
runbook says. It needs Chromium, and Playwright (`pip install playwright`), which is none of
Penstock's requirements: give it an environment of its own.

    python scripts/screenshots.py --home .penstock --chromium /usr/bin/chromium
"""

import argparse
import json
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
#: Chromium asks nobody but the pages that it is sent to.
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
#: How long a page may take to fill its tables on a busy machine.
SETTLE_MS = 8_000


def main() -> None:
    """Take every picture, or say which page did not come."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--home", type=Path, default=Path(".penstock"))
    options.add_argument("--chromium", default="/usr/bin/chromium")
    chosen = options.parse_args()
    home: Path = chosen.home.resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chosen.chromium, args=QUIET)
        demo_report(browser, home)
        addresses = json.loads((home / "stack.json").read_text(encoding="utf-8"))
        prefect(browser, addresses["prefect"], secret(home, "prefect-auth"))
        mlflow(browser, addresses["mlflow"], *secret(home, "mlflow-auth").split(":"))
        browser.close()


def secret(home: Path, name: str) -> str:
    """Return a password that the stack made."""
    return (home / name).read_text(encoding="utf-8").strip()


def demo_report(browser: Browser, home: Path) -> None:
    """Take the report of the newest demo."""
    reports = home.glob("demo/*/reports/demo-*.html")
    newest = max(reports, key=lambda path: path.stat().st_mtime)
    page = opened(browser, 1100, 2560)
    page.goto(newest.as_uri())
    taken(page, "demo-report")


def prefect(browser: Browser, address: str, auth: str) -> None:
    """Log in with the whole line of the file, then take the deployments and a run."""
    page = opened(browser, 1400, 900)
    page.goto(f"{address}/deployments")
    page.fill("input[type=password]", auth)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=ingest-1d")
    page.reload()  # without what the page said before the login
    page.wait_for_selector("text=ingest-1d")
    taken(page, "prefect-deployments")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.goto(f"{address}/runs")
    page.get_by_role("link", name="ingest-1d", exact=True).first.click()
    page.wait_for_selector("text=Completed")
    taken(page, "prefect-run")


def mlflow(browser: Browser, address: str, user: str, password: str) -> None:
    """Take the runs of the daily search and the registered model."""
    page = opened(browser, 1400, 900, user=user, password=password)
    page.goto(f"{address}/#/experiments")
    daily = page.get_by_role("link", name="daily", exact=True).first.get_attribute("href") or ""
    page.goto(f"{address}/{daily.partition('?')[0]}/runs")
    page.get_by_role("button", name="Close", exact=True).click()  # the assistant
    page.wait_for_selector("text=matching runs")
    taken(page, "mlflow-runs")
    page.goto(f"{address}/#/models/daily-portfolio")
    page.wait_for_selector("text=champion")
    taken(page, "mlflow-model")


def opened(browser: Browser, width: int, height: int, **login: str) -> Page:
    """Return an empty page; `login` has the user and the password that its server asks for."""
    credentials = {"username": login["user"], "password": login["password"]} if login else None
    context = browser.new_context(
        viewport={"width": width, "height": height}, http_credentials=credentials
    )
    return context.new_page()


def taken(page: Page, name: str) -> None:
    """Write the picture once the page stands still."""
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
