-- Who made the changes of a batch, and with which command. Memories' rows stay in junkie_history, whose shape older
-- junkies and the trigger of `memories history on` write; rows of every other table are in junkie_rows.
CREATE TABLE IF NOT EXISTS @schema.junkie_batches (
  batch uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), actor_kind text NOT NULL, actor_name text,
  command text, undo_of uuid);
CREATE INDEX IF NOT EXISTS junkie_batches_at ON @schema.junkie_batches (at);
CREATE INDEX IF NOT EXISTS junkie_batches_undo_of ON @schema.junkie_batches (undo_of);
-- table_name is a role (sessions, runs) for agno's tables, whose names are configurable. An `updated` row holds the
-- columns that changed, others the whole row.
CREATE TABLE IF NOT EXISTS @schema.junkie_rows (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), table_name text NOT NULL, key json NOT NULL, user_id text,
  action text NOT NULL, before json, after json);
CREATE INDEX IF NOT EXISTS junkie_rows_batch ON @schema.junkie_rows (batch);
CREATE INDEX IF NOT EXISTS junkie_rows_user ON @schema.junkie_rows (user_id);
CREATE INDEX IF NOT EXISTS junkie_rows_at ON @schema.junkie_rows (at);
