
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA ai;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE ai.agent_sessions (
    session_id character varying NOT NULL,
    session_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    session_data jsonb,
    agent_data jsonb,
    team_data jsonb,
    workflow_data jsonb,
    metadata jsonb,
    runs jsonb,
    summary jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_schema_versions (
    table_name character varying NOT NULL,
    version character varying NOT NULL,
    created_at character varying NOT NULL,
    updated_at character varying
);

CREATE TABLE ai.user_memories (
    memory_id character varying NOT NULL,
    memory jsonb NOT NULL,
    feedback text,
    input text,
    agent_id character varying,
    team_id character varying,
    user_id character varying,
    topics jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

INSERT INTO ai.agent_sessions VALUES
	('c1', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"cost": null, "timer": null, "duration": 0.818958081999881, "input_tokens": 828, "total_tokens": 851, "output_tokens": 23, "provider_metrics": null, "reasoning_tokens": 0, "cache_read_tokens": 0, "additional_metrics": null, "audio_input_tokens": 0, "audio_total_tokens": 0, "cache_write_tokens": 0, "audio_output_tokens": 0, "time_to_first_token": null}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "cfed6aa1-f538-4574-b829-e9157380d997", "status": "COMPLETED", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"duration": 0.7894725819999167, "input_tokens": 382, "total_tokens": 397, "output_tokens": 15, "time_to_first_token": 0.044210447999944336}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "05d3d11f-aeb2-4d88-b687-2664e689c4f6", "role": "system", "content": "(instructions)", "created_at": 1795415618, "from_history": false, "stop_after_tool_call": false}, {"id": "75f9d0c4-7a1a-4a03-acff-079587f17bd2", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795415618, "from_history": false, "stop_after_tool_call": false}, {"id": "f023ecab-259d-4b65-bb79-84c7a9bed4ae", "role": "assistant", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"input_tokens": 382, "total_tokens": 397, "output_tokens": 15}, "created_at": 1795415618, "from_history": false, "provider_data": {"id": "chatcmpl-y2yehvCQmfdR5n_S"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795415618, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-y2yehvCQmfdR5n_S"}}, {"input": {"input_content": "who am I"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "18cecdc7-85fe-44c2-8186-b8d0af3c5e45", "status": "COMPLETED", "content": "You are Ada and you prefer tea.", "metrics": {"duration": 0.029485499999964304, "input_tokens": 446, "total_tokens": 454, "output_tokens": 8, "time_to_first_token": 0.006301184999983889}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "bd3c9e8f-d3a6-46a6-8d52-fbbfcd8b3005", "role": "system", "content": "(instructions)", "created_at": 1795415619, "from_history": false, "stop_after_tool_call": false}, {"id": "8c237417-4254-4213-98be-1c079fde43ac", "role": "user", "content": "who am I", "created_at": 1795415619, "from_history": false, "stop_after_tool_call": false}, {"id": "680b2432-1657-4829-9447-9b5aeeb48272", "role": "assistant", "content": "You are Ada and you prefer tea.", "metrics": {"input_tokens": 446, "total_tokens": 454, "output_tokens": 8}, "created_at": 1795415619, "from_history": false, "provider_data": {"id": "chatcmpl-Rkxn5qseWHtTFMmT"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795415619, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-Rkxn5qseWHtTFMmT"}}]', 'null', 1795415618, 1795415619),
	('c1b', 'team', NULL, 'hero-team', NULL, 'bob', '{"session_state": {}, "session_metrics": {"cost": null, "timer": null, "duration": 0.0353239040000517, "input_tokens": 378, "total_tokens": 393, "output_tokens": 15, "provider_metrics": null, "reasoning_tokens": 0, "cache_read_tokens": 0, "additional_metrics": null, "audio_input_tokens": 0, "audio_total_tokens": 0, "cache_write_tokens": 0, "audio_output_tokens": 0, "time_to_first_token": null}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "My name is Ada too"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "49dd5683-52fb-4287-a7bf-a3a0ba1ba958", "status": "COMPLETED", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"duration": 0.0353239040000517, "input_tokens": 378, "total_tokens": 393, "output_tokens": 15, "time_to_first_token": 0.004380133000040587}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "65a91440-1644-4162-94e3-9bb27d272015", "role": "system", "content": "(instructions)", "created_at": 1795415619, "from_history": false, "stop_after_tool_call": false}, {"id": "74e7139a-975b-4bf8-a184-3676b1ed9f5a", "role": "user", "content": "My name is Ada too", "created_at": 1795415619, "from_history": false, "stop_after_tool_call": false}, {"id": "11907a2f-8939-4d60-8e4a-59bdd197bf25", "role": "assistant", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"input_tokens": 378, "total_tokens": 393, "output_tokens": 15}, "created_at": 1795415619, "from_history": false, "provider_data": {"id": "chatcmpl-HCD6GgtXGUsnOBzQ"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795415619, "session_id": "c1b", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-HCD6GgtXGUsnOBzQ"}}]', 'null', 1795415619, 1795415619),
	('channel-7', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"cost": null, "timer": null, "duration": 0.9743135490007262, "input_tokens": 1345, "total_tokens": 1383, "output_tokens": 38, "provider_metrics": null, "reasoning_tokens": 0, "cache_read_tokens": 0, "additional_metrics": null, "audio_input_tokens": 0, "audio_total_tokens": 0, "cache_write_tokens": 0, "audio_output_tokens": 0, "time_to_first_token": null}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "9da54263-2808-49fb-aee2-052d560e6119", "status": "COMPLETED", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"duration": 0.9274499230004949, "input_tokens": 451, "total_tokens": 466, "output_tokens": 15, "time_to_first_token": 0.08882911700038676}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "fb06a14d-f493-4b31-a810-37055aa0cfb8", "role": "system", "content": "(instructions)", "created_at": 1795422208, "from_history": false, "stop_after_tool_call": false}, {"id": "11668117-1252-4133-bc18-93be52f12b9e", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795422208, "from_history": false, "stop_after_tool_call": false}, {"id": "75818ec5-709e-4bd4-911e-42ca73eb4688", "role": "assistant", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"input_tokens": 451, "total_tokens": 466, "output_tokens": 15}, "created_at": 1795422208, "from_history": false, "provider_data": {"id": "chatcmpl-41iXgT_tyRomad2h"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795422208, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-41iXgT_tyRomad2h"}}, {"input": {"input_content": "who am I"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "f81d8147-ec0e-40fa-a2f0-0977e01479f0", "status": "COMPLETED", "content": "You are Ada and you prefer tea.", "metrics": {"duration": 0.019370592000086617, "input_tokens": 446, "total_tokens": 454, "output_tokens": 8, "time_to_first_token": 0.003638868000052753}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "4552f417-9784-4fd1-9edc-9af96f57a284", "role": "system", "content": "(instructions)", "created_at": 1795422209, "from_history": false, "stop_after_tool_call": false}, {"id": "f9337c61-b061-415f-a8be-79cfbbcbd8fa", "role": "user", "content": "who am I", "created_at": 1795422209, "from_history": false, "stop_after_tool_call": false}, {"id": "13d3e33a-c51f-4ebd-8bbb-845e9c23aa0c", "role": "assistant", "content": "You are Ada and you prefer tea.", "metrics": {"input_tokens": 446, "total_tokens": 454, "output_tokens": 8}, "created_at": 1795422209, "from_history": false, "provider_data": {"id": "chatcmpl-3SAnA1s18DG9EVr0"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795422209, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-3SAnA1s18DG9EVr0"}}, {"input": {"input_content": "My name is Ada too"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "b8fbc5fb-4597-4fb9-98c7-c6e49628938a", "status": "COMPLETED", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"duration": 0.02749303400014469, "input_tokens": 448, "total_tokens": 463, "output_tokens": 15, "time_to_first_token": 0.0034181289993284736}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "8a2c1a71-a729-4fe5-8025-0c410aaafb92", "role": "system", "content": "(instructions)", "created_at": 1795422209, "from_history": false, "stop_after_tool_call": false}, {"id": "ac158dd0-9b48-4bf5-b96e-c844ffaf69ff", "role": "user", "content": "My name is Ada too", "created_at": 1795422209, "from_history": false, "stop_after_tool_call": false}, {"id": "5417687b-a882-4a94-8614-498d6ab0251b", "role": "assistant", "content": "Nice to meet you, Ada! I will remember that you prefer tea.", "metrics": {"input_tokens": 448, "total_tokens": 463, "output_tokens": 15}, "created_at": 1795422209, "from_history": false, "provider_data": {"id": "chatcmpl-aIjc_3M18JO0Biop"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795422209, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-aIjc_3M18JO0Biop"}}]', 'null', 1795422208, 1795422209);

INSERT INTO ai.agno_schema_versions VALUES
	('user_memories', '2.3.0', '2026-11-23T06:33:38.978440', '2026-11-23T06:33:38.978440'),
	('agent_sessions', '2.3.0', '2026-11-23T06:33:39.013321', '2026-11-23T06:33:39.013321');

INSERT INTO ai.user_memories VALUES
	('e56cf8fd-822b-4bf9-9985-0a9c2c31a263', '"User''s name is Ada and she prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795415618, 1795415618),
	('5a1d841d-c25f-4818-87f4-501d7e3694ec', '"User''s name is Ada and she prefers tea"', NULL, 'My name is Ada too', NULL, 'hero-team', 'bob', '["name", "drinks"]', 1795415619, 1795415619),
	('9e60c3b4-60ac-4386-8213-7bada0d1e3bd', '"User''s name is Ada and she prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795422209, 1795422209),
	('dee34e5a-8d25-48c8-981a-517b7e597d02', '"User''s name is Ada and she prefers tea"', NULL, 'My name is Ada too', NULL, 'hero-team', 'bob', '["name", "drinks"]', 1795422209, 1795422209);

ALTER TABLE ONLY ai.agent_sessions
    ADD CONSTRAINT agent_sessions_uq_session_id UNIQUE (session_id);

ALTER TABLE ONLY ai.agno_schema_versions
    ADD CONSTRAINT agno_schema_versions_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY ai.user_memories
    ADD CONSTRAINT user_memories_pkey PRIMARY KEY (memory_id);

CREATE INDEX idx_agent_sessions_created_at ON ai.agent_sessions USING btree (created_at);

CREATE INDEX idx_agent_sessions_session_type ON ai.agent_sessions USING btree (session_type);

CREATE INDEX idx_agno_schema_versions_created_at ON ai.agno_schema_versions USING btree (created_at);

CREATE INDEX idx_user_memories_created_at ON ai.user_memories USING btree (created_at);

CREATE INDEX idx_user_memories_updated_at ON ai.user_memories USING btree (updated_at);

CREATE INDEX idx_user_memories_user_id ON ai.user_memories USING btree (user_id);

