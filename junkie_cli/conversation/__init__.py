"""What a person sees of a conversation: the prompt, the streamed Markdown, the /commands, one answer in a pipe.

Data flow: `loop` (a person types) and `one_shot` (a script asks) hand messages to `core.chat` and pass its events to
a view, which draws them with `screen` and `markdown`. Nothing here knows agno or SQL.
"""
