"""The interactive chat: prompt, streamed Markdown, /commands, and single answers in a pipe.

Data flow: `loop` (interactive) and `one_shot` (one question) send messages to `core.chat` and pass its events to a
view, which draws them with `screen` and `markdown`. Nothing here knows agno or SQL.
"""
