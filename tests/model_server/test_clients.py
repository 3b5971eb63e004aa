"""OpenAI's own client against running servers, unmodified."""

from collections.abc import Iterator

import openai
import pytest

from tests.model_server.process import ServerProcess

FRANCE = "What is the capital of France?"


@pytest.fixture
def client(chat: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{chat.client.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smol",
        messages=[{"role": "user", "content": FRANCE}],
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    (choice,) = answer.choices
    assert choice.message.content is not None and "Paris" in choice.message.content
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    assert all(
        len(one.top_logprobs) == 2 and one.logprob == one.top_logprobs[0].logprob for one in choice.logprobs.content
    )
    assert all(one.logprob <= 0 for one in choice.logprobs.content)
    assert answer.usage is not None and answer.usage.completion_tokens == len(choice.logprobs.content)


def test_a_streamed_chat(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="smol",
        messages=[{"role": "user", "content": FRANCE}],
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    assert "Paris" in "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 7


def test_completions_of_several_prompts(client: openai.OpenAI) -> None:
    prompts = ["The capital of France is", "One, two, three, four,"]
    answer = client.completions.create(model="smol", prompt=prompts, temperature=0, max_tokens=8, logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert "Paris" in answer.choices[0].text and "five" in answer.choices[1].text
    told = answer.choices[0].logprobs
    assert told is not None and told.tokens is not None and told.token_logprobs is not None
    assert (len(told.tokens), len(told.token_logprobs)) == (8, 8)
    assert answer.usage is not None and answer.usage.completion_tokens == 16
    streamed = ["", ""]
    with client.completions.create(model="smol", prompt=prompts, temperature=0, max_tokens=8, stream=True) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                streamed[choice.index] += choice.text
    assert streamed == [choice.text for choice in answer.choices]


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.BadRequestError, match="context is 8192 tokens") as refused:
        client.completions.create(model="smol", prompt="a b " * 5000)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt[0]")
    with pytest.raises(openai.BadRequestError, match=r"prompt\[0\]: has the token 50000"):
        client.completions.create(model="smol", prompt=[50000])


def test_embeddings_and_models(embed: ServerProcess) -> None:
    with openai.OpenAI(base_url=f"{embed.client.base_url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model="mini", input=["high tide", "low tide"])
        assert [len(one.embedding) for one in answer.data] == [384, 384]
        assert [model.id for model in client.models.list()] == ["mini"]
