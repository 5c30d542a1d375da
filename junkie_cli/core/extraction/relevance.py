"""Messages that state nothing about the person who sent them, as far as that is certain. Pure functions.

Small models note the question itself, or its answer: "The capital of France is Paris". A message is certain to state
nothing when all of it is short questions that begin with a question word, or greetings, and none of its words means
the speaker. Requests are not among them ("Could you answer in German from now on?"), nor what may answer a question of
the assistant, nor a question that may tell something by the way: one with a clause of its own ("now that Lea is
pregnant", "for somebody who cannot hear"), with a word that presupposes ("Who else is vegan?"), or about somebody known
to both ("What does she eat?"). In case of doubt a message states something.
"""

import re

_QUESTION_WORDS = (
    *("what", "what's", "whats", "who", "who's", "whose", "when", "where", "where's", "which", "how", "how's"),
    *("was", "wer", "wessen", "wann", "wo", "woher", "wohin", "welche", "welcher", "welches", "wie", "wieviel"),
    *("qui", "que", "quoi", "quand", "où", "quel", "quelle", "quels", "quelles", "combien", "comment"),
    *("qué", "quién", "quiénes", "cuándo", "dónde", "cuál", "cuáles", "cuánto", "cuántos", "cómo"),
    *("chi", "cosa", "quando", "dove", "quale", "quali", "quanto", "come"),
    *("wat", "wie", "wanneer", "waar", "welk", "hoe", "o que", "quem", "onde", "qual", "quais", "quanto"),
)
# How suggestions and exclamations begin: "How about answering in German?", "Wie wäre es ...?", "What a nice dog ...?".
_SUGGESTIONS = r"about|if|come|an?\b|wär\w*|wenn|si\b|se\b"
_LONGEST_QUESTION = 12  # words
_DOUBTFUL_MARKS = re.compile(r"[,;:()\"“”„«»–—]| - ")
_DOUBTFUL = frozenset(
    {
        # A clause follows.
        *("that", "since", "because", "if", "although", "though", "unless", "until", "after", "before", "while", "as"),
        *("somebody", "someone", "anybody", "anyone", "jemand", "jemanden", "jemandem", "quelqu'un", "alguien"),
        *("dass", "weil", "seit", "seitdem", "wenn", "falls", "obwohl", "nachdem", "bevor", "während", "als", "ob"),
        *("parce", "depuis", "si", "porque", "desde", "perché", "da", "omdat", "als", "sinds"),
        # Something is presupposed.
        *("else", "other", "another", "too", "also", "again", "still", "instead", "without", "against", "despite"),
        *("here", "already", "anymore", "sonst", "andere", "anderen", "anderes", "auch", "noch", "wieder", "statt"),
        *("ohne", "gegen", "trotz", "hier", "schon", "stattdessen", "sans", "contre", "encore", "aussi", "ici", "sin"),
        *("contra", "aquí", "también", "senza", "contro", "anche", "ancora", "zonder", "tegen", "ook", "sem", "também"),
        # Somebody who was spoken of.
        *("he", "him", "his", "she", "her", "hers", "they", "them", "their", "theirs"),
        *("er", "ihn", "ihm", "sein", "seine", "seinen", "seinem", "seiner", "sie", "ihr", "ihre", "ihren", "ihrem"),
        *("ihrer", "ihnen", "il", "elle", "lui", "son", "sa", "ses", "leur", "leurs", "él", "ella", "su", "sus"),
        *("lei", "suo", "sua", "hij", "zij", "haar", "zijn", "ele", "ela", "dele", "dela", "seu"),
    }
)
_SPEAKER = (
    *("i", "i'm", "i've", "i'd", "i'll", "im", "me", "my", "mine", "myself", "we", "us", "our", "ours"),
    *("we're", "we've", "we'll"),
    *("ich", "mich", "mir", "mein", "meine", "meiner", "meinem", "meinen", "meines", "wir", "uns", "unser", "unsere"),
    *("unserem", "unseren", "unserer", "je", "j'ai", "moi", "mon", "ma", "mes", "nous", "notre", "nos"),
    *("yo", "mi", "mí", "mis", "me", "mío", "mía", "nosotros", "nuestro", "nuestra", "conmigo"),
    *("io", "mio", "mia", "miei", "mie", "noi", "nostro", "nostra", "ik", "mij", "mijn", "wij", "we", "ons", "onze"),
    *("eu", "meu", "minha", "meus", "minhas", "mim", "comigo", "nós", "nosso", "nossa"),
)
_SPEAKERS = frozenset(_SPEAKER)
_HELLOS = frozenset(
    {
        *("hi", "hello", "hey", "good morning", "good evening", "thanks", "thank you", "ok", "okay", "bye"),
        *("hallo", "guten tag", "guten morgen", "guten abend", "danke", "moin", "tschüss"),
        *("bonjour", "salut", "bonsoir", "merci", "hola", "buenos días", "gracias", "ciao", "buongiorno", "grazie"),
        *("olá", "oi", "obrigado", "obrigada", "hoi", "dank je"),
    }
)
_GREETING = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(_HELLOS, key=len, reverse=True)))})(?: there)?[ ,]+|¿\s*")
_QUESTION = re.compile(
    rf"(?:{'|'.join(sorted(map(re.escape, set(_QUESTION_WORDS)), key=len, reverse=True))})\b(?!\s+(?:{_SUGGESTIONS}))"
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def states_nothing(message: str) -> bool:
    """Whether `message` is certain to state nothing about its speaker."""
    text = " ".join(message.lower().replace("’", "'").split())
    if not text or any(_is_speaker(word) for word in _WORD.findall(text)):
        return False
    sentences = re.findall(r"[^?!.]+[?!.]*", text)
    questions = [sentence.strip() for sentence in sentences if sentence.strip()]
    return all(_is_question(sentence) for sentence in questions if not _is_hello(sentence))


def _is_speaker(word: str) -> bool:
    # French j'habite, m'appelle; Italian m'interessa
    return word in _SPEAKERS or word.startswith(("j'", "m'"))


def _is_question(sentence: str) -> bool:
    if not sentence.endswith("?"):
        return False
    greeting = _GREETING.match(sentence)
    question = sentence[greeting.end() if greeting else 0 :]
    words = _WORD.findall(question)
    doubtful = len(words) > _LONGEST_QUESTION or not _DOUBTFUL.isdisjoint(words) or _DOUBTFUL_MARKS.search(question)
    return not doubtful and bool(_QUESTION.match(question))


def _is_hello(sentence: str) -> bool:
    return sentence.strip(" .!?") in _HELLOS
