"""Messages that are certain to state nothing about the person who sent them, and those that may."""

import pytest

from junkie_cli.core.extraction.relevance import states_nothing


@pytest.mark.parametrize(
    "message",
    [
        "What is the capital of France?",
        "what's the capital of france?",
        "Hi, how are you?",
        "Hello! What time is it?",
        "Hello there, who wrote Faust? When?",
        "Was ist die Hauptstadt von Frankreich?",
        "Wie geht's?",
        "Quelle est la capitale de la France ?",
        "¿Cuál es la capital de Francia?",
        "Thanks!",
        "Hi",
    ],
)
def test_questions_about_the_world_state_nothing(message: str) -> None:
    assert states_nothing(message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "My name is Ada and I prefer tea to coffee.",
        "What can I cook without peanuts?",
        "What's my name?",
        "Who is my sister?",
        "Was kann ich kochen?",
        "Où est mon chat ?",
        "Comment s'appelle ma sœur ?",
        "Quand est-ce que j'arrive ?",
        "Could you answer in German from now on?",
        "How about answering in German?",
        "What if Lea comes along, with her allergy?",
        "Why don't you call Tom Thomas?",
        "Tea?",
        "Lea is allergic to peanuts.",
        "Who else? Tom moved to Paris.",
        "The capital of France is Paris, by the way.",
        "Remember: the door code is on the fridge.",
        "Vivo en Madrid.",
        "喜欢茶",
        "Hi, Ada here.",
        "Vegetarian, by the way. What is for dinner?",
    ],
)
def test_what_may_state_something_is_searched(message: str) -> None:
    assert not states_nothing(message)
