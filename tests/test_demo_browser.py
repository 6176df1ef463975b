"""The demo's page in a real browser: drawing with mouse, pen and finger, and what people see and hear of it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from drawn_digits import HANDS
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from mnist_fast.checkpoint import save_weights
from mnist_fast.config import make_config
from mnist_fast.data import load_dataset
from mnist_fast.demo import DemoServer, load_networks
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.ops import library
from mnist_fast.progress import Reporter
from mnist_fast.training import train

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")
_FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = pytest.mark.skipif(
    _BROWSER is None or _DRIVER is None,
    reason="no Chromium with its chromedriver is installed (Debian: apt install chromium chromium-driver)",
)

Stroke = Sequence[tuple[float, float]]


class Page:
    """The demo's page in the browser, as a person uses it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url
        self.emulate("setTouchEmulationEnabled", enabled=False)
        self.emulate("setEmulatedMedia", features=[])
        self.resize(1200, 800)

    def emulate(self, what: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(f"Emulation.{what}", parameters)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.emulate("setDeviceMetricsOverride", **size)

    def load(self) -> None:
        self.driver.get(self.url)
        self.wait()

    def wait(self) -> None:
        """Until what is shown is of what is drawn."""
        self.until(lambda: self.script("return document.getElementById('answer').ariaBusy") == "false")

    def until(self, condition: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: condition())

    def find(self, id: str) -> Any:
        return self.driver.find_element(By.ID, id)

    def text(self, id: str) -> str:
        return str(self.script(f"return document.getElementById('{id}').textContent"))

    def script(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def draw(self, strokes: Sequence[Stroke], kind: str = "mouse") -> None:
        """Strokes whose points are parts of a unit square in the middle of the paper."""
        area = self.script("return document.getElementById('pad').getBoundingClientRect().toJSON()")
        for stroke in strokes:
            actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=0)
            for index, (x, y) in enumerate(stroke):
                across = area["left"] + area["width"] * (0.25 + 0.5 * x)
                down = area["top"] + area["height"] * (0.15 + 0.7 * y)
                actions.pointer_action.move_to_location(round(across), round(down))
                if index == 0:
                    actions.pointer_action.pointer_down()
            actions.pointer_action.pointer_up()
            actions.perform()
        self.wait()

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()
        self.wait()

    def click(self, id: str) -> None:
        self.find(id).click()
        self.wait()

    def bars(self) -> dict[str, float]:
        """Percentages by class, as a screen reader is told them."""
        read = "[meter.getAttribute('aria-label'), Number(meter.getAttribute('aria-valuenow'))]"
        return dict(self.script(f"return Array.from(document.querySelectorAll('[role=meter]'), (meter) => {read})"))

    def ink(self, canvas: str) -> int:
        """How many pixels of a canvas element are drawn on."""
        return int(
            self.script(
                f"const canvas = document.getElementById('{canvas}');"
                "const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
                "let count = 0; for (let i = 0; i < data.length; i += 4) count += data[i + 3] > 0 &&"
                f"(canvas.id !== 'input' || data[i] > 0); return count"
            )
        )

    def complaints(self) -> list[str]:
        """What the browser's console has had of errors since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def empty(self) -> bool:
        return self.text("label") == "–" and not any(self.bars().values()) and not self.ink("pad") + self.ink("input")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A network that knows digits, and a random one of three classes."""
    folder, data = tmp_path_factory.mktemp("checkpoints"), load_dataset("digits")
    options = {"arch": "speedrun", "epochs": 10, "optimizer": "adam", "lr": 0.002, "batch_size": 64, "device": "cpu"}
    trained = train(make_config(options), data).model.state_dict()
    spec, other = NetworkSpec("speedrun", 10, data.mean, data.std), NetworkSpec("lenet", 3, 0.13, 0.3)
    save_weights(folder / "digits.safetensors", spec, trained, {"classes": data.classes, "dataset": "digits"})
    save_weights(folder / "pets.safetensors", other, other.build().state_dict(), {"classes": ["cat", "dog", "<b>"]})
    paths = [folder / "digits.safetensors", folder / "pets.safetensors"]
    with DemoServer(load_networks(paths, reporter=Reporter(quiet=True))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(_BROWSER)
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(str(_DRIVER))) as driver:
        yield driver


@pytest.fixture
def page(driver: webdriver.Chrome, server: DemoServer) -> Iterator[Page]:
    """The page as just opened; an error on the browser's console fails the test."""
    page = Page(driver, server.url)
    page.load()
    yield page
    assert page.complaints() == []


@pytest.mark.parametrize(("digit", "kind"), [(0, "mouse"), (2, "mouse"), (3, "pen"), (0, "touch")])
def test_draw_a_digit_and_read_the_prediction(page: Page, digit: int, kind: str) -> None:
    assert page.empty()
    page.draw(HANDS[digit][0], kind)
    bars = page.bars()
    assert list(bars) == list("0123456789")
    assert sum(bars.values()) == pytest.approx(100, abs=1)
    assert page.text("label") == str(digit) == max(bars, key=lambda name: bars[name])
    assert page.text("certainty") == f"{bars[str(digit)]:.1f}%"
    page.until(lambda: page.text("spoken") == f"{digit}, {page.text('certainty')}")
    assert 30 < page.ink("input") < 400
    assert not page.find("hint").is_displayed()


def test_the_answer_changes_while_one_draws(page: Page) -> None:
    pad = page.find("pad")
    chain = webdriver.ActionChains(page.driver, duration=0).move_to_element_with_offset(pad, -60, -100)
    chain.click_and_hold().move_by_offset(0, 200).perform()
    page.wait()
    halfway = page.bars()
    assert sum(halfway.values()) == pytest.approx(100, abs=1)
    webdriver.ActionChains(page.driver, duration=0).move_by_offset(150, -100).release().perform()
    page.wait()
    assert page.bars() != halfway


def test_undo_and_clear(page: Page) -> None:
    buttons = [page.find(name) for name in ("undo", "clear")]
    assert [button.is_enabled() for button in buttons] == [False, False]
    page.draw(HANDS[3][0])
    alone = page.bars(), page.ink("pad")
    page.draw([[(0, 0), (1, 1)]])
    assert (page.bars(), page.ink("pad")) != alone
    page.click("undo")
    assert (page.bars(), page.ink("pad")) == alone
    page.click("clear")
    assert page.empty()
    assert [button.is_enabled() for button in buttons] == [True, False]
    page.click("undo")  # brings back what was cleared
    assert (page.bars(), page.ink("pad")) == alone
    page.click("undo")
    assert page.empty()
    assert [button.is_enabled() for button in buttons] == [False, False]
    assert page.find("hint").is_displayed()


def test_keys(page: Page) -> None:
    page.draw([[(0, 0), (0, 1)], [(1, 0), (1, 1)]])
    both = page.ink("pad")
    page.press("z")
    assert page.ink("pad") == pytest.approx(both / 2, rel=0.1)
    for keys in (["c"], [Keys.ESCAPE]):
        page.press(*keys)
        assert page.empty()
        page.press(Keys.CONTROL, "z")
        assert page.ink("pad") == pytest.approx(both / 2, rel=0.1)


def test_a_dot_is_a_stroke(page: Page) -> None:
    page.draw([[(0.5, 0.5)]])
    assert page.ink("pad") > 100
    assert page.ink("input") > 0


def test_a_stroke_that_the_system_takes_away_was_none(page: Page) -> None:
    page.script(
        "const pad = document.getElementById('pad');"
        "pad.setPointerCapture = () => {};"  # no pointer of this number is down
        "for (const kind of ['pointerdown', 'pointermove', 'pointercancel'])"
        "pad.dispatchEvent(new PointerEvent(kind, {pointerId: 7, clientX: 300, clientY: 300}))"
    )
    page.wait()
    assert page.empty()


def test_the_network_can_be_switched(page: Page) -> None:
    page.draw(HANDS[3][0])
    drawn, seen = page.ink("pad"), page.ink("input")
    choice = Select(page.find("network"))
    assert len(choice.options) == 2
    choice.select_by_index(1)
    page.wait()
    assert set(page.bars()) == {"cat", "dog", "<b>"}
    assert sum(page.bars().values()) == pytest.approx(100, abs=1)
    assert page.text("label") in page.bars()
    page.find("network").send_keys("c")  # chooses by letter; clears nothing
    page.wait()
    assert (page.ink("pad"), page.ink("input")) == (drawn, seen)


def test_the_inside_of_the_network(page: Page) -> None:
    page.draw(HANDS[3][0])
    read = "return Array.from(document.querySelectorAll('#layers canvas'), ({ariaLabel, width}) => [ariaLabel, width])"
    assert page.script(read) == []
    page.driver.find_element(By.TAG_NAME, "summary").click()
    page.until(lambda: bool(page.script(read)))
    captions, widths = zip(*page.script(read), strict=True)
    assert captions[0] == "conv1: 8 feature maps, 8×8"
    assert "conv2: 32 feature maps, 3×3" in captions
    assert widths[0] == 8 * 9 - 1  # eight tiles of 8 pixels, and lines between them
    if library.core is not None:
        assert "conv1: which of 9 positions won its window; black: ReLU gives 0" in captions
    page.click("clear")
    assert page.script(read) == []


def test_dark_and_light_get_the_same_answer(page: Page) -> None:
    colours, answers = set(), []
    for scheme in ("light", "dark"):
        page.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.load()
        page.draw(HANDS[3][0])
        answers.append(page.bars())
        colours.add(page.script("const {color, backgroundColor} = getComputedStyle(document.body);"
                                "return color + backgroundColor"))  # fmt: skip
    assert len(colours) == 2
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("width", "height"), [(390, 844), (740, 360), (320, 568)])
def test_all_of_it_fits_a_phone(page: Page, width: int, height: int) -> None:
    page.resize(width, height, phone=True)
    page.emulate("setTouchEmulationEnabled", enabled=True)
    page.load()
    page.draw(HANDS[0][0], "touch")
    assert page.text("label") == "0"
    assert page.script("return [scrollX, scrollY]") == [0, 0]  # a finger draws; it does not scroll
    assert page.script("return document.documentElement.scrollWidth") == width
    for name in ("pad", "undo", "clear", "label", "input"):
        area = page.find(name).rect
        assert area["y"] + area["height"] <= height, name
        assert min(area["height"], area["width"]) >= (100 if name == "pad" else 15), name


def test_nothing_comes_from_elsewhere(page: Page, server: DemoServer) -> None:
    page.draw(HANDS[0][0])
    names = page.script("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert {name.removeprefix(server.url).partition("?")[0] for name in names} >= {"page.js", "networks", "classify"}
    assert all(name.startswith(server.url) for name in names)
    outside = "try { await fetch('http://localhost:1/'); return 'sent' } catch { return 'refused' }"
    assert page.script(f"return (async () => {{ {outside} }})()") == "refused"
    assert "Content Security Policy" in page.complaints()[0]


def test_a_server_that_is_gone_is_said_until_it_answers_again(page: Page) -> None:
    page.driver.execute_cdp_cmd("Network.enable", {})
    for offline in (True, False):
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
        page.draw(HANDS[3][0])
        assert page.text("trouble") == ("No answer: is mnist-fast demo still running?" if offline else "")
    assert page.text("label") == "3"
    assert all("ERR_INTERNET_DISCONNECTED" in complaint for complaint in page.complaints())
