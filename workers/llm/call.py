"""One call: what is asked of which endpoint, and the most that it can cost."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from db.records import AttemptRow, Lease
from workers.config import Endpoint, Role, Style, WorkSettings
from workers.llm.errors import CallRefused
from workers.llm.request import Message, Request, Schema
from workers.prompting import Prompt

# Few tokens are shorter than three bytes of prose, so this overestimates a little.
_BYTES_PER_TOKEN = 3
# What a server's chat template may add to each message, and once to the whole.
_TEMPLATE_TOKENS = 32
_MORE_ROOM, _MOST_ROOM = 2, 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, the traits of its endpoint, and the lease on whose account it goes (None: nobody's).

    `once`: it gets no more room when its answer is cut off. `latest` gives the traits as they are now: limits may be
    changed while it waits for leave. Its price is that of `traits`, by which it was announced.
    """

    request: Request
    role: Role
    traits: Endpoint
    lease: Lease | None = None
    once: bool = False
    latest: Callable[[], Endpoint] | None = field(default=None, compare=False)

    @property
    def likely_tokens(self) -> int:
        """About what it will use: for limits by the minute."""
        return prompt_tokens(self.request) + self.request.max_tokens

    @property
    def most_tokens_in(self) -> int:
        """No tokeniser makes more tokens than there are bytes; what a chat template adds is small."""
        return sum(map(_bytes, _texts(self.request))) + _TEMPLATE_TOKENS * (1 + len(self.request.messages))

    def attempt(self, attempt_id: str, key: str) -> AttemptRow:
        """What is announced before the request is sent: the most that it can cost."""
        assert self.lease is not None
        most_in, most_out = self.most_tokens_in, self.request.max_tokens
        return AttemptRow(
            id=attempt_id,
            key=key,
            run_id=self.lease.run_id,
            task_id=self.lease.task_id,
            lease_token=self.lease.token,
            role=self.role.value,
            endpoint=self.request.endpoint,
            tokens=most_in + most_out,
            nusd=self.traits.nusd(most_in, most_out),
        )

    def with_more_room(self) -> "Call | None":
        """The same question with room for a longer answer; None where no more room can be given."""
        room = min(_MORE_ROOM * self.request.max_tokens, _MOST_ROOM)
        if room <= self.request.max_tokens or self.request.logprobs or self.once:
            return None
        return replace(self, request=replace(self.request, max_tokens=room))


def call_for(
    settings: WorkSettings,
    role: Role,
    prompt: Prompt,
    *,
    sample: int = 0,
    lease: Lease | None = None,
) -> Call:
    """The call that asks this prompt of the endpoint of a role, sampled as the run's settings say.

    Raises:
        CallRefused: the prompt is longer than the run reserved for.
    """
    chosen, traits = settings.role(role), settings.endpoint(role)
    asked = _question(prompt)
    request = Request(
        endpoint=chosen.endpoint,
        model=traits.model,
        style=prompt.style,
        prompt=asked if isinstance(asked, str) else "",
        messages=() if isinstance(asked, str) else asked,
        temperature=chosen.temperature if prompt.temperature is None else prompt.temperature,
        top_p=chosen.top_p,
        max_tokens=min(prompt.max_tokens or chosen.max_tokens, chosen.max_tokens),
        presence_penalty=chosen.penalty if chosen.presence_penalty is None else chosen.presence_penalty,
        frequency_penalty=chosen.penalty if prompt.frequency_penalty is None else prompt.frequency_penalty,
        stop=prompt.stop,
        schema=Schema(name=prompt.schema_name, schema=prompt.schema) if prompt.schema_name and prompt.schema else None,
        json_mode=traits.json_mode,
        logprobs=prompt.logprobs,
        extra=chosen.extra,
        sample=sample,
        timeout_s=traits.timeout_s,
    )
    if (tokens := prompt_tokens(request)) > chosen.max_prompt_tokens:
        raise CallRefused(
            f"a prompt of about {tokens} tokens for the {role.value} is over its max_prompt_tokens"
            f" ({chosen.max_prompt_tokens})"
        )
    return Call(request=request, role=role, traits=traits, lease=lease, once=prompt.once)


def _question(prompt: Prompt) -> str | tuple[Message, ...]:
    if prompt.style is Style.COMPLETION:
        return prompt.text
    system = (Message(role="system", content=prompt.system),) if prompt.system else ()
    return (*system, Message(role="user", content=prompt.text))


def prompt_tokens(request: Request) -> int:
    """About how many tokens the question has, rather too many than too few."""
    return -(-sum(map(_bytes, _texts(request))) // _BYTES_PER_TOKEN)


def _texts(request: Request) -> tuple[str, ...]:
    return (request.prompt, *(message.content for message in request.messages))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
