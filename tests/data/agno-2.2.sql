
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
    session_data json,
    agent_data json,
    team_data json,
    workflow_data json,
    metadata json,
    runs json,
    summary json,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.user_memories (
    memory_id character varying NOT NULL,
    memory json NOT NULL,
    input character varying,
    agent_id character varying,
    team_id character varying,
    user_id character varying,
    topics json,
    updated_at bigint
);

INSERT INTO ai.agent_sessions VALUES
	('c1', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": null, "provider_metrics": null, "additional_metrics": null}}', NULL, '{"name": "Hero Team", "team_id": "hero-team", "model": {"name": "OpenAILike", "id": "openai/gpt-oss-120b", "provider": "OpenAI"}}', NULL, 'null', '[{"run_id": "a6d53e8c-e50e-436f-9df8-8b7ccad38c01", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "c1", "user_id": "ada", "input": {"input_content": "My name is Ada and I prefer tea"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.13939138499995352, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "events": [], "status": "COMPLETED", "messages": [{"id": "07d3e8bd-85a5-424c-8c32-cb7f5ab2e41d", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "3d8e84b2-4dae-4e89-81e9-ee8e017eca8e", "content": "My name is Ada and I prefer tea", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "27a1e899-ab53-4395-9594-4bfe902e62bb", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}]}, {"run_id": "4427d019-510c-4dc6-be63-81bebbaa6dcc", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "c1", "user_id": "ada", "input": {"input_content": "Who am I?"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.05719151699986469, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "status": "COMPLETED", "messages": [{"id": "6e1e7fd7-f9e8-4a57-982e-a60342816fad", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "0cd5b9fc-ae03-4072-9e6b-642abb62835f", "content": "Who am I?", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "141a7f89-037e-416a-955b-9bb029f1fe88", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}], "tools": []}]', 'null', 1795452163, 1795452163),
	('c2', 'team', NULL, 'hero-team', NULL, 'bob', '{"session_state": {}, "session_metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": null, "provider_metrics": null, "additional_metrics": null}}', NULL, '{"name": "Hero Team", "team_id": "hero-team", "model": {"name": "OpenAILike", "id": "openai/gpt-oss-120b", "provider": "OpenAI"}}', NULL, 'null', '[{"run_id": "1262d4e1-f3bb-4f51-bb97-1b8968e59b9c", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "c2", "user_id": "bob", "input": {"input_content": "I am Bob, I live in Krak\u00f3w \ud83c\udff0"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.039581726000051276, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "status": "COMPLETED", "messages": [{"id": "d3b514c2-8a1b-44fc-af9d-6fea268d9f53", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "4b97dd28-3e7f-4ea4-896c-f2f97f315d8a", "content": "I am Bob, I live in Krak\u00f3w \ud83c\udff0", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "b1040b6a-2a46-42e0-89e8-45d4875544d8", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}], "tools": []}]', 'null', 1795452163, 1795452163),
	('channel-7', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"input_tokens": 30, "output_tokens": 15, "total_tokens": 45, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": null, "provider_metrics": null, "additional_metrics": null}}', NULL, '{"name": "Hero Team", "team_id": "hero-team", "model": {"name": "OpenAILike", "id": "openai/gpt-oss-120b", "provider": "OpenAI"}}', NULL, 'null', '[{"run_id": "a4ce17e4-1c19-4b49-ac74-f418a98dd5be", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "channel-7", "user_id": "ada", "input": {"input_content": "I play the cello"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.03528033299994604, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "events": [], "status": "COMPLETED", "messages": [{"id": "2aa6ee90-9766-4478-807c-00cb991a355a", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "5901303b-996f-4e6d-884a-ee6b0b4b780a", "content": "I play the cello", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "1c38f47b-4de1-4200-8f63-b435cb7f4fae", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}]}, {"run_id": "5ffb5609-59e1-4f81-a181-d2e93f61fbe8", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "channel-7", "user_id": "bob", "input": {"input_content": "Nice, Ada"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.04444200800003273, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "events": [], "status": "COMPLETED", "messages": [{"id": "6f7ba89d-1fb9-46e0-9510-ffce397cdecc", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "b62d10aa-8e2f-471f-b525-00e37733108b", "content": "Nice, Ada", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "a40806ab-8266-4270-a1c1-4458bfb00a14", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}]}, {"run_id": "a0eee0f1-c686-4529-b37b-06842b6a8988", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "channel-7", "user_id": "bob", "input": {"input_content": "What does Ada play?"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.007369076000031782, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "status": "COMPLETED", "messages": [{"id": "68208368-692b-4236-a29c-7c2cd326e7f7", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "65c6bfb5-2293-4676-97aa-1399e55f214a", "content": "What does Ada play?", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "1b72b08f-8db3-4e23-b3ef-410745c3e4ff", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}], "tools": []}]', 'null', 1795452163, 1795452163),
	('nobody', 'team', NULL, 'hero-team', NULL, NULL, '{"session_state": {}, "session_metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": null, "provider_metrics": null, "additional_metrics": null}}', NULL, '{"name": "Hero Team", "team_id": "hero-team", "model": {"name": "OpenAILike", "id": "openai/gpt-oss-120b", "provider": "OpenAI"}}', NULL, 'null', '[{"run_id": "49ee704a-175a-45f8-a211-8a35c5929d89", "team_id": "hero-team", "team_name": "Hero Team", "session_id": "nobody", "input": {"input_content": "Nobody knows me"}, "content": "I see.", "content_type": "str", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "audio_input_tokens": 0, "audio_output_tokens": 0, "audio_total_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 0, "timer": null, "time_to_first_token": null, "duration": 0.03761571800009733, "provider_metrics": null, "additional_metrics": null}, "model": "openai/gpt-oss-120b", "model_provider": "OpenAI", "member_responses": [], "created_at": 1795452163, "status": "COMPLETED", "messages": [{"id": "8bfe3251-9bb8-4c13-96c3-0069377bcfac", "content": "(instructions)", "from_history": false, "stop_after_tool_call": false, "role": "system", "created_at": 1795452163}, {"id": "12a51f19-ba22-493f-b845-80b98f5c74ac", "content": "Nobody knows me", "from_history": false, "stop_after_tool_call": false, "role": "user", "created_at": 1795452163}, {"id": "d1eeb79e-5249-4735-81da-a5bb2728ab29", "content": "I see.", "from_history": false, "stop_after_tool_call": false, "role": "assistant", "metrics": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, "created_at": 1795452163}], "tools": []}]', 'null', 1795452163, 1795452163);

INSERT INTO ai.user_memories VALUES
	('f764ebb0-ac02-4dd8-a82c-ee217c4756e1', '"Ada is called Ada and prefers tea"', 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795452163),
	('f345ac22-00e0-4510-82cc-21163f50c77a', '"Bob lives in Krak\u00f3w \ud83c\udff0"', 'I am Bob, I live in Kraków 🏰', NULL, 'hero-team', 'bob', '["name", "place"]', 1795452163),
	('4e158187-02bc-440f-82fc-b5d8f61e39d9', '"Ada plays the cello"', 'I play the cello', NULL, 'hero-team', 'ada', '["music"]', 1795452163),
	('56144415-0225-44c0-b1cc-0d000b8a0c62', '"Somebody without a name was here"', 'Nobody knows me', NULL, 'hero-team', 'default', 'null', 1795452163);

ALTER TABLE ONLY ai.agent_sessions
    ADD CONSTRAINT agent_sessions_uq_session_id UNIQUE (session_id);

ALTER TABLE ONLY ai.user_memories
    ADD CONSTRAINT user_memories_pkey PRIMARY KEY (memory_id);

CREATE INDEX idx_agent_sessions_created_at ON ai.agent_sessions USING btree (created_at);

CREATE INDEX idx_agent_sessions_session_type ON ai.agent_sessions USING btree (session_type);

CREATE INDEX idx_user_memories_updated_at ON ai.user_memories USING btree (updated_at);

CREATE INDEX idx_user_memories_user_id ON ai.user_memories USING btree (user_id);

