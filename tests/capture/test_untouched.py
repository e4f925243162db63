"""What tracewrap leaves alone: copies of clients, other people's patches, and how modules are looked for and imported."""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fake_vendor import FakeVendor
from tracewrap import instrument, testing, uninstrument, wrap
from tracewrap.capture import patches

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")

pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}


def _client(vendor: FakeVendor, cls: Any = None) -> Any:
    return (cls or openai.OpenAI)(base_url=vendor.openai_url, api_key="one", max_retries=0)


def _ask(client: Any) -> Any:
    return client.chat.completions.create(**ASKED)


@pytest.mark.parametrize("original_lives", [True, False])
def test_a_copied_client_is_its_own(original_lives: bool, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """copy.copy of a wrapped client sends with its own key to its own server, also when the original is gone, and is recorded."""
    with FakeVendor() as second:
        client = wrap(_client(vendor))
        twin = copy.copy(client)
        twin.api_key, twin.base_url = "two", second.openai_url
        if not original_lives:
            del client
            gc.collect()
        _ask(twin)
        assert [request.headers["authorization"] for request in second.requests] == ["Bearer two"]
        assert not vendor.requests
        (call,) = recorded()
        assert call.server_port == second.port


def test_a_copied_http_client_is_its_own(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """The same for bare HTTP clients."""
    client = wrap(httpx.Client(headers={"x-tenant": "one"}))
    twin = copy.copy(client)
    twin.headers = {"x-tenant": "two"}
    del client
    gc.collect()
    twin.post(f"{vendor.openai_url}/chat/completions", json=ASKED)
    assert vendor.requests[0].headers["x-tenant"] == "two"
    assert len(recorded()) == 1


def test_with_options_of_a_subclass(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A class of the program's own, which overrides the SDK's method, is called as ever; its copies are recorded, once a call."""
    seen: list[str] = []

    class Mine(openai.OpenAI):  # type: ignore[misc, unused-ignore]
        def request(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self.api_key)
            return super().request(*args, **kwargs)

    client = wrap(_client(vendor, Mine))
    assert type(client) is Mine
    _ask(client)
    _ask(client.with_options(api_key="two"))
    assert seen == ["one", "two"]
    assert len(recorded()) == 2


def test_wrapping_one_client_records_that_client_only(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """Other clients of the same class are not looked at."""
    other = _client(vendor)
    client = wrap(_client(vendor))
    _ask(other)
    assert recorded() == []
    _ask(client)
    assert len(recorded()) == 1


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.deepcopy])
def test_what_cannot_be_copied_fails_alike(attempt: Any, vendor: FakeVendor) -> None:
    """Pickling and deep copies of a client end as they do without tracewrap."""

    def outcome(client: Any) -> tuple[type, str]:
        try:
            attempt(client)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return type(error), str(error)
        return type(None), ""

    assert outcome(wrap(_client(vendor))) == outcome(_client(vendor))


@pytest.mark.parametrize("how", ["instrument", "wrap"])
@pytest.mark.parametrize(("module", "name"), [(openai, "OpenAI"), (anthropic, "Anthropic")])
def test_a_later_patch_runs(how: str, module: Any, name: str, vendor: FakeVendor, recorded: testing.Recording) -> None:
    """A patch that somebody lays on the SDK's base class, or on the client's class, after tracewrap: it runs, once, with the client."""
    client = getattr(module, name)(base_url=vendor.openai_url, api_key="one")
    if how == "wrap":
        wrap(client)
    else:
        instrument()
    base = next(cls for cls in type(client).__mro__[1:] if "request" in vars(cls))
    for owner in (base, type(client)):
        with mock.patch.object(owner, "request", autospec=True, return_value="mine") as patched:
            asked = client.chat.completions.create if module is openai else client.messages.create
            assert asked(**ASKED, **({} if module is openai else {"max_tokens": 5})) == "mine"
            assert patched.call_count == 1
            assert patched.call_args.args[0] is client
    assert not vendor.requests


def test_uninstrument_leaves_wrapped_clients_recorded(vendor: FakeVendor, recorded: testing.Recording) -> None:
    """What one client was wrapped for goes on; when no wrapped client is left, the class is as it was."""
    gc.collect()
    uninstrument()
    before = dict(vars(openai.OpenAI))
    client = wrap(_client(vendor))
    instrument()
    uninstrument()
    _ask(client)
    _ask(_client(vendor))
    assert len(recorded()) == 1
    del client
    gc.collect()
    uninstrument()
    assert dict(vars(openai.OpenAI)) == before


LOOK = "import importlib.util; [importlib.util.find_spec(n) for n in ('{0}', 'openai', 'anthropic', 'cohere') * 2]"
FAIL_ONCE = """
import importlib.abc, importlib.machinery, importlib.util
class Failing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    left = 1
    def find_spec(self, name, path, target=None):
        if name == 'openai' and self.left:
            self.left -= 1
            return importlib.machinery.ModuleSpec(name, self)
    def exec_module(self, module):
        raise ImportError('not now')
sys.meta_path.insert(0, Failing())
try:
    import openai
except ImportError as error:
    assert str(error) == 'not now'
"""
CHAINED = """
import importlib.abc, importlib.util
class Proxy:  # sets and gets everything on the loader that it wraps, as object proxies do
    def __init__(self, inner): object.__setattr__(self, 'inner', inner)
    def __getattr__(self, name): return getattr(self.inner, name)
    def __setattr__(self, name, value): setattr(self.inner, name, value)
class Chained(Proxy):
    def exec_module(self, module):
        self.inner.exec_module(module)
        print('their hook')
class Theirs(importlib.abc.MetaPathFinder):
    asking = False
    def find_spec(self, name, path, target=None):
        if name != 'openai' or self.asking: return None
        self.asking = True
        try: spec = importlib.util.find_spec(name)
        finally: self.asking = False
        spec.loader = Chained(spec.loader)
        return spec
sys.meta_path.insert(0, Theirs())
"""
PROGRAMS = {
    "looked-for": f"tracewrap.instrument(); {LOOK.format('json')}",
    "failed-once": f"tracewrap.instrument()\n{FAIL_ONCE}",
    "their-hook-first": f"{CHAINED}\ntracewrap.instrument()",
    "their-hook-last": f"tracewrap.instrument()\n{CHAINED}",
    "imported-twice": (
        "tracewrap.instrument(); import openai\n"
        "for name in [n for n in sys.modules if n.split('.')[0] == 'openai']: del sys.modules[name]"
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_imports_work_and_are_instrumented(program: str) -> None:
    """However a module is looked for, fails to import or is hooked by others: the import works, all hooks run, its clients are recorded."""
    code = (
        f"import sys, tracewrap\n{PROGRAMS[program]}\nimport openai\n"
        "from tracewrap.capture.wrap import instrumented\n"
        "assert 'openai.OpenAI.request' in instrumented(), instrumented()\n"
        "assert hasattr(openai.OpenAI.request, '__wrapped__')\n"
        "assert type(openai.__spec__.loader).__module__ != 'tracewrap.capture.import_hook'\n"
        "assert openai.__loader__ is openai.__spec__.loader\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("their hook\n" if "their" in program else "")


def test_a_look_for_a_missing_module_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """find_spec says None for an SDK that is not installed, as without tracewrap."""
    from tracewrap.capture import import_hook

    import_hook.after_import("no_such_sdk", "test", lambda: None)
    try:
        assert importlib.util.find_spec("no_such_sdk") is None
        assert importlib.util.find_spec("json") is not None
    finally:
        import_hook.forget({"no_such_sdk"})


def test_a_patch_under_somebody_elses_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody patches over ours; taken off and put on again, one layer of ours looks at calls, not two."""

    class Sender:
        def send(self) -> str:
            return "sent"

    seen: list[str] = []

    def make(original: Any, switch: patches.Switch) -> Any:
        def send(owner: Any) -> Any:
            if switch.admits(owner):
                seen.append("ours")
            return original(owner)

        return send

    patches.patch(Sender, "send", make, "acme", everyone=True)
    ours = Sender.send
    monkeypatch.setattr(Sender, "send", lambda owner: ours(owner))
    patches.switch_off(("acme",))
    patches.patch(Sender, "send", make, "acme", everyone=True)
    assert Sender().send() == "sent"
    assert seen == ["ours"]
