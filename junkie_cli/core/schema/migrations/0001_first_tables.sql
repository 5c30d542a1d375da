-- History holds rows as json, not jsonb: agno 2.2's json columns may hold \u0000, which jsonb refuses.
CREATE TABLE IF NOT EXISTS @schema.junkie_versions (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS @schema.junkie_pending (
  pending_id uuid PRIMARY KEY, user_id text NOT NULL, session_id text, run_id text, message text NOT NULL,
  context text NOT NULL DEFAULT '', team_id text, attempts integer NOT NULL DEFAULT 0, last_error text,
  created_at timestamptz NOT NULL DEFAULT now(), next_try timestamptz NOT NULL DEFAULT now(),
  set_aside boolean NOT NULL DEFAULT false);
CREATE INDEX IF NOT EXISTS junkie_pending_user ON @schema.junkie_pending (user_id);
CREATE TABLE IF NOT EXISTS @schema.junkie_history (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), by text NOT NULL, action text NOT NULL, memory_id text NOT NULL,
  user_id text, before json, after json, undo_of uuid);
CREATE INDEX IF NOT EXISTS junkie_history_batch ON @schema.junkie_history (batch);
CREATE INDEX IF NOT EXISTS junkie_history_memory ON @schema.junkie_history (memory_id);
CREATE INDEX IF NOT EXISTS junkie_history_user ON @schema.junkie_history (user_id, change_id DESC);
CREATE INDEX IF NOT EXISTS junkie_history_at ON @schema.junkie_history (at);
CREATE TABLE IF NOT EXISTS @schema.junkie_tombstones (user_hash text PRIMARY KEY, erased_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS @schema.junkie_erasures (
  erasure_id uuid PRIMARY KEY, user_hash text NOT NULL, erased_at timestamptz NOT NULL, counts json NOT NULL);
