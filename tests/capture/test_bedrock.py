"""Bedrock through boto3: operation x {whole, streamed} x {ok, error, retried, broken, closed, abandoned}; the SDK's own objects."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fake_bedrock import FakeBedrock, Fault
from tracewrap import instrument, semconv, testing, uninstrument, wrap
from tracewrap.errors import UnsupportedClientError

boto3 = pytest.importorskip("boto3")
botocore = pytest.importorskip("botocore")
httpx = pytest.importorskip("httpx")
pytestmark = [
    pytest.mark.usefixtures("leaves_clients_open"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
ASKED = {"messages": [{"role": "user", "content": [{"text": "a b c"}]}], "inferenceConfig": {"maxTokens": 9}}
INVOKED = json.dumps({"messages": [{"role": "user", "content": "a b c"}], "max_tokens": 9, "anthropic_version": "x"})


@pytest.fixture
def bedrock() -> Iterator[FakeBedrock]:
    """Bedrock on loopback."""
    with FakeBedrock() as server:
        yield server


def client(server: FakeBedrock, service: str = "bedrock-runtime", **retries: Any) -> Any:
    """A client of the fake."""
    from botocore.config import Config

    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    config = Config(retries=retries or {"max_attempts": 0}, inject_host_prefix=False)
    return boto3.Session().client(service, endpoint_url=server.url, config=config, **keys)


def converse(one: Any) -> Any:
    """A whole conversation turn."""
    return one.converse(modelId=CLAUDE, **ASKED)


def converse_stream(one: Any) -> Any:
    """A streamed one, yet to be read."""
    return one.converse_stream(modelId=CLAUDE, **ASKED)["stream"]


def invoke(one: Any) -> Any:
    """A model invoked; the body is yet to be read."""
    return one.invoke_model(modelId=CLAUDE, body=INVOKED)["body"]


def invoke_stream(one: Any, model: str = CLAUDE) -> Any:
    """The same, streamed."""
    return one.invoke_model_with_response_stream(modelId=model, body=INVOKED)["body"]


READ = [
    ("converse", converse),
    ("converse-stream", lambda one: list(converse_stream(one))),
    ("invoke", lambda one: invoke(one).read()),
    ("invoke-stream", lambda one: list(invoke_stream(one))),
]
STREAMS = [converse_stream, invoke_stream]


def _undated(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    return answer


@pytest.mark.parametrize(("name", "call"), READ, ids=[name for name, _ in READ])
def test_a_call_is_recorded_as_it_is(name: str, call: Any, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """The program gets what it gets without us; one call, with tokens, cached ones, how it ended, who and where."""
    bare = _undated(call(client(bedrock)))
    assert _undated(call(wrap(client(bedrock)))) == bare
    (span,) = recorded.spans
    (one,) = recorded()
    assert (one.outcome, one.provider, one.operation, one.stream) == (
        "complete",
        "aws.bedrock",
        "chat",
        "stream" in name,
    )
    whole = name != "invoke-stream"  # its events tell no cached tokens
    assert (one.usage.input_tokens, one.usage.output_tokens) == (8 if whole else 3, 8)
    assert (one.usage.cached_input_tokens, one.usage.source) == (5 if whole else None, "reported")
    found = dict(span.attributes or {})
    assert found[semconv.REQUEST_MODEL] == CLAUDE
    assert found[semconv.FINISH_REASONS] == ("end_turn",)
    assert found[semconv.REQUEST_ID] == "req_1"
    assert found["gen_ai.request.max_tokens"] == 9
    assert found[semconv.REGION] == "us"
    assert (one.time_to_first_chunk_s is not None) == one.stream


def test_the_server_s_own_time(bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """latencyMs of a whole answer, its header when invoked, the first byte's of an invoked stream; a stream's total is none of these."""
    one = wrap(client(bedrock))
    for _, call in READ:
        call(one)
    seen = [dict(span.attributes or {}).get(semconv.SERVER_PROCESSING) for span in recorded.spans]
    assert seen == [0.007, None, 0.007, 0.004]


def test_counts_of_any_model(bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """Whatever a model's own format tells, Bedrock's headers and last event do; a model of no prefix runs in the client's region."""
    one = wrap(client(bedrock))
    one.invoke_model(modelId="cohere.embed-v4:0", body=json.dumps({"texts": ["a b c"]}))["body"].read()
    list(invoke_stream(one, LLAMA))
    embedded, generated = recorded()
    assert (embedded.operation, embedded.usage.input_tokens, embedded.usage.output_tokens) == ("embeddings", 3, None)
    assert (generated.usage.input_tokens, generated.usage.output_tokens, generated.outcome) == (3, 8, "complete")
    assert generated.region == "us-east-1"


@pytest.mark.parametrize("retries", [{"mode": "standard"}, {"mode": "legacy"}], ids=["standard", "legacy"])
def test_retries_are_attempts(retries: dict[str, Any], bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """Every try of botocore counts; the time before the last is retry time."""
    bedrock.faults.extend([Fault(status=429), Fault(status=429)])
    converse(wrap(client(bedrock, max_attempts=4, **retries)))
    (call,) = recorded()
    assert (call.attempts, call.outcome) == (3, "complete")
    assert 0.0 < call.retry_s < call.raw_runtime_s


@pytest.mark.parametrize(("name", "call"), READ, ids=[name for name, _ in READ])
def test_an_error_is_botocore_s(name: str, call: Any, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """The exception is the SDK's own, and the span says which."""
    bedrock.faults.append(Fault(status=400))
    with pytest.raises(botocore.exceptions.ClientError, match="asked to fail") as caught:
        call(wrap(client(bedrock)))
    (one,) = recorded()
    assert (one.outcome, one.error_type) == ("error", "ValidationException") == ("error", type(caught.value).__name__)


@pytest.mark.parametrize("call", STREAMS)
def test_an_exception_within_a_stream(call: Any, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """An exception that comes as an event is raised by the SDK and is the call's."""
    bedrock.faults.append(Fault(exception_after=3))
    stream = call(wrap(client(bedrock)))
    with pytest.raises(botocore.exceptions.EventStreamError):
        list(stream)
    (one,) = recorded()  # while the stream is neither closed nor dropped
    assert (one.outcome, one.error_type) == ("error", "throttlingException")
    stream.close()
    assert len(recorded()) == 1


@pytest.mark.parametrize("call", STREAMS)
def test_a_broken_stream(call: Any, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """A connection that breaks raises what it raises without us; what had come is kept."""
    bedrock.faults.extend([Fault(cut_after=4)] * 2)
    with pytest.raises(Exception) as bare:  # noqa: PT011 - whatever the SDK raises
        list(call(client(bedrock)))
    with pytest.raises(type(bare.value)):
        list(call(wrap(client(bedrock))))
    (one,) = recorded()
    assert one.outcome == "error"
    assert one.usage.source == "estimated"
    assert one.time_to_first_chunk_s is not None


@pytest.mark.parametrize("call", STREAMS)
@pytest.mark.parametrize("closes", [True, False], ids=["closed", "abandoned"])
def test_an_early_end(call: Any, closes: bool, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """A stream that its consumer closes or forgets ends its span."""
    one = wrap(client(bedrock))
    stream = call(one)
    events = iter(stream)
    next(events)
    next(events)
    if closes:
        stream.close()
    del stream, events
    gc.collect()
    (made,) = recorded()
    assert made.outcome == ("partial" if made.usage.source == "estimated" else "complete")
    assert made.stream


@pytest.mark.parametrize("how", ["chunks", "with", "lines", "small", "raw"])
def test_bodies_read_in_other_ways(how: str, bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """However a body is read, it is the same body and the same call."""
    body = invoke(wrap(client(bedrock)))
    if how == "chunks":
        data = b"".join(body.iter_chunks(16))
    elif how == "lines":
        data = b"\n".join(body.iter_lines())
    elif how == "raw":
        data = b"".join(body._raw_stream)
    elif how == "with":
        with body as raw:
            data = raw.read()
    else:
        data = b""
        while part := body.read(64):
            data += part
    assert json.loads(data)["id"] == "msg_1"
    (one,) = recorded()
    assert (one.outcome, one.usage.output_tokens) == ("complete", 8)


def test_a_body_that_is_never_read(bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """A whole answer whose body nobody reads is a call all the same."""
    invoke(wrap(client(bedrock)))
    gc.collect()
    assert len(recorded()) == 1


def test_instrument_looks_at_bedrock_alone(bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """Every client, made before or after; another service's operations pass; nothing once it is undone."""
    before = client(bedrock)
    instrument("bedrock")
    converse(before)
    bedrock.faults.append(Fault(status=400))
    with pytest.raises(botocore.exceptions.ClientError):
        client(bedrock, "sqs").send_message(QueueUrl=bedrock.url, MessageBody="a")
    converse(wrap(client(bedrock)))
    assert len(recorded()) == 2
    uninstrument("bedrock")
    converse(client(bedrock))
    assert len(recorded()) == 2


def test_a_client_of_another_service_is_refused(bedrock: FakeBedrock) -> None:
    """boto3 makes clients of one class for everything: what runs no models is no client to wrap, said in a line."""
    with pytest.raises(UnsupportedClientError, match=r"boto3 client of 's3'; models run through 'bedrock-runtime'$"):
        wrap(client(bedrock, "s3"))
    assert issubclass(UnsupportedClientError, TypeError)


def test_bare_http(bedrock: FakeBedrock, recorded: testing.Recording) -> None:
    """Without the SDK: the path says whose it is, wherever it is sent; counts and ends are the same."""
    with wrap(httpx.Client(base_url=bedrock.url)) as http:
        http.post(f"/model/{CLAUDE}/converse", json=ASKED)
        http.post(f"/model/{CLAUDE}/converse-stream", json=ASKED)
        http.post(f"/model/{CLAUDE}/invoke", content=INVOKED)
        http.post(f"/model/{LLAMA}/invoke-with-response-stream", content=INVOKED)
    calls = recorded()
    assert [(call.provider, call.outcome) for call in calls] == [("aws.bedrock", "complete")] * 4
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls] == [(8, 8), (8, 8), (8, 8), (3, 8)]
