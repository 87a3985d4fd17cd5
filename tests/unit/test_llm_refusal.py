"""Refusals are known by how they begin."""

import pytest

from workers.llm.refusal import is_refusal

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "Sorry, I cannot fulfill this request.",
    "I cannot provide instructions for that.",
    "I am unable to assist you with this.",
    "As an AI language model, I cannot have opinions.",
    "As an AI, I don't have access to real-time data.",
    "Unfortunately, I am not able to help with this.",
    "I apologize, but I won't be able to write that.",
    "My apologies, but I must decline to answer.",
    "I must respectfully decline to answer that.",
    "I can't do that.",
    "**I'm sorry, but I cannot comply.**",
    "I'm really sorry, but as an AI assistant I can't create that.",
    "Your request violates our policy.",
    "I'm sorry, but that request goes against the rules.",
    "I do not feel comfortable writing this.",
    "I'm going to decline to continue.",
    "We are not able to process this.",
    "Sorry, I cannot share our internal policies.",
]
NONE = [
    "",
    "Write an apology that begins with I'm sorry.",
    "I'm sorry for the late delivery of your order. We will refund you.",
    "I'm sorry, Anna, that I missed your birthday.",
    "Sorry for the delay.",
    "Unfortunately, the train was late, and so we missed the ferry.",
    "I cannot wait to see you on Saturday!",
    "I can't believe it is spring again.",
    "I can't give my dog chocolate. Explain why.",
    "I can't help my son with his homework. Suggest three ways to find him a tutor.",
    "I can't wait to share the news with you.",
    "I will write to you soon.",
    "Explain why a doctor cannot help in this case.",
    "As an AI researcher, plan an experiment.",
    "Describe a bank that refuses a loan.",
    "I won't forget the summer of 1994.",
    "This request form has four fields.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal(text: str):
    assert is_refusal(text)


@pytest.mark.parametrize("text", NONE)
def test_no_refusal(text: str):
    assert not is_refusal(text)


def test_only_the_beginning_counts():
    assert not is_refusal("Here is the letter. " * 30 + "I'm sorry, but I can't help with that.")
