"""Audio and images through OpenAI's SDK: what is billed by tokens has them, what is billed by time says the seconds; bytes pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_answers import Canned, CannedVendor, canned, streamed
from made_days import DAY_NS
from tracewrap import instrument, report, semconv, testing, wrap
from tracewrap.estimate.catalog import Catalog
from tracewrap.pipeline import configure, shutdown
from tracewrap.records import TokenUsage

openai = pytest.importorskip("openai")
pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),  # translations, variations
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TOKENS = {
    **{"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59},
    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
}
SPOKEN = {"input_tokens": 7, "output_tokens": 90, "total_tokens": 97}
DRAWN = {"input_tokens": 50, "output_tokens": 40, "total_tokens": 90, "input_tokens_details": {"image_tokens": 30}}
HEARD = TokenUsage(14, 45, audio_input_tokens=14)
SOUND = canned(b"RIFF\x00\x01" * 50, headers={"content-type": "audio/wav"})
WAV = ("a.wav", b"RIFF", "audio/wav")


def transcribe(client: Any, **more: Any) -> Any:
    """What was heard."""
    return client.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV, **more)


def speak(client: Any, **more: Any) -> Any:
    """What is to be said."""
    return client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="a b c", **more)


def speak_streamed(client: Any) -> Any:
    """The sound as it comes."""
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input="a b c", stream_format="sse"
    ) as response:
        return b"".join(response.iter_bytes())


TEXT = canned({"text": "a b"} | {"usage": TOKENS})
SECONDS = canned({"text": "a b", "usage": {"type": "duration", "seconds": 12.5}})
VERBOSE = canned({"text": "a b", "duration": 12.5, "language": "en", "segments": []})
EVENTS = streamed(
    [{"type": "transcript.text.delta", "delta": "a"}, {"type": "transcript.text.done", "text": "a", "usage": TOKENS}]
)
SPEECH = streamed(
    [{"type": "speech.audio.delta", "audio": "AAAA"}, {"type": "speech.audio.done", "usage": SPOKEN}], done=False
)
IMAGES = canned({"created": 1, "data": [], "usage": DRAWN})
CASES: list[tuple[str, Canned, Callable[[Any], Any], str, TokenUsage | None, float | None]] = [
    ("transcription", TEXT, transcribe, "transcription", HEARD, None),
    ("by-time", SECONDS, transcribe, "transcription", None, 12.5),
    ("verbose", VERBOSE, lambda c: transcribe(c, response_format="verbose_json"), "transcription", None, 12.5),
    ("as-text", canned("a b", headers={"content-type": "text/plain"}), lambda c: transcribe(c, response_format="text"),
     "transcription", None, None),
    ("streamed", EVENTS, lambda c: list(transcribe(c, stream=True)), "transcription", HEARD, None),
    ("raw", TEXT, lambda c: c.audio.transcriptions.with_raw_response.create(model="m", file=WAV), "transcription", HEARD, None),
    ("translation", canned({"text": "a"}), lambda c: c.audio.translations.create(model="whisper-1", file=WAV),
     "translation", None, None),
    ("speech", SOUND, lambda c: speak(c).read(), "speech", None, None),
    ("speech-events", SPEECH, speak_streamed, "speech", TokenUsage(7, 90, audio_output_tokens=90), None),
    ("image-edit", IMAGES, lambda c: c.images.edit(model="gpt-image-1", image=WAV, prompt="x"), "image_edit",
     TokenUsage(50, 40, image_input_tokens=30), None),
    ("image-variation", canned({"created": 1, "data": []}), lambda c: c.images.create_variation(image=WAV),
     "image_variation", None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "ask", "operation", "usage", "seconds"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_recorded(
    answer: Canned,
    ask: Callable[[Any], Any],
    operation: str,
    usage: TokenUsage | None,
    seconds: float | None,
    recorded: testing.Recording,
) -> None:
    """One complete call with what the answer tells; the program gets what it gets without us."""
    with CannedVendor(answer) as vendor:
        bare = ask(openai.OpenAI(api_key="k", base_url=vendor.url + "/v1", max_retries=0))
        found = ask(wrap(openai.OpenAI(api_key="k", base_url=vendor.url + "/v1", max_retries=0)))
        assert type(found) is type(bare)
        assert found == bare or operation == "transcription"
    (call,) = recorded()
    assert (call.operation, call.usage, call.outcome) == (operation, usage, "complete")
    assert recorded.records[0].attributes.get(semconv.AUDIO_INPUT_SECONDS) == seconds


def test_async_and_instrumented(recorded: testing.Recording) -> None:
    """The asynchronous client, of a program that wraps nothing."""

    async def hear(url: str) -> Any:
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            return await transcribe(client)

    instrument("openai")
    with CannedVendor(TEXT) as vendor:
        assert asyncio.run(hear(vendor.url + "/v1")).text == "a b"
    (call,) = recorded()
    assert call.usage == HEARD


def test_reranking_is_priced_by_its_units(tmp_path: Path) -> None:
    """Live and in the report: search units at the price of one's own file, where no token is billed."""
    cohere = pytest.importorskip("cohere")
    prices = tmp_path / "own.toml"
    prices.write_text(
        '[[prices]]\nmodel = "rerank-v3.5"\ninput_usd_per_million = 0\noutput_usd_per_million = 0\nsearch_unit_usd_per_thousand = 2\n'
    )
    answer = canned({"id": "r", "results": [], "meta": {"billed_units": {"search_units": 3}}})
    with CannedVendor(answer) as vendor:
        pipeline = configure(span_log=tmp_path / "log", prices=prices)
        try:
            client = wrap(cohere.ClientV2(api_key="k", base_url=vendor.url))
            client.rerank(model="rerank-v3.5", query="a", documents=["b"])
            assert pipeline.flush(20)
        finally:
            shutdown()
    (path,) = (tmp_path / "log").glob("*.jsonl")
    assert '"tracewrap.cost.list","value":{"doubleValue":0.006}' in path.read_text(encoding="utf-8")
    pytest.importorskip("duckdb")  # the report; the live half is told above
    built = report.build(str(tmp_path / "log"), catalog=Catalog(), prices=str(prices), now_ns=DAY_NS * 3)
    assert built["totals"]["list_cost_usd"] == pytest.approx(0.006)
