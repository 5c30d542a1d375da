-- Before migrations were numbered, the features that use these tables made them where they were needed first.
CREATE TABLE IF NOT EXISTS @schema.junkie_learned (
  line_id uuid PRIMARY KEY, user_id text NOT NULL, learned_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS junkie_learned_user ON @schema.junkie_learned (user_id);
-- What undo cannot restore: rows of other tables that a foreign key deleted with the memories of a batch.
CREATE TABLE IF NOT EXISTS @schema.junkie_cascades (
  batch uuid NOT NULL, table_name text NOT NULL, rows bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS junkie_cascades_batch ON @schema.junkie_cascades (batch);
