"""Diagnosis: checks with stable ids, each of which reports a finding and a suggested fix.

What the data is: a `Check` (model) has an id, dependencies, a time limit, and a coroutine that turns a `Context` into
a `Finding`; a finding can offer `Fix`es. `checks` lists all checks in display order.

Who owns it: one run owns one `Context`; a check writes there only what dependent checks read (the settings, the
database, the state of the schema).

Which way it flows: `runner.examine` runs each check in its own thread, independent checks at the same time, and passes
results on as they arrive. A check that hangs is abandoned: its daemon thread does not delay the end of the process.
Then `fixes` applies the offered fixes on request.

Nothing is imported here, because the command line needs ids and titles before anything runs.
"""
