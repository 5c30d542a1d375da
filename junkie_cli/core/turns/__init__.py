"""How a turn is stored, with its pending extraction.

What:  a `Turn` (the message and what was read for it), a `TurnRecord` (the rows that are stored of it) and a `Pending`
       extraction, all plain frozen values of `types`; no object of agno, which `agent/agno_rows.py` maps to rows.
Owner: a `TurnStore` (`store` has the protocol). `PostgresTurnStore` writes agno's tables and ours,
       `InMemoryTurnStore` this process' memory; `SpoolingTurnStore` stands before the first and alone knows files,
       waiting, trying again, and what is not stored yet.
Flow:  begin -> Turn -> the team answers -> TurnRecord: open (no answer yet) -> renew ... -> complete, or discard;
       then commit_memories, which also completes the pending extraction. Each step is one transaction.
"""
