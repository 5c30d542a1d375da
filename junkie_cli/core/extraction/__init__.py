"""What is to be remembered of one message: how a model is asked, and what its reply means. Knows no agno, no database.

Data: `prompt.Request` (texts, tools, schema) goes out, one reply comes back, `reply.understand` reads it. Owner: the
memory manager of the team, which makes the call and has the changes committed.
Flow: method (`methods`, chosen per server and model) -> prompt -> the model -> calls_in_text -> reply -> changes.
"""
