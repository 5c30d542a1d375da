"""Doctor: what can be wrong is looked for by checks with stable ids, each of which says what it found and what helps.

What the data is: a `Check` (model) has an id, what it needs, a time limit, and a coroutine that turns a `Context` into
a `Finding`; a finding may carry `Fix`es. `checks` lists them all, in the order in which they are shown.

Who owns it: one examination owns one `Context`; a check writes there only what checks that need it read (the settings
in force, the database found, the state of the schema).

Which way it flows: `runner.examine` runs each check in a thread of its own, independent ones side by side, and hands
results out as they come; whatever hangs is left behind, as no thread here can hold up the end of the process. Then
`fixes` does what the findings offer, when it is told to.

Nothing is imported here: the command line asks for ids and titles long before anything runs.
"""
