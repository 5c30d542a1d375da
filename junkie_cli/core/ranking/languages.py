"""Languages whose words are reduced to stems. Loads nothing: every command reads the setting that names some."""

LANGUAGES = (
    "basque", "catalan", "czech", "danish", "dutch", "english", "esperanto", "estonian", "finnish", "french", "german",
    "hungarian", "indonesian", "irish", "italian", "lithuanian", "norwegian", "persian", "polish", "portuguese",
    "romanian", "serbian", "sesotho", "spanish", "swedish", "turkish", "yiddish",
)  # fmt: skip
"""Languages of Latin script that a stemmer knows."""

SCRIPTS = {
    "GREEK": "greek",
    "CYRILLIC": "russian",
    "ARMENIAN": "armenian",
    "ARABIC": "arabic",
    "DEVANAGARI": "hindi",
    "TAMIL": "tamil",
}
"""Other scripts, as the Unicode names of their letters begin, and the language whose stemmer is used for them."""

DEFAULT_LANGUAGES = ("english",)
