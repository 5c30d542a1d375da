-- What each memory is found by. Derived from its text, so that it can be made again at any time.
CREATE TABLE IF NOT EXISTS @schema.junkie_search_words (
  user_id text NOT NULL, memory_id text NOT NULL, updated_at bigint, text_hash text NOT NULL, rules text NOT NULL,
  words tsvector NOT NULL, PRIMARY KEY (user_id, memory_id));
