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
        "Hallo! Wie spät ist es?",
        "Wann wurde Goethe geboren?",
        "How many legs does a spider have?",
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
        # Facts in the form of a question, with the speaker in them.
        "Did I tell you that I moved to Rome?",
        "Can you remember that I am allergic to nuts?",
        "Do you know that my sister is called Lea?",
        "What do you recommend to me as a vegetarian?",
        "How far is it to Rome from where we live?",
        "Who would have thought that I'd become a nurse?",
        "What's the weather like at our place in Oslo?",
        "Habe ich dir erzählt, dass ich nach Rom gezogen bin?",
        "Kannst du dir merken, dass ich gegen Nüsse allergisch bin?",
        "Wusstest du, dass meine Schwester Lea heißt?",
        "Was empfiehlst du mir als Vegetarier?",
        "Wie weit ist es von uns nach Rom?",
        "Wer hätte gedacht, dass ich mal Pfleger werde?",
        # Without the speaker, told by the way.
        "Who else is vegan?",
        "What can be cooked without peanuts?",
        "How do you cook for somebody with an allergy to nuts?",
        "What should Lea eat now that she is pregnant?",
        "How is the weather here in Rome?",
        "What is the best gift for Lea, a chess player?",
        "When will Lea arrive (the sister from Oslo)?",
        "Where does he work?",
        "Did you know that Lea lives in Rome?",
        "Remember that Lea lives in Rome?",
        "Hi, what helps against migraine?",
        "How long does a person that works at night and sleeps by day usually have to live with it?",
        "What a nice dog Rex is?",
        "Wer ist sonst noch vegan?",
        "Was kann man ohne Erdnüsse kochen?",
        "Was hilft gegen Migräne?",
        "Was soll Lea essen, seit sie schwanger ist?",
        "Wie ist das Wetter hier in Rom?",
        "Wo arbeitet er?",
        "Weißt du noch, dass Lea in Rom wohnt?",
        "Wie kocht man für jemanden mit Nussallergie?",
        "Hallo, wie heißt das Restaurant – das vegane?",
        "Merk dir: kein Fleisch. Was gibt es heute?",
    ],
)
def test_what_may_state_something_is_searched(message: str) -> None:
    assert not states_nothing(message)
