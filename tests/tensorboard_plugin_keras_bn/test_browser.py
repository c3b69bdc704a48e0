"""The tab in a real browser, through TensorBoard's own page and its frame."""

import json
import shutil
import urllib.parse

import pytest

from tests.tensorboard_plugin_keras_bn import known_logs
from tests.tensorboard_plugin_keras_bn.known_logs import HOSTILE, WORST
from tests.tensorboard_plugin_keras_bn.started import TensorBoard

BROWSERS = "chromium", "chromium-browser", "google-chrome"
MILLISECONDS = 120_000  # Several times what a quiet machine takes until a page shows something.
OTHERS = "Three.js", "favicon"  # Of TensorBoard itself.


@pytest.fixture(scope="module")
def browser():
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser on this machine (looked for {', '.join(BROWSERS)}); install one to run these: apt-get install chromium")
    from playwright import sync_api

    with sync_api.sync_playwright() as started:
        # A container's root has no sandbox, and its shared memory is small.
        launched = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(logs):
    started = TensorBoard(logs)
    started.wait_for(known_logs.is_read)
    yield started
    started.end()


@pytest.fixture
def opened(browser, server):
    """A function of what the address says, and of the server, that returns (the page, the tab's frame); the console must stay silent."""
    said, contexts = [], []

    def opened(at=server, **state):
        context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        context.set_default_timeout(MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        parts = [f"p.keras_bn.{name}={urllib.parse.quote(json.dumps(value) if name == 'runs' else str(value))}" for name, value in state.items()]
        page.goto(f"{at.address}/#{'&'.join(['keras_bn', *parts])}")
        return page, page.frame_locator("iframe")

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in said if not any(other in text for other in OTHERS)] == []


def test_the_overview_opens_and_names_the_worst_layer(opened):
    page, tab = opened(runs=["a", HOSTILE.replace("/", "\\")])
    card = tab.get_by_role("article", name="a", exact=True)
    line = card.locator("li", has_text="differs from the moving variance")
    line.wait_for()
    expected = (
        f"{WORST} ({HOSTILE}): its variance in inference differs from the moving variance by a factor of 8 (at step 90, the worst of 4 layers since step 50)."
    )
    assert line.inner_text() == expected
    assert f"# one finding {HOSTILE}" in card.inner_text()
    assert "not measured: add keras_bn.callbacks.InternalCovariateShift(log_dir)" in card.inner_text()
    assert tab.locator("script", has_text="document.body.remove").count() == 0
    line.get_by_role("button").click()
    tab.get_by_text("over steps, all chosen runs").or_(tab.get_by_role("group", name="over steps")).first.wait_for()
    assert "p.keras_bn.view=heatmap" in page.url
    assert f"p.keras_bn.layer={WORST}" in page.url


def field(tab, layer, step, steps=10):
    """Moves the mouse over a field of the heatmap; returns what is said of it."""
    picture = tab.locator("main[aria-busy=false] .picture").first
    picture.wait_for()
    box = picture.locator("canvas").bounding_box()
    left, right, top, height = 190, 88, 6, 22
    x = left + (step + 0.5) * (box["width"] - left - right) / steps
    picture.hover(position={"x": x, "y": top + (layer + 0.5) * height})
    return picture.locator(".tip").inner_text()


def test_hovering_a_field_says_its_number_and_runs_compare(opened):
    _, tab = opened(view="heatmap", runs=["a", "b"], quantity="variance_shift/ratio", a="a")
    assert field(tab, 2, 9) == f"{WORST} ({HOSTILE})\nstep 90\n8"
    assert field(tab, 0, 0) == "01_batch_normalization\nstep 0\n2"
    tab.get_by_label("B", exact=True).select_option("b")
    tab.get_by_role("button", name="A / B").click()
    tab.get_by_role("heading", name="a divided by b").wait_for()
    assert field(tab, 2, 8) == f"{WORST} ({HOSTILE})\nstep 80\nA: 8\nB: 16\nA / B: 0.5"
    assert field(tab, 2, 9) == f"{WORST} ({HOSTILE})\nstep 90\nA: 8\nB: not measured\nA / B: not measured"
    tab.get_by_role("button", name="A − B").click()
    tab.get_by_role("heading", name="a minus b").wait_for()
    assert field(tab, 0, 0).endswith("A − B: −2")


def test_the_arrow_keys_say_the_same_and_the_table_holds_all_numbers(opened):
    _, tab = opened(view="heatmap", runs=["a"], quantity="variance_shift/ratio", a="a")
    picture = tab.locator(".picture").first
    picture.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        picture.press(key)
    assert picture.locator(".aloud").inner_text() == f"{WORST} ({HOSTILE}), step 80, 8"
    picture.press("Enter")
    tab.locator(".charts .picture").first.wait_for()
    tab.get_by_text("Numbers as a table").click()
    table = [row.split("\t") for row in tab.locator("table").inner_text().splitlines()]
    assert table[0] == ["layer", *(f"step {step}" for step in known_logs.STEPS)]
    assert table[3][1:] == ["1.5"] * 5 + ["8"] * 5


def test_a_link_restores_view_runs_quantity_layer_and_step(opened):
    page, tab = opened(view="profile", runs=["b"], quantity="variance_shift/lag", step=40)
    tab.get_by_role("heading", name="variance shift: lag").wait_for()
    assert tab.locator("output").inner_text() == "step 40"
    assert [box.is_checked() for box in tab.locator("nav input[type=checkbox]").all()].count(True) == 1
    tab.get_by_role("slider").fill("4")
    assert tab.locator("output").inner_text() == "step 80"
    copied = urllib.parse.unquote(page.url)
    assert all(part in copied for part in ("p.keras_bn.view=profile", 'p.keras_bn.runs=["b"]', "p.keras_bn.quantity=variance_shift/lag", "p.keras_bn.step=80"))


def test_distributions_and_downloads(opened):
    page, tab = opened(view="distributions", runs=["a", "b"])
    tab.locator(".charts .picture").wait_for()
    with page.expect_download() as download:
        tab.get_by_role("button", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[:2] == ["run,layer,step,p15,p50,p85", "a,01_batch_normalization,0,-1,0,1"]
    assert len(lines) == 1 + 10 + 5
    with page.expect_download() as download:
        tab.get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_runs_without_percentiles_are_told_what_to_add(opened):
    _, tab = opened(view="distributions", runs=["x" * 200])
    tab.get_by_text('quantities=("input_p15", "input_p50", "input_p85")').wait_for()


def test_the_filter_takes_text_and_regular_expressions(opened):
    _, tab = opened()
    runs = tab.locator("nav li")
    runs.nth(4).wait_for()
    for text, number in (("^[ab]$", 2), ("语|語", 1), ("(", 1), ("", 5)):
        tab.get_by_role("searchbox").fill(text)
        assert runs.count() == number, text


def test_a_training_that_goes_on_is_followed(opened, tmp_path):
    known_logs.write(tmp_path / "run", range(0, 30, 10))
    growing = TensorBoard(tmp_path)
    try:
        growing.wait_for(lambda runs: "variance_shift" in runs.get("run", {}))
        _, tab = opened(growing, view="heatmap", quantity="variance_shift/ratio", layer=WORST)
        assert field(tab, 0, 2, steps=3) == "01_batch_normalization\nstep 20\n2"
        known_logs.write(tmp_path / "run", range(30, 50, 10))
        tab.get_by_label("4 layers by 5 steps").first.wait_for()
        assert field(tab, 2, 4, steps=5).endswith("step 40\n1.5")
        assert tab.get_by_role("button", name="Layers × steps").get_attribute("aria-pressed") == "true"
    finally:
        growing.end()
