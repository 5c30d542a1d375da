
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
    summary jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agent_sessions_runs (
    run_id character varying NOT NULL,
    session_id character varying NOT NULL,
    run_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    parent_run_id character varying,
    status character varying,
    run_index bigint,
    run_data jsonb NOT NULL,
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
	('c1', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', 'null', 1795452169, 1795452170),
	('c2', 'team', NULL, 'hero-team', NULL, 'bob', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', 'null', 1795452170, 1795452170),
	('channel-7', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', 'null', 1795452170, 1795452170),
	('nobody', 'team', NULL, 'hero-team', NULL, NULL, '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', 'null', 1795452170, 1795452170);

INSERT INTO ai.agent_sessions_runs VALUES
	('1c5d023d-1608-4f37-8818-98e89803ba2c', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "1c5d023d-1608-4f37-8818-98e89803ba2c", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.3877599879999707, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.2374348389998886}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "25d59a06-1071-489e-96e8-601a8f460255", "role": "system", "content": "(instructions)", "created_at": 1795452169, "from_history": false, "stop_after_tool_call": false}, {"id": "605a890b-9dad-43da-a5df-dde458ef4fa0", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795452169, "from_history": false, "stop_after_tool_call": false}, {"id": "28e34816-e2c2-4eb9-bf45-75a6b4dba844", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.2146411349999653, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.2146411349999653}, "created_at": 1795452169, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452169, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452169, 1795452170),
	('922e278e-3ad6-4de1-9444-886afce47bce', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 1, '{"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "922e278e-3ad6-4de1-9444-886afce47bce", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.0652053800001795, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.01633997800013276}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "0776a677-499c-4eba-8860-92b2c953b4ea", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "1eb71012-dc35-4b3e-90a1-7be903efa230", "role": "user", "content": "Who am I?", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "a36cb375-4e12-4594-8322-88210b5472ee", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.006974220000074638, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.006974220000074638}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170),
	('7cf6ee92-4112-4bb1-8080-770304acf8dd', 'c2', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "7cf6ee92-4112-4bb1-8080-770304acf8dd", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.07758647200012092, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.013963881000108813}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "c51b95a3-c738-40a3-aba2-31d8741ef98a", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "8e74d6ac-cb85-4f30-ae5b-54733eeb1867", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "c8fd4254-d733-415d-a839-89cbf5fdff7f", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.008824073999903703, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.008824073999903703}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "c2", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170),
	('13e9a451-28b6-4131-bc95-d1a7b5625e0f', 'channel-7', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "13e9a451-28b6-4131-bc95-d1a7b5625e0f", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.05794273200012867, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.01426618999994389}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "6614504b-0eb1-4c6f-b78d-0a9e55702466", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "1dec0d42-5da9-42ca-96e6-b694595fb7ee", "role": "user", "content": "I play the cello", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "b600a695-ef95-42da-b0cb-e88e73761e30", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.008264542999995683, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.008264542999995683}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170),
	('37c9098b-d0e2-4c83-8d2c-b5d61f3fdd97', 'channel-7', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nice, Ada"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "37c9098b-d0e2-4c83-8d2c-b5d61f3fdd97", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.04135166700007176, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.00885914600007709}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "81199822-d8a0-49eb-b195-3bc1410cc4c2", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "80494380-e12b-4121-833a-cb074d8d8fed", "role": "user", "content": "Nice, Ada", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "135bd23b-829c-4a7b-8d3c-f11869f88097", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005371941000021252, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005371941000021252}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170),
	('51ce08a3-1170-4ea2-ad72-7d912c2a502f', 'channel-7', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "What does Ada play?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "51ce08a3-1170-4ea2-ad72-7d912c2a502f", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.04098548899992238, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.00839072100006888}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "5ffb608a-1dac-4faa-98cb-931983e89447", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "a7e6d757-cef4-4094-86ca-10ff03eb40e1", "role": "user", "content": "What does Ada play?", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "68f729cf-da63-4d45-82f7-fed9e19f8e35", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.004701046000036513, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.004701046000036513}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170),
	('5fc3fcfd-fb30-4fba-8458-a4cc143865ed', 'nobody', 'team', NULL, 'hero-team', NULL, NULL, NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "5fc3fcfd-fb30-4fba-8458-a4cc143865ed", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.05860153500020715, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.008868600000141669}, "team_id": "hero-team", "messages": [{"id": "9c67ec87-8ebe-4e8a-b562-67236ec8393a", "role": "system", "content": "(instructions)", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "c8e282cf-6cea-4cd9-99e2-a19ce5874268", "role": "user", "content": "Nobody knows me", "created_at": 1795452170, "from_history": false, "stop_after_tool_call": false}, {"id": "6d2ac109-c7b8-4c2c-ad3d-dfdcb172ad2c", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.004701707000094757, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.004701707000094757}, "created_at": 1795452170, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452170, "session_id": "nobody", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452170, 1795452170);

INSERT INTO ai.agno_schema_versions VALUES
	('user_memories', '3.0.0', '2026-11-23T16:42:50.010439', '2026-11-23T16:42:50.010439'),
	('agent_sessions', '3.0.0', '2026-11-23T16:42:50.048988', '2026-11-23T16:42:50.048988'),
	('agent_sessions_runs', '3.0.0', '2026-11-23T16:42:50.094132', '2026-11-23T16:42:50.094132');

INSERT INTO ai.user_memories VALUES
	('7aa6dc81-3201-4b0d-9591-dbaa034d35bc', '"Ada is called Ada and prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795452169, 1795452169),
	('72ba63a2-0ad5-463a-82a7-61aa4f99f8a8', '"Bob lives in Kraków 🏰"', NULL, 'I am Bob, I live in Kraków 🏰', NULL, 'hero-team', 'bob', '["name", "place"]', 1795452170, 1795452170),
	('7825b7a0-1726-44d4-958d-35a5b4b77508', '"Ada plays the cello"', NULL, 'I play the cello', NULL, 'hero-team', 'ada', '["music"]', 1795452170, 1795452170),
	('c65bccca-cea7-4b88-8c7a-c767c4deb833', '"Somebody without a name was here"', NULL, 'Nobody knows me', NULL, 'hero-team', 'default', 'null', 1795452170, 1795452170);

ALTER TABLE ONLY ai.agent_sessions
    ADD CONSTRAINT agent_sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY ai.agno_schema_versions
    ADD CONSTRAINT agno_schema_versions_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY ai.user_memories
    ADD CONSTRAINT user_memories_pkey PRIMARY KEY (memory_id);

CREATE INDEX idx_agent_sessions_created_at ON ai.agent_sessions USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_agent_id ON ai.agent_sessions_runs USING btree (agent_id);

CREATE INDEX idx_agent_sessions_runs_created_at ON ai.agent_sessions_runs USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_run_type ON ai.agent_sessions_runs USING btree (run_type);

CREATE INDEX idx_agent_sessions_runs_session_id ON ai.agent_sessions_runs USING btree (session_id);

CREATE INDEX idx_agent_sessions_runs_session_id_run_index ON ai.agent_sessions_runs USING btree (session_id, run_index);

CREATE INDEX idx_agent_sessions_runs_status ON ai.agent_sessions_runs USING btree (status);

CREATE INDEX idx_agent_sessions_runs_team_id ON ai.agent_sessions_runs USING btree (team_id);

CREATE INDEX idx_agent_sessions_runs_user_id ON ai.agent_sessions_runs USING btree (user_id);

CREATE INDEX idx_agent_sessions_runs_workflow_id ON ai.agent_sessions_runs USING btree (workflow_id);

CREATE INDEX idx_agent_sessions_session_type ON ai.agent_sessions USING btree (session_type);

CREATE INDEX idx_agno_schema_versions_created_at ON ai.agno_schema_versions USING btree (created_at);

CREATE INDEX idx_user_memories_created_at ON ai.user_memories USING btree (created_at);

CREATE INDEX idx_user_memories_updated_at ON ai.user_memories USING btree (updated_at);

CREATE INDEX idx_user_memories_user_id ON ai.user_memories USING btree (user_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_session_id_fkey FOREIGN KEY (session_id) REFERENCES ai.agent_sessions(session_id) ON DELETE CASCADE;

